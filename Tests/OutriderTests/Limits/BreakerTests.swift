import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// A circuit breaker keeps requests from an endpoint that does not answer.
struct BreakerTests {
    /// `mail` goes to the workshop's endpoint, which has a breaker; `other` to another one without.
    private static func with(
        _ options: String = "", breaker: String = "{ failures: 3, open_for: 500ms }", more: String = "",
        _ body: (Scene, Workshop) async throws -> Void
    ) async throws {
        let workshop = try Workshop()
        let workflows = """
            endpoint: flaky
            url: \(workshop.url)
            breaker: \(breaker)
            ---
            endpoint: shop
            url: ${ $env.SHOP }
            ---
            subscription: mail
            topics: [ order.created ]
            deliver: { http: POST /mail, endpoint: flaky }
            \(options)
            ---
            subscription: other
            topics: [ order.created ]
            deliver: { http: POST /other, endpoint: shop }
            \(more)
            """
        try await Scene.with(workflows: workflows) { scene in try await body(scene, workshop) }
    }

    /// A request that comes out of the blue is not answered; what was under way when the breaker opened is.
    private static let keepingProbes: @Sendable (Workshop.Job, Int) -> ServerResponse? = { job, _ in
        job.quiet > .seconds(1) ? nil : .text("down", status: 500)
    }

    private static func state(in scene: Scene) async throws -> String {
        try await scene.database.value("select breaker from outrider.endpoints where name = 'flaky'")
    }

    @Test func whileItIsOpenNothingIsLostAndNoAttemptIsUsedUp() async throws {
        let options = "retry: { attempts: 2, initial: 10ms, jitter: none }\nconcurrency: 1"
        try await Self.with(options) { scene, workshop in
            workshop.answers { _, _ in .text("down", status: 500) }
            let worker = try await scene.worker(environment: ["OUTRIDER_LISTEN": "127.0.0.1:0"])
            let sidecar = try await Sidecar(of: worker)
            try await scene.publish(20)
            try await worker.waitForLog("breaker.opened")
            try await eventually("the metric says so") {
                try await sidecar.metrics()[#"outrider_breaker_open{endpoint="flaky"}"#] == 1
            }
            #expect(try await Self.state(in: scene) != "closed")
            // Three opened it, and each further one is a probe.
            try await workshop.waitFor(seen: 6)
            #expect(
                try await scene.database.value(
                    "select failures >= 5 and last_error = 'HTTP 500' from outrider.endpoints where name = 'flaky'"))
            try await scene.handler.wait(for: 20, at: "/other")
            #expect(try await scene.deadLetters() == 0)
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where subscription = 'mail' and attempt > 2") == 0)
            workshop.answers { _, _ in .text("ok") }
            try await scene.waitUntilDelivered()
            try await worker.waitForLog("breaker.closed")
            #expect(try await Self.state(in: scene) == "closed")
            #expect(try await scene.deadLetters() == 0)
            let succeeded = Set(workshop.seen.map { $0.request.headers["ce-id"] })
            #expect(succeeded.count == 20)
        }
    }

    @Test func ofSeveralWorkersOneSendsOneProbe() async throws {
        let breaker = "{ failures: 3, open_for: 2s }"
        try await Self.with("timeout: 60s\nretry: { attempts: 9, initial: 10ms }", breaker: breaker) {
            scene, workshop in
            workshop.answers { _, _ in .text("down", status: 500) }
            let workers = [try await scene.worker(), try await scene.worker(), try await scene.worker()]
            try await scene.publish(30)
            for worker in workers { try await worker.waitForLog("breaker.opened") }
            // What was on its way has failed, too, and the next probe is kept.
            workshop.answers(Self.keepingProbes)
            try await workshop.waitFor(open: 1)
            workshop.answers { _, _ in nil }
            let before = workshop.seen.count
            try await eventually("it is half open") { try await Self.state(in: scene) == "half_open" }
            // The others have work, and have looked for it.
            try await scene.publish(30)
            try await scene.handler.wait(for: 60, at: "/other")
            #expect(workshop.open == 1)
            #expect(workshop.seen.count == before)
            workshop.answers { _, _ in .text("ok") }
            workshop.finish()
            try await scene.waitUntilDelivered()
            for worker in workers { try await worker.waitForLog("breaker.closed") }
            #expect(try await scene.deadLetters() == 0)
        }
    }

