import Postgres
import Primitives
import TestSupport
import Testing

/// A message is delivered if and only if its transaction commits, whatever the order of ids and commits.
struct CommitOrderTests {
    @Test func anEarlyIdThatCommitsLateIsDelivered() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            let late = Session(scene.database.url)
            // Draws its id first, commits last, with hundreds delivered in between.
            try await late.run {
                try $0.execute(
                    script: "begin; insert into outrider.outbox (topic, payload) values ('order.created', '\"late\"')")
            }
            for _ in 0..<20 {
                try await scene.publish(20)
                try await eventually("only the open transaction's message is left") {
                    try await scene.database.count(
                        "select count(*) from outrider.deliveries where state <> 'scheduled'") == 0
                }
            }
            #expect(scene.handler.count() == 400)
            try await late.run { try $0.execute(script: "commit") }
            try await scene.handler.wait(for: 401)
            #expect(scene.handler.received.last?.body == "\"late\"")
            await late.close()
            _ = worker
        }
    }

    @Test func rolledBackMessagesAreNeverSent() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            try await scene.database.execute(
                "begin; insert into outrider.outbox (topic, payload) select 'order.created', '\"no\"' from generate_series(1, 50); rollback"
            )
            try await scene.database.execute(
                """
                begin; insert into outrider.outbox (topic, payload) values ('order.created', '"yes"');
                savepoint s; insert into outrider.outbox (topic, payload) values ('order.created', '"no"');
                rollback to s; commit
                """)
            try await scene.handler.wait(for: 1)
            try await scene.waitUntilDelivered()
            #expect(scene.handler.received.map(\.body) == ["\"yes\""])
            _ = worker
        }
    }

    @Test func sixtyFourPublishersWithDelayedCommitsLoseNothing() async throws {
        try await Scene.with { scene in
            let workers = [try await scene.worker(), try await scene.worker()]
            let url = scene.database.url
            var seed = SystemRandomNumberGenerator()
            print("seed of the delays: system")
            let delays = (0..<64).map { _ in (0..<12).map { _ in Int.random(in: 0...30, using: &seed) } }
            let committed = try await withThrowingTaskGroup(of: [String].self) { group in
                for own in delays {
                    group.addTask {
                        let session = Session(url)
                        var ids: [String] = []
                        for delay in own {
                            // Every fourth transaction is rolled back.
                            let commits = delay % 4 != 0
                            let id = try await session.run { connection in
                                try connection.execute(script: "begin")
                                let id = try connection.query(
                                    "insert into outrider.outbox (topic, payload) values ('order.created', '{}') returning id"
                                )[0]
                                .decode(0, as: UUID.self)
                                try connection.query("select pg_sleep(\(Double(delay) / 1000))")
                                try connection.execute(script: commits ? "commit" : "rollback")
                                return id.description
                            }
                            if commits { ids.append(id) }
                        }
                        await session.close()
                        return ids
                    }
                }
                return try await group.reduce(into: Set<String>()) { $0.formUnion($1) }
            }
            try await scene.waitUntilDelivered()
            #expect(Set(scene.deliveredIDs) == committed)
            #expect(scene.deliveredIDs.count == committed.count)
            _ = workers
        }
    }

    /// The newest id belongs to a transaction that is still open: were the floor raised over it, its message would be found by
    /// the sweep only, which comes once a second.
    @Test func whatALonePublisherCommitsIsSentAtOnce() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            var delays: [Duration] = []
            for round in 1...10 {
                try await scene.publish()
                // While it is open the worker sends and records the other one, and looks for more.
                try await scene.database.execute(
                    """
                    begin; insert into outrider.outbox (topic, payload) values ('order.created', '{}');
                    select pg_sleep(0.4); commit
                    """)
                let committed = ContinuousClock.now
                try await scene.handler.wait(for: 2 * round)
                delays.append(scene.handler.received[2 * round - 1].at - committed)
            }
            #expect(delays.filter { $0 < .milliseconds(200) }.count >= 7, "\(delays)")
            _ = worker
        }
    }
}
