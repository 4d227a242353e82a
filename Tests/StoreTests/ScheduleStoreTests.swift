import Expressions
import Postgres
import Primitives
import Store
import TestSupport
import Testing
import WorkflowFiles

/// What the database sees to, whatever workers come with: that a firing is made once, and whole.
struct ScheduleStoreTests {
    @Test func aFiringIsForTheFirstThatComesWithWhatIsDue() async throws {
        try await TestDatabase.with { database in
            try await database.schedule("nightly")
            let (_, stored) = try await database.run { try ScheduleStore($0).schedules() }
            #expect(try await database.fire("nightly", as: stored[0]) == "fired")
            #expect(try await database.fire("nightly", as: stored[0]) == "taken")
            #expect(try await database.run { try ScheduleStore($0).advance(stored[0], to: stored[0].due) } == false)
            #expect(try await database.count("select count(*) from outrider.messages") == 1)
            #expect(try await database.count("select count(*) from outrider.schedule_firings") == 1)
            #expect(
                try await database.value(
                    "select next_at = '2099-01-01T00:00:00Z' from outrider.schedules", as: Bool.self))
        }
    }

    @Test func aFiringIsNotMadeUnderOtherContentNorDuringAPause() async throws {
        try await TestDatabase.with { database in
            try await database.schedule("nightly")
            let (_, old) = try await database.run { try ScheduleStore($0).schedules() }
            try await database.schedule("nightly", ["missed": "skip"])
            #expect(try await database.fire("nightly", as: old[0]) == "taken")
            try await database.execute("select outrider.pause_schedule('nightly')")
            #expect(try await database.fire("nightly") == "taken")
            try await database.execute("select outrider.resume_schedule('nightly')")
            #expect(try await database.fire("nightly") == "fired")
        }
    }

    /// What is refused for good is recorded with the firing; what only the moment stands in the way of leaves nothing behind.
    @Test func aRefusalIsRecordedAndALockIsNot() async throws {
        try await TestDatabase.with { database in
            try await database.schedule("nightly", ["publish": .none, "start": ["saga": "gone"]])
            #expect(try await database.fire("nightly") == "failed: there is no saga 'gone' (OR003)")
            #expect(
                try await database.value("select last_error from outrider.schedules", as: String.self)
                    == "there is no saga 'gone' (OR003)")

            try await database.schedule("nightly")
            let due = try await database.value("select next_at from outrider.schedules", as: Timestamp.self)
            let blocker = Session(database.url)
            try await blocker.run { try $0.execute(script: "begin; lock table outrider.outbox in share mode") }
            try await database.execute("set lock_timeout = '50ms'")
            await #expect(throws: PostgresError.self) { _ = try await database.fire("nightly") }
            await blocker.close()
            #expect(try await database.value("select next_at from outrider.schedules", as: Timestamp.self) == due)
            #expect(try await database.count("select count(*) from outrider.schedule_firings") == 1)
            #expect(try await database.fire("nightly") == "fired")
        }
    }

    @Test func firingsAreKeptForAMonth() async throws {
        try await TestDatabase.with { database in
            try await database.schedule("nightly")
            _ = try await database.fire("nightly")
            _ = try await database.fire("nightly")
            try await database.execute(
                """
                update outrider.schedule_firing set fired_at = now() - interval '31 days'
                where id = (select min(id::text)::uuid from outrider.schedule_firing)
                """)
            _ = try await database.run { try Housekeeping($0).prune(most: 100) }
            #expect(try await database.count("select count(*) from outrider.schedule_firings") == 1)
        }
    }

    @Test func whatIsPrunedIsFiredNoMore() async throws {
        try await TestDatabase.with { database in
            try await database.schedule("nightly")
            let (_, stored) = try await database.run { try ScheduleStore($0).schedules() }
            try await database.execute(
                "insert into outrider.schedule_firing (schedule, scheduled_at) values ('nightly', now())")
            try await database.apply(Definition.content(of: "mail", to: ["a"], from: "now"), prunes: true)
            #expect(try await database.fire("nightly", as: stored[0]) == "taken")
            #expect(try await database.count("select count(*) from outrider.schedule_firing") == 0)
            #expect(try await database.run { try ScheduleStore($0).schedules().schedules.isEmpty })
        }
    }
}

extension TestDatabase {
    /// Applies a schedule that is due once a year, with these members besides or instead.
    func schedule(_ name: String, _ members: [String: JSON?] = [:]) async throws {
        var content: [String: JSON?] = [
            "schedule": .string(name), "cron": "0 0 1 1 *",
            "publish": ["topic": .string("\(name).due"), "payload": ["at": "${ .scheduled_at }"]],
        ]
        content.merge(members) { $1 }
        try await apply(
            .object(
                JSONObject(content.sorted { $0.key < $1.key }.compactMap { name, value in value.map { (name, $0) } })))
    }

    /// Fires as a worker does that knows it so, or as it is now. The next one is far off.
    func fire(
        _ name: String, as known: ScheduleStore.Stored? = nil, failing failure: String? = nil
    ) async throws -> String {
        try await run { connection in
            let store = ScheduleStore(connection)
            let (now, all) = try store.schedules(named: [name])
            guard let stored = known ?? all.first else { return "missing" }
            let definition = try stored.definition.get()
            let deed = try definition.deed { (expression) throws(ExpressionError) in
                guard let path = expression.path else { throw .failed(message: "no path") }
                return try path.resolve(in: ScheduleDefinition.scope(now))
            }
            let outcome = try store.fire(
                stored, .due(stored.due, next: Timestamp(rfc3339: "2099-01-01T00:00:00Z")!), at: now,
                failure.map { .failure(ScheduleFailure($0)) } ?? .success(deed), worker: "w")
            switch outcome {
            case .taken: return "taken"
            case .fired: return "fired"
            case .failed(let reason): return "failed: \(reason)"
            }
        }
    }
}
