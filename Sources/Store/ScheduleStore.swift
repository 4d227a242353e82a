package import Postgres
package import Primitives
import Schedules
package import WorkflowFiles

/// Schedules as the database keeps them: when each is due, what came of its last firing, what people asked for.
package struct ScheduleStore {
    /// As a worker serves it.
    package struct Stored: Sendable {
        package let id: Int32
        package let name: String
        package let hash: String
        /// The earliest firing that was not made.
        package let due: Timestamp
        /// When its last pause ended.
        package let resumed: Timestamp?
        package let isPaused: Bool
        /// A failure when another version applied what this one does not understand, or this machine lacks the time zone.
        package let definition: Result<ScheduleDefinition, DefinitionError>
    }

    /// A firing that a person asked for.
    package struct Request: Sendable {
        package let id: UUID
        package let schedule: String
        package let at: Timestamp
    }

    private let connection: Connection

    package init(_ connection: Connection) {
        self.connection = connection
    }

    // MARK: - Applying

    /// A line or a time zone that is new is counted from now on; what is due stays due when neither changed.
    func materialise(_ schedule: ScheduleDefinition, hash: String) throws {
        let now = try connection.query("select clock_timestamp()")[0].decode(0, as: Timestamp.self)
        let recurrence = schedule.recurrence
        try connection.query(
            """
            insert into outrider.schedule as s (name, hash, cron, timezone, next_at)
            values (\(schedule.name), \(hash), \(recurrence.cron.source), \(recurrence.zone.name), \(recurrence.next(after: now)))
            on conflict (name) do update
                set hash = excluded.hash, cron = excluded.cron, timezone = excluded.timezone,
                    next_at = case when s.cron = excluded.cron and s.timezone = excluded.timezone then s.next_at
                        else excluded.next_at end
            """)
    }

    func remove(_ name: String) throws {
        try connection.query("delete from outrider.schedule where name = \(name)")
        try connection.query("delete from outrider.schedule_firing where schedule = \(name) and fired_at is null")
    }

    // MARK: - Serving

    /// The schedules in force with the database's time; `names` nil means all.
    package func schedules(named names: [String]? = nil) throws -> (at: Timestamp, schedules: [Stored]) {
        let rows = try connection.query(
            """
            select s.id, s.name, s.hash, s.next_at, s.resumed_at, s.paused_at is not null, d.content, clock_timestamp()
            from outrider.schedule s
            join outrider.definition d on d.kind = 'schedule' and d.name = s.name and d.replaced_at is null
            where \(names == nil) or s.name = any (\(names ?? []))
            order by s.next_at, s.name
            """)
        let schedules = try rows.map { row in
            let name = try row.decode(1, as: String.self)
            return Stored(
                id: try row.decode(0, as: Int32.self), name: name, hash: try row.decode(2, as: String.self),
                due: try row.decode(3, as: Timestamp.self), resumed: try row.decode(4, as: Timestamp?.self),
                isPaused: try row.decode(5, as: Bool.self),
                definition: DefinitionStore.definition(try row.decode(6, as: JSON.self)).map { definition in
                    guard case .schedule(let schedule) = definition else {
                        preconditionFailure("the definition of schedule \(name) is of another kind")
                    }
                    return schedule
                })
        }
        return (try rows.first?.decode(7, as: Timestamp.self) ?? .now(), schedules)
    }

    /// The oldest first.
    package func requests(for names: [String]) throws -> [Request] {
        try connection.query(
            """
            select f.id, f.schedule, f.scheduled_at from outrider.schedule_firing f
            where f.fired_at is null and f.schedule = any (\(names)) order by f.id
            """
        ).map { row in
            Request(
                id: try row.decode(0, as: UUID.self), schedule: try row.decode(1, as: String.self),
                at: try row.decode(2, as: Timestamp.self))
        }
    }

    /// Makes it known that this session serves them: see `outrider.schedule_workers`.
    package func serve(_ ids: Set<Int32>, insteadOf former: Set<Int32>) throws {
        for id in ids.subtracting(former) {
            try connection.query("select pg_advisory_lock_shared(\(AdvisoryLock.schedule), \(id))")
        }
        for id in former.subtracting(ids) {
            try connection.query("select pg_advisory_unlock_shared(\(AdvisoryLock.schedule), \(id))")
        }
    }

    // MARK: - Firing

    package enum Occasion: Sendable {
        /// It came due; `next` is due after it.
        case due(Timestamp, next: Timestamp)
        case request(UUID)
    }

    package enum Outcome: Sendable {
        /// Another worker was faster, it was paused, or it has other content now.
        case taken
        case fired(UUID?)
        case failed(String)
    }

    /// One firing, in a transaction of its own. What the deed is refused for is recorded, and an outcome.
    ///
    /// - Parameter deed: a failure is recorded as well.
    package func fire(
        _ schedule: Stored, _ occasion: Occasion, at scheduledAt: Timestamp,
        _ deed: Result<ScheduleDefinition.Deed, ScheduleFailure>, worker: String
    ) throws -> Outcome {
        var (due, next, run): (Timestamp?, Timestamp?, UUID?)
        switch occasion {
        case .due(let instant, let following): (due, next) = (instant, following)
        case .request(let id): run = id
        }
        var (made, failure): (ScheduleDefinition.Deed?, String?)
        switch deed {
        case .success(let deed): made = deed
        case .failure(let error): failure = error.reason
        }
        let provenance = [
            (name: "outrider-schedule", value: JSON.string(schedule.name)),
            (name: "outrider-scheduled-at", value: .string(scheduledAt.rfc3339)),
        ]
        let headers = JSON.object(
            JSONObject((made?.headers ?? []).map { (name: $0.name, value: .string($0.value)) } + provenance))
        let rows = try connection.query(
            """
            select t.outcome, t.made, t.failure from outrider.fire_schedule(\(schedule.name), \(schedule.hash), \(due), \(next),
                \(run), \(scheduledAt), \(made?.kind.rawValue), \(made?.target), \(made?.key), \(made?.document), \(headers),
                \(failure), \(worker)) t
            """)
        switch try rows[0].decode(0, as: String.self) {
        case "fired": return .fired(try rows[0].decode(1, as: UUID?.self))
        case "failed": return .failed(try rows[0].decode(2, as: String?.self) ?? "")
        default: return .taken
        }
    }

    /// Leaves out what came due. False when another worker was faster.
    package func advance(_ schedule: Stored, to next: Timestamp) throws -> Bool {
        let rows = try connection.query(
            """
            select t.outcome from outrider.fire_schedule(\(schedule.name), \(schedule.hash), \(schedule.due), \(next),
                null, null, null, null, null, null, null, null, null) t
            """)
        return try rows[0].decode(0, as: String.self) == "advanced"
    }
}

/// Why a firing comes to nothing, in words for `last_error`.
package struct ScheduleFailure: Error, Sendable {
    package let reason: String

    package init(_ reason: String) {
        self.reason = reason
    }
}
