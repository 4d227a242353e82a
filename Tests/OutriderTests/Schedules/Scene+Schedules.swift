import Postgres
import Primitives
import TestSupport
import Testing

extension Scene {
    /// A schedule that is due once a year, and publishes when.
    static func yearly(_ name: String = "nightly", _ more: String = "") -> String {
        """
        schedule: \(name)
        cron: "0 0 1 1 *"
        publish: { topic: \(name).due, payload: { at: "${ .scheduled_at }" } }
        \(more)

        """
    }

    /// Writes when it is due next, and tells the workers.
    func setDue(_ schedule: String, _ time: SQL) async throws {
        try await database.query(
            """
            with changed as (update outrider.schedule set next_at = \(time) where name = \(schedule) returning name)
            select outrider.announce() from changed
            """)
    }

    /// Makes it due now, and waits until it has fired so often in all.
    func fire(_ schedule: String, count: Int) async throws {
        try await setDue(schedule, "now()")
        try await waitForFirings(schedule, count)
    }

    func waitForFirings(_ schedule: String, _ count: Int) async throws {
        try await eventually("schedule \(schedule) has fired \(count) times") {
            try await self.firings(schedule) >= count
        }
        #expect(try await firings(schedule) == count)
    }

    func firings(_ schedule: String) async throws -> Int {
        try await database.count(
            "select count(*) from outrider.schedule_firings where schedule = \(schedule) and fired_at is not null")
    }

    func schedule(_ name: String) async throws -> JSON {
        try await database.value("select to_jsonb(s) from outrider.schedules s where name = \(name)")
    }

    /// The instants that it fired for, in the order in which it did.
    func scheduledTimes(_ schedule: String) async throws -> [String] {
        try await database.run { connection in
            try connection.query(
                "select scheduled_at from outrider.schedule_firings where schedule = \(schedule) order by id"
            ).map { try $0.decode(0, as: Timestamp.self).rfc3339 }
        }
    }

    func waitUntilServed(_ schedule: String, by count: Int = 1) async throws {
        try await eventually("\(count) workers serve schedule \(schedule)") {
            try await database.value(
                "select workers = \(Int32(count)) from outrider.schedules where name = \(schedule)")
        }
    }
}
