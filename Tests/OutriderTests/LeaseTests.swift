import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Beats that stop, and what goes on when they come back.
struct LeaseTests {
    @Test func whatIsBufferedIsSentWhenTheBeatComesBackAfterTheLease() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker(environment: ["OUTRIDER_LEASE": "2s"])
            // Keeps the beat from noting that the worker lives, and nothing else.
            let obstacle = Session(scene.database.url)
            try await obstacle.run { try $0.execute(script: "begin; select from outrider.worker for no key update") }
            try await eventually("the lease is over") {
                try await scene.database.count(
                    "select count(*) from outrider.worker where seen_at < clock_timestamp() - interval '2.5 s'") == 1
            }
            try await scene.publish(10)
            try await eventually("the worker has all") {
                try await scene.database.count(
                    "select count(*) from outrider.deliveries where state = 'in_flight'") == 10
            }
            #expect(scene.handler.count() == 0)  // another worker might have them by now
            try await obstacle.run { try $0.execute(script: "rollback") }
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count() == 10)
            #expect(Set(scene.deliveredIDs).count == 10)
            #expect(!worker.log.contains("database.lost"))
            await obstacle.close()
        }
    }

    @Test func aFrozenLeaderIsReplacedAfterItsLeaseAndWorksOnWhenItIsBack() async throws {
        try await Scene.with(
            options: "retry: { attempts: 3, initial: 200ms, jitter: none }",
            handler: .decides { $0.header("outrider-attempt") == "1" ? .text("no", status: 503) : .text("ok") }
        ) { scene in
            let lease = ["OUTRIDER_LEASE": "2s"]
            let first = try await scene.worker(environment: lease)
            try await first.waitForLog("housekeeping.leads")
            let second = try await scene.worker(environment: lease)
            first.freeze()
            try await scene.publish(5)
            try await scene.database.execute(
                """
                insert into outrider.outbox (topic, payload, deliver_at)
                values ('order.created', '{}', clock_timestamp() + interval '1 s')
                """)
            try await second.waitForLog("housekeeping.leads")
            // Retries and what is delayed move on under the new leader.
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count() == 12)
            #expect(try await scene.deadLetters() == 0)
            first.thaw()
            try await eventually("the first works again") {
                try await scene.database.count("select count(*) from outrider.workers where connected") == 2
            }
            second.terminate()
            #expect(try await second.exit() == .code(0))
            try await scene.publish(5)
            try await scene.handler.wait(for: 22)
            try await scene.waitUntilDelivered()
            #expect(try await scene.deadLetters() == 0)
        }
    }
}
