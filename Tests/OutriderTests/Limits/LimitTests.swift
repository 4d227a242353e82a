import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Limits hold over all workers together.
struct LimitTests {
    private static func subscription(_ name: String, _ options: String) -> String {
        """
        subscription: \(name)
        topics: [ order.created ]
        deliver: { http: POST /\(name), endpoint: shop }
        \(options)
        """
    }

    /// With the endpoint `shop`, which is the workshop.
    private static func with(
        _ documents: [String], endpoint: String = "", _ body: (Scene, Workshop) async throws -> Void
    ) async throws {
        let workshop = try Workshop()
        let shop = "endpoint: shop\nurl: \(workshop.url)\n\(endpoint)"
        try await Scene.with(workflows: ([shop] + documents).joined(separator: "\n---\n")) { scene in
            try await body(scene, workshop)
        }
    }

    private static func shares(_ limit: String, in scene: Scene) async throws -> [Int] {
        try await scene.database.run { connection in
            try connection.query(
                """
                select l.granted::bigint from outrider.limits l
                where l.kind || ':' || l.name || ':' || l.limits = \(limit) order by 1
                """
            ).map { Int(try $0.decode(0, as: Int64.self)) }
        }
    }

    private static func waitForShares(_ limit: String, _ shares: [Int], in scene: Scene) async throws {
        try await eventually("the shares of \(limit) are \(shares)") {
            try await Self.shares(limit, in: scene) == shares
        }
    }

    // MARK: - Concurrency

    @Test func concurrencyHoldsOverAllWorkersThroughTheDeathOfOne() async throws {
        try await Self.with([Self.subscription("mail", "concurrency: 3\ntimeout: 60s")]) { scene, workshop in
            var workers: [RunningOutrider] = []
            for _ in 0..<3 { workers.append(try await scene.worker()) }
            try await Self.waitForShares("subscription:mail:concurrency", [1, 1, 1], in: scene)
            try await scene.publish(40)
            try await workshop.waitFor(open: 3)
            for done in 1...12 {
                workshop.finish()
                try await workshop.waitFor(seen: 3 + done)
                try await workshop.waitFor(open: 3)
            }
            #expect(workshop.most == 3)
            // Of what a dead worker had sent nobody can tell how long the handler still works on it.
            workers[0].kill9()
            try await workshop.waitFor(open: 4)
            try await Self.waitForShares("subscription:mail:concurrency", [1, 2], in: scene)
            workshop.finish(4)
            try await workshop.waitFor(open: 3)
            workshop.forgetMost()
            workshop.answers { _, _ in .text("ok") }
            workshop.finish(3)
            try await scene.waitUntilDelivered()
            #expect(workshop.most <= 3)
        }
    }

    @Test func withConcurrencyOneOneMessageIsOutWhicheverWorkerSendsIt() async throws {
        try await Self.with([Self.subscription("mail", "concurrency: 1\ntimeout: 60s")]) { scene, workshop in
            let first = try await scene.worker()
            let second = try await scene.worker()
            try await Self.waitForShares("subscription:mail:concurrency", [0, 1], in: scene)
            for round in 1...5 {
                try await scene.publish(1)
                try await workshop.waitFor(seen: round)
                workshop.finish()
                try await scene.waitUntilDelivered()
            }
            try await scene.publish(6)
            try await workshop.waitFor(open: 1)
            first.terminate()
            workshop.finish()
            // It drains, and the other one goes on.
            for seen in 7...11 {
                try await workshop.waitFor(seen: seen)
                workshop.finish()
            }
            try await scene.waitUntilDelivered()
            #expect(workshop.most == 1)
            #expect(workshop.seen.count == 11)
            _ = second
        }
    }

    @Test func aWorkerThatJoinsUnderLoadTakesItsShareAndOneThatLeavesGivesItBack() async throws {
        let options = "concurrency: 8\naudit: all\ntimeout: 60s"
        try await Self.with([Self.subscription("mail", options)]) { scene, workshop in
            // Each makes room for the one before it: some are always open.
            workshop.answers { _, _ in nil }
            let first = try await scene.worker(["--name", "first"])
            try await scene.publish(2000)
            try await workshop.waitFor(open: 8)
            let second = try await scene.worker(["--name", "second"])
            func bothSend() async throws -> Bool {
                workshop.finish()
                return try await scene.database.count(
                    "select count(distinct worker) from outrider.delivery_attempts where outcome = 'succeeded'") == 2
            }
            try await eventually("both workers send") { try await bothSend() }
            try await eventually("they share") {
                workshop.finish()
                return try await Self.shares("subscription:mail:concurrency", in: scene) == [4, 4]
            }
            first.terminate()
            try await eventually("the second has it all") {
                workshop.finish()
                return try await Self.shares("subscription:mail:concurrency", in: scene).last == 8
            }
            #expect(workshop.most <= 8)
            workshop.answers { _, _ in .text("ok") }
            workshop.finish(8)
            try await scene.waitUntilDelivered(within: .seconds(60))
            #expect(try await first.exit() == .code(0))
            #expect(workshop.seen.count == 2000)
            _ = second
        }
    }

