import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// Workers' lives: the beat, taking over, what comes due.
struct QueueTests {
    // MARK: - Sleeping

    /// Numbers of sagas are negative.
    @Test(arguments: [7, -7] as [Int32])
    func whoCannotFallAsleepLearnsThatAnotherSleeps(queue: Int32) async throws {
        try await TestDatabase.with { database in
            let workers = [
                try await Life.begin("first", on: database), try await Life.begin("second", on: database),
            ]
            var seen: [[Bool]] = []
            for worker in workers {
                seen += try await worker.session.run { connection in
                    var exchange = Exchange()
                    exchange.sleep = [queue]
                    return try exchange.run(on: connection, token: worker.token, worker: "w").sleepAttempts
                        .map { [$0.isHeld, $0.isHeldByOther] }
                }
            }
            #expect(seen == [[true, false], [false, true]])
            for worker in workers { await worker.session.close() }
        }
    }

    // MARK: - Taking over

    @Test func whatAWorkerHadIsTakenOverOnceItsSessionHasEnded() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(5)
            let first = try await Life.begin("first", on: database)
            let second = try await Life.begin("second", on: database)
            #expect(try await first.claim(3).count == 3)
            let before = try await second.beat()
            #expect(before.peers == 1 && before.rescued == 0)
            await first.session.close()
            try await eventually("the second takes over") { try await second.beat().rescued == 3 }
            #expect(try await second.beat().peers == 0)
            #expect(
                try await database.values("select name from outrider.workers", as: String.self) == ["second"])
            #expect(
                try await database.values(
                    "select outcome || ' ' || worker || ' ' || attempt from outrider.delivery_attempts",
                    as: String.self) == Array(repeating: "rescued first 1", count: 3))
            // At the end of the queue, with one rescue counted and no attempt.
            #expect(
                try await database.values(
                    "select rescues || ' ' || attempts from outrider.delivery order by id", as: String.self)
                    == ["0 0", "0 0", "1 0", "1 0", "1 0"])
            #expect(try await second.claim(10).count == 5)
            await second.session.close()
        }
    }

    @Test func aLeaseThatExpiredCountsOnlyForWhoWasThereAsLong() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(3)
            let frozen = try await Life.begin("frozen", on: database)
            let claimed = try await frozen.claim(3)
            try await database.execute("update outrider.worker set seen_at = now() - interval '1 minute'")
            let other = try await Life.begin("other", on: database)
            #expect(try await other.beat(connectedFor: .seconds(5)).rescued == 0)
            #expect(try await other.beat(connectedFor: .seconds(31)).rescued == 3)
            // Its session has been ended. In a new one it claims nothing more, and what it reports comes too late.
            await #expect(throws: PostgresError.self) { try await frozen.beat() }
            #expect(try await !frozen.beat().isAlive)
            #expect(try await frozen.claim(3).isEmpty)
            let late = try await frozen.acknowledge(claimed)
            #expect(late == 3)
            #expect(try await database.count("select count(*) from outrider.deliveries where state = 'ready'") == 3)
            #expect(
                try await database.count("select count(*) from outrider.delivery_attempts where outcome = 'late'") == 3)
            await frozen.session.close()
            await other.session.close()
        }
    }

    @Test func whatWasTakenOverFiveTimesIsTriedAloneAndAfterTheSixthIsDead() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish()
            func lose() async throws {
                let token = UUID.random()
                try await database.query(
                    "insert into outrider.worker (token, name, version, lease) values (\(token), 'w', '1', '30 s')")
                try await database.query("update outrider.delivery set owner = \(token)")
                #expect(try await database.value("select outrider.rescue(\(token))", as: Int32.self) == 1)
                #expect(try await database.value("select outrider.rescue(\(token))", as: Int32.self) == 0)
            }
            for _ in 0..<4 { try await lose() }
            #expect(try await database.count("select count(*) from outrider.deliveries where state = 'ready'") == 1)
            try await lose()
            #expect(
                try await database.count(
                    "select count(*) from outrider.deliveries where state = 'scheduled' and due_at > now()") == 1)
            try await database.execute("update outrider.scheduled set due_at = now()")
            _ = try await database.run { try Housekeeping($0).moveDue(most: 10) }
            try await lose()
            #expect(try await database.count("select count(*) from outrider.deliveries") == 0)
            #expect(
                try await database.value(
                    "select reason || ' ' || jsonb_array_length(errors) from outrider.dead_letters", as: String.self)
                    == "abandoned 6")
        }
    }

    // MARK: - The beat

    @Test func oneWorkerLeadsUntilItsSessionEnds() async throws {
        try await TestDatabase.with { database in
            let first = try await Life.begin("first", on: database)
            let second = try await Life.begin("second", on: database)
            #expect(try await first.beat().leads)
            #expect(try await !second.beat().leads)
            await first.session.close()
            try await eventually("the second leads") { try await second.beat().leads }
            await second.session.close()
        }
    }

    @Test func readyIsWhatIsAboveTheFloorAndStrandedWhatIsBelow() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(2)
            let mail = try await database.value("select id from outrider.subscription", as: Int32.self)
            let top = try await database.value("select max(id) from outrider.delivery", as: Int64.self)
            let worker = try await Life.begin("w", on: database)
            func beat(_ floor: Int64, sweeps: Bool = true) async throws -> (ready: [Int32], stranded: [Int32]) {
                let beat = try await worker.beat(sweeps: sweeps, floors: [(mail, floor)])
                return (beat.ready, beat.stranded)
            }
            #expect(try await beat(0) == ([mail], []))
            #expect(try await beat(top - 1) == ([mail], [mail]))
            #expect(try await beat(top) == ([], [mail]))
            #expect(try await beat(top, sweeps: false) == ([], []))
            // A claim begins above the floor it is given.
            #expect(try await worker.claim(10, floor: top - 1).map(\.id) == [top])
            #expect(try await worker.claim(10).map(\.id) == [top - 1])
            #expect(try await beat(0) == ([], []))
            await worker.session.close()
        }
    }

    @Test func theBeatTellsOfOperationsOfWhatComesDueAndOfChanges() async throws {
        try await TestDatabase.with { database in
            let worker = try await Life.begin("w", on: database)
            let idle = try await worker.beat()
            #expect(!idle.hasOperations && idle.dueIn == nil)
            try await database.subscribe("mail", to: "order.created")
            let applied = try await worker.beat()
            #expect(applied.epoch != idle.epoch)
            try await database.execute(
                """
                select outrider.pause('mail'), outrider.redrive_all('mail'),
                    outrider.publish('order.created', '{}', deliver_at => now() + interval '1 h')
                """)
            let paused = try await worker.beat()
            #expect(paused.epoch != applied.epoch)
            #expect(paused.hasOperations)
            #expect((Duration.seconds(3000)...Duration.seconds(3600)).contains(paused.dueIn ?? .zero))
            try await database.execute("select outrider.resume('mail')")
            #expect(try await worker.beat().epoch != paused.epoch)
            await worker.session.close()
        }
    }

    @Test func aPausedSubscriptionHandsOutNothing() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(2)
            let worker = try await Life.begin("w", on: database)
            try await database.execute("select outrider.pause('mail')")
            #expect(try await worker.claim(10).isEmpty)
            try await database.execute("select outrider.resume('mail')")
            #expect(try await worker.claim(10).count == 2)
            await worker.session.close()
        }
    }

    @Test func whatIsReleasedIsReadyAgainAtTheEnd() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(3)
            let worker = try await Life.begin("w", on: database)
            let claimed = try await worker.claim(2)
            let token = worker.token
            try await worker.session.run { try WorkerRegistry($0).release(claimed, token: token) }
            let all = try await worker.claim(10)
            #expect(all.count == 3)
            #expect(all.map(\.messageID).suffix(2) == claimed.map(\.messageID)[...])
            await worker.session.close()
        }
    }

    // MARK: - What comes due

    @Test func whatIsDueMovesIntoTheQueueBoundedAndWithANewId() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish()
            let before = try await database.value("select max(id) from outrider.delivery", as: Int64.self)
            try await database.execute(
                """
                insert into outrider.scheduled (due_at, subscription_id, attempts, rescues, replay, message_id, first_tried_at)
                select now() + n * interval '1 second', s.id, n, 2, true, gen_random_uuid(), now()
                from outrider.subscription s, generate_series(-4, 1) n
                """)
            let moved = try await database.run { connection in
                try (0..<3).map { _ in try Housekeeping(connection).moveDue(most: 3) }
            }
            #expect(moved == [3, 2, 0])
            #expect(try await database.count("select count(*) from outrider.scheduled") == 1)
            #expect(
                try await database.values(
                    "select attempts from outrider.delivery where id > \(before) and replay and rescues = 2 order by id",
                    as: Int32.self) == [-4, -3, -2, -1, 0])
        }
    }
}