    @Test func theProbeOfAWorkerThatDiesIsAnothersToSend() async throws {
        let breaker = "{ failures: 3, open_for: 2s }"
        try await Self.with("timeout: 60s\nretry: { attempts: 9, initial: 10ms }", breaker: breaker) {
            scene, workshop in
            workshop.answers { _, _ in .text("down", status: 500) }
            let workers = [
                "first": try await scene.worker(["--name", "first"]),
                "second": try await scene.worker(["--name", "second"]),
            ]
            try await scene.publish(30)
            for worker in workers.values { try await worker.waitForLog("breaker.opened") }
            workshop.answers(Self.keepingProbes)
            try await workshop.waitFor(open: 1)
            let prober: String = try await scene.database.value(
                "select w.name from outrider.breaker b join outrider.worker w on w.token = b.prober")
            workers[prober]?.kill9()
            try await workshop.waitFor(open: 2)
            #expect(workshop.open == 2)
            workshop.answers { _, _ in .text("ok") }
            workshop.finish(2)
            try await scene.waitUntilDelivered()
            #expect(try await scene.deadLetters() == 0)
        }
    }

    @Test func itOpensWhenNobodyListens() async throws {
        let port = ReservedPort()
        let workflows = """
            endpoint: gone
            url: http://127.0.0.1:\(port.number)
            breaker: { failures: 2, open_for: 1h }
            ---
            subscription: mail
            topics: [ order.created ]
            deliver: { http: POST /mail, endpoint: gone }
            retry: { attempts: 1 }
            concurrency: 1
            """
        try await Scene.with(workflows: workflows) { scene in
            let worker = try await scene.worker()
            try await scene.publish(10)
            try await worker.waitForLog("breaker.opened")
            // The one that failed before it opened is dead; what was not sent, and what opened it, is not.
            try await eventually("one is dead") { try await scene.deadLetters() == 1 }
            #expect(try await scene.undelivered() == 9)
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
            #expect(try await scene.undelivered() == 9)
            // A new worker knows, and a new definition begins anew.
            let second = try await scene.worker()
            try await second.waitForLog("breaker.opened")
            #expect(try await scene.deadLetters() == 1)
        }
    }

    @Test func aRefusalIsNoFailureOfTheEndpoint() async throws {
        try await Self.with("retry: { attempts: 1 }") { scene, workshop in
            workshop.answers { _, _ in .text("no", status: 422) }
            let worker = try await scene.worker()
            try await scene.publish(20)
            try await eventually("all are dead") { try await scene.deadLetters() == 20 }
            #expect(try await Self.state(in: scene) == "closed")
            #expect(!worker.log.contains("breaker.opened"))
        }
    }

    @Test func orderIsKeptThroughIt() async throws {
        let options = "ordered: true\nretry: { attempts: 5, initial: 10ms }"
        try await Self.with(options) { scene, workshop in
            workshop.answers { _, _ in .text("down", status: 500) }
            let workers = [try await scene.worker(), try await scene.worker()]
            for _ in 0..<4 { try await scene.publish(5, key: "one") }
            for _ in 0..<4 { try await scene.publish(5, key: "two") }
            try await workers[0].waitForLog("breaker.opened")
            try await workshop.waitFor(seen: 5)
            let failed = workshop.seen.count
            workshop.answers { _, _ in .text("ok") }
            try await scene.waitUntilDelivered()
            #expect(try await scene.deadLetters() == 0)
            var done: [String: [Int]] = [:]
            for job in workshop.seen.dropFirst(failed) {
                let id = job.request.headers["ce-subject"] ?? ""
                done[id, default: []].append(Int(job.request.headers["outrider-fence"] ?? "") ?? 0)
            }
            for fences in done.values { #expect(fences == fences.sorted()) }
            #expect(done.values.reduce(0) { $0 + $1.count } >= 38)
        }
    }

    @Test func aSagasCallWaitsUntilItCloses() async throws {
        let saga = """
            ---
            saga: order
            version: 1
            defaults: { timeout: 1s, retry: { attempts: 1 } }
            steps:
              - id: one
                call: { http: POST /one, endpoint: flaky }
            """
        try await Self.with("retry: { attempts: 9, initial: 10ms }", more: saga) { scene, workshop in
            workshop.answers { _, _ in .text("down", status: 500) }
            let worker = try await scene.worker()
            try await scene.publish(10)
            try await worker.waitForLog("breaker.opened")
            let order = try await scene.start("order")
            try await eventually("its try is held back") {
                try await scene.history(of: order).contains("postponed one action 1")
            }
            workshop.answers { _, _ in .text("ok") }
            try await scene.wait(for: order, "completed")
            #expect(try await scene.step("one", of: order) == "succeeded 1, not_required 0")
            #expect(try await scene.deadLetters() == 0)
        }
    }
}