    @Test func anEndpointsConcurrencyHoldsForAllThatIsSentToIt() async throws {
        let saga = """
            saga: order
            version: 1
            defaults: { timeout: 60s }
            steps:
              - id: one
                call: { http: POST /one, endpoint: shop }
              - id: two
                call: { http: POST /two, endpoint: shop }
            """
        let documents = [
            Self.subscription("mail", "timeout: 60s"), Self.subscription("bill", "timeout: 60s"), saga,
        ]
        try await Self.with(documents, endpoint: "concurrency: 2") { scene, workshop in
            let workers = [try await scene.worker(), try await scene.worker()]
            try await Self.waitForShares("endpoint:shop:concurrency", [1, 1], in: scene)
            try await scene.publish(10)
            for _ in 0..<5 { _ = try await scene.start("order") }
            for _ in 0..<30 {
                try await eventually("one is open") { workshop.open > 0 }
                workshop.finish()
            }
            try await scene.waitUntilDelivered()
            try await eventually("the sagas are done") {
                try await scene.database.count("select count(*) from outrider.sagas where status = 'completed'") == 5
            }
            #expect(workshop.most <= 2)
            #expect(["/mail", "/bill", "/one", "/two"].map { workshop.count($0) } == [10, 10, 5, 5])
            _ = workers
        }
    }

    @Test func thoseWhoShareAnEndpointComeInTurn() async throws {
        let documents = [Self.subscription("mail", "timeout: 60s"), Self.subscription("bill", "timeout: 60s")]
        try await Self.with(documents, endpoint: "concurrency: 1") { scene, workshop in
            let worker = try await scene.worker()
            try await scene.publish(20)
            for seen in 1...40 {
                try await workshop.waitFor(seen: seen)
                workshop.finish()
            }
            try await scene.waitUntilDelivered()
            #expect(workshop.most == 1)
            let first = workshop.seen.prefix(20).map(\.request.path)
            #expect(first.count { $0 == "/mail" } >= 5 && first.count { $0 == "/bill" } >= 5, "\(first)")
            _ = worker
        }
    }

    // MARK: - Rates

    @Test(arguments: ["subscription", "endpoint"])
    func aRateHoldsOverAllWorkers(of kind: String) async throws {
        let subscription = Self.subscription("mail", kind == "subscription" ? "rate: 100/s" : "")
        try await Self.with([subscription], endpoint: kind == "endpoint" ? "rate: 100/s" : "") { scene, workshop in
            workshop.answers { _, _ in .text("ok") }
            let workers = [try await scene.worker(), try await scene.worker()]
            try await eventually("they share it") {
                try await scene.database.count(
                    "select count(*) from outrider.limits where limits = 'rate' and granted between 5 and 95") == 2
            }
            var took = Duration.zero
            // A busy machine may be slower than the rate, but not three times on end; faster it must never be.
            for round in 1...3 where round == 1 || took >= .milliseconds(4500) {
                try await scene.publish(300)
                try await scene.waitUntilDelivered()
                try #require(workshop.seen.count == 300 * round)
                let instants = workshop.seen.suffix(300).map(\.at).sorted()
                for first in instants {
                    #expect(instants.count { $0 >= first && $0 < first + .seconds(1) } <= 115)
                }
                took = instants[299] - instants[0]
                #expect(took >= .milliseconds(2600))
            }
            #expect(took < .milliseconds(4500), "it took \(took)")
            _ = workers
        }
    }

    @Test func aSlowRateSendsOneAfterTheOther() async throws {
        try await Self.with([Self.subscription("mail", "rate: 5/s")]) { scene, workshop in
            workshop.answers { _, _ in .text("ok") }
            let worker = try await scene.worker()
            // No first request goes out before, however late it arrives.
            let before = ContinuousClock.now
            try await scene.publish(6)
            try await scene.waitUntilDelivered()
            let instants = workshop.seen.map(\.at).sorted()
            #expect(instants[5] - before >= .seconds(1))
            _ = worker
        }
    }

    @Test func sagaCallsKeepToTheRateOfTheirEndpoint() async throws {
        let saga = "saga: order\nversion: 1\nsteps:\n  - id: one\n    call: { http: POST /one, endpoint: shop }"
        try await Self.with([saga], endpoint: "rate: 10/s") { scene, workshop in
            workshop.answers { _, _ in .text("ok") }
            let worker = try await scene.worker()
            for _ in 0..<12 { _ = try await scene.start("order") }
            try await eventually("the sagas are done") {
                try await scene.database.count("select count(*) from outrider.sagas where status = 'completed'") == 12
            }
            let instants = workshop.seen.map(\.at).sorted()
            #expect(instants.count == 12)
            #expect(instants[11] - instants[0] >= .milliseconds(1000))
            _ = worker
        }
    }

    // MARK: - What is found by itself

    @Test func autoBacksOffFromAHandlerThatCannotTakeItAndGrowsAgain() async throws {
        let options = "concurrency: auto\nretry: { attempts: forever, initial: 20ms, max: 50ms }"
        try await Self.with([Self.subscription("mail", options)]) { scene, workshop in
            workshop.answers { _, _ in .text("busy", status: 503) }
            let worker = try await scene.worker(environment: ["OUTRIDER_LISTEN": "127.0.0.1:0"])
            let sidecar = try await Sidecar(of: worker)
            let name = #"outrider_concurrency{subscription="mail"}"#
            try await eventually("it starts with eight") { try await sidecar.metrics()[name] == 8 }
            try await scene.publish(300)
            try await eventually("it backs off") { try await sidecar.metrics()[name] == 1 }
            // Work that takes long enough for a busy machine's delays not to look like those of a busy handler.
            let desks = (0..<16).map { _ in Session(scene.database.url) }
            workshop.answers(after: { number in
                _ = try? await desks[number % desks.count].run { _ = try $0.query("select pg_sleep(0.2)") }
            }) { _, _ in .text("ok") }
            try await scene.publish(600)
            try await eventually("it grows again", within: .seconds(40)) { try await sidecar.metrics()[name] ?? 0 > 8 }
            workshop.answers { _, _ in .text("ok") }
            try await scene.waitUntilDelivered(within: .seconds(60))
            #expect(try await scene.deadLetters() == 0)
            for desk in desks { await desk.close() }
        }
    }
}
