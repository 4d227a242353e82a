import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// What is promised of a delivery when its worker dies; see also `CrashTests` and `StatementTargetTests`.
struct GuaranteeTests {
    @Test func atMostOnceNoMessageComesTwiceThoughWorkersAreKilled() async throws {
        try await Scene.with(options: "delivery: at-most-once\nconcurrency: 20") { scene in
            var worker = try await scene.worker()
            for round in 1...5 {
                try await scene.publish(200)
                try await scene.handler.wait(for: (round - 1) * 150 + 50)
                worker.kill9()
                worker = try await scene.worker()
            }
            try await scene.waitUntilDelivered()
            let seen = scene.deliveredIDs
            #expect(Set(seen).count == seen.count)
            // What is lost is what was removed and not sent.
            #expect(seen.count >= 1000 - 5 * 20)
            _ = worker
        }
    }

    /// The handler dies after its commit: its answer gets lost, and it finds the second time that it was here.
    @Test func aHandlerThatAcceptsEachIDOnceDoesItsWorkOnceThoughItIsAskedAgain() async throws {
        let databaseURL = Mutex("")
        let asked = Atomic(0)
        let handler = HandlerServer.Behaviour.decides { received in
            let isLost = asked.add(1, ordering: .relaxed).newValue % 3 == 0
            guard let id = received.header("ce-id"),
                let database = try? Connection(databaseURL.withLock { $0 }),
                (try? Self.bill(id, on: database)) != nil
            else { return .text("try again", status: 503) }
            return isLost ? .text("died", status: 502) : .text("ok")
        }
        try await Scene.with(
            options: "concurrency: 4\nretry: { attempts: forever, initial: 10ms, max: 50ms }", handler: handler
        ) { scene in
            try await scene.database.execute("create table public.invoice (message text not null)")
            databaseURL.withLock { $0 = scene.database.url }
            var worker = try await scene.worker()
            try await scene.publish(200)
            for round in 1...3 {
                try await scene.handler.wait(for: round * 50)
                worker.kill9()
                worker = try await scene.worker()
            }
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count() > 200)
            #expect(try await scene.database.count("select count(*) from public.invoice") == 200)
            #expect(try await scene.database.count("select count(distinct message) from public.invoice") == 200)
            _ = worker
        }
    }

    private static func bill(_ id: String, on database: Connection) throws {
        try database.transaction {
            let rows = try database.query("select outrider.inbox_accept('billing', \(id))")
            guard try rows[0].decode(0, as: Bool.self) else { return }
            try database.query("insert into public.invoice (message) values (\(id))")
        }
    }
}
