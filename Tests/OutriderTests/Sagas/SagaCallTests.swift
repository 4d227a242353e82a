import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// What goes to handlers, and what their answers come to (cases 1, 2, 3 and 14 of the semantics).
struct SagaCallTests {
    @Test func aCallCarriesTheProtocolsHeaders() async throws {
        let script = Script(["/ship": [.status(422)], "/release": [.status(500), .status(200)]])
        try await Scene.playing(Scene.order, script) { scene in
            let worker = try await scene.worker(["--listen", "127.0.0.1:0"])
            let id: UUID = try await scene.database.value(
                """
                select outrider.start_saga('order', '{"n": 12345678901234567890}',
                    headers => '{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}')
                """)
            try await scene.wait(for: id, "compensated")
            let charge = try #require(scene.handler.received(at: "/charge").first)
            #expect(charge.request.method == "POST")
            #expect(charge.body == #"{"n": 12345678901234567890}"#)
            #expect(charge.header("idempotency-key") == "\"\(id)/charge/action\"")
            #expect(charge.header("outrider-attempt") == "1")
            #expect(charge.header("outrider-saga") == "order")
            #expect(charge.header("outrider-saga-id") == id.description)
            #expect(charge.header("outrider-saga-version") == "1")
            #expect(charge.header("outrider-step") == "charge")
            #expect(charge.header("outrider-op") == "action")
            #expect(charge.header("outrider-forward-idempotency-key") == nil)
            #expect(charge.header("outrider-callback-token") == nil)
            #expect(charge.header("content-type") == "application/json")
            #expect(charge.header("user-agent")?.hasPrefix("outrider/") == true)
            let trace = try #require(charge.header("traceparent"))
            #expect(trace.hasPrefix("00-0af7651916cd43dd8448eb211c80319c-") && trace.hasSuffix("-01"))
            #expect(!trace.contains("b7ad6b7169203331"))
            let deadline = try #require(charge.header("outrider-deadline").flatMap { Timestamp(rfc3339: $0) })
            let sent: Timestamp = try await scene.database.value(
                """
                select at from outrider.saga_history
                where saga_id = \(id) and event = 'started' and step = 'charge' and op = 'action'
                """)
            #expect(deadline - sent == .seconds(2))

            let release = scene.handler.received(at: "/release")
            #expect(
                release.map { $0.header("idempotency-key") }
                    == [String?](repeating: "\"\(id)/reserve/compensate\"", count: 2))
            #expect(release.map { $0.header("outrider-attempt") } == ["1", "2"])
            #expect(release[0].header("outrider-forward-idempotency-key") == "\"\(id)/reserve/action\"")
            #expect(release[0].header("outrider-op") == "compensate")
            #expect(release[0].body == #"{"n": 12345678901234567890, "was": {"done": "/reserve"}}"#)
            #expect(release[1].body == release[0].body)
            _ = worker
        }
    }

    @Test func anEndpointsCredentialsGoWithEveryCallAndStayOutOfTheHistory() async throws {
        let saga = """
            saga: pay
            version: 1
            steps:
              - id: charge
                call: { http: PUT /charge, endpoint: bank, headers: { X-Order: "no. ${ .input.n }" }, body: ok }
                retry: { attempts: 1 }
            ---
            endpoint: bank
            url: ${ $env.SHOP }
            auth: { bearer: { secret: BANK_TOKEN } }
            headers: { X-Team: orders }
            """
        let script = Script([
            "/charge": [
                .run { received in
                    .problem(status: 400, title: "no", detail: "who is \(received.header("authorization") ?? "")")
                }
            ]
        ])
        try await Scene.playing(saga, script) { scene in
            let worker = try await scene.worker(environment: ["BANK_TOKEN": "s3cret-s3cret"])
            let id = try await scene.play("pay", #"{"n": 7}"#, to: "failed")
            let call = try #require(scene.handler.received.first)
            #expect(call.header("authorization") == "Bearer s3cret-s3cret")
            #expect(call.header("x-team") == "orders")
            #expect(call.header("x-order") == "no. 7")
            #expect(call.body == #""ok""#)
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.saga_fact where detail::text like '%s3cret%' and saga_id = \(id)")
                    == 0)
            #expect(!worker.log.contains("s3cret"))
        }
    }

    struct Case: Sendable, CustomStringConvertible {
        let description: String
        let answers: [Script.Answer]
        let tries: Int
        /// Whether it may have happened.
        let isUndone: Bool

        init(_ description: String, _ answers: [Script.Answer], tries: Int, isUndone: Bool) {
            self.description = description
            self.answers = answers
            self.tries = tries
            self.isUndone = isUndone
        }
    }

    static let cases = [
        Case("500", [.status(500)], tries: 3, isUndone: true),
        Case("503, then 422: unknown is sticky", [.status(503), .status(422)], tries: 2, isUndone: true),
        Case("422", [.status(422)], tries: 1, isUndone: false),
        Case("429", [.status(429)], tries: 3, isUndone: false),
        Case("409", [.status(409)], tries: 3, isUndone: true),
        Case("302", [.status(302)], tries: 1, isUndone: false),
        Case("failed", [.status(200, [("Outrider-Result", "failed")])], tries: 1, isUndone: false),
        Case("retry", [.status(400, [("Outrider-Result", "retry")])], tries: 3, isUndone: true),
        Case("too long", [.run { _ in .text(String(repeating: "x", count: 1 << 21)) }], tries: 1, isUndone: true),
    ]

    @Test(arguments: cases) func theAnswerDecidesWhetherACallIsTriedAgainAndUndone(_ one: Case) async throws {
        try await Scene.playing(Scene.order, Script(["/charge": one.answers])) { scene in
            let worker = try await scene.worker()
            _ = try await scene.play("order", #"{"n": 1}"#, to: "compensated")
            #expect(scene.handler.count("/charge") == one.tries)
            #expect(scene.handler.count("/refund") == (one.isUndone ? 1 : 0))
            #expect(scene.handler.count("/release") == 1)
            #expect(scene.handler.count("/ship") == 0)
            _ = worker
        }
    }

    @Test func aTimeoutLeavesACallUnknownAndALateAnswerIsNone() async throws {
        try await Scene.playing(Scene.order, Script(["/ship": [.nothing]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("order", #"{"n": 1}"#, to: "compensated")
            #expect(scene.handler.count("/ship") == 3)
            #expect(Array(scene.calls.suffix(3)) == ["/recall", "/refund", "/release"])
            #expect(try await scene.step("ship", of: id) == "unknown 3, compensated 1")
            _ = worker
        }
    }

    @Test func aRefusedConnectionIsKnownNotToHaveHappened() async throws {
        let nobody = ReservedPort()
        let saga = """
            saga: far
            version: 1
            defaults: { retry: { attempts: 3, initial: 5ms } }
            steps:
              - id: near
                call: { http: POST /near, endpoint: shop }
                compensate: { call: { http: POST /near/undo, endpoint: shop } }
              - id: away
                call: { http: "POST http://127.0.0.1:\(nobody.number)/away" }
                compensate: { call: { http: POST /away/undo, endpoint: shop } }
            """
        try await Scene.playing(saga) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("far", to: "compensated")
            #expect(scene.calls == ["/near", "/near/undo"])
            #expect(try await scene.step("away", of: id) == "failed 3, not_required 0")
            _ = worker
        }
    }

    @Test func ongoingIsAskedAgainWithoutUsingUpAnAttempt() async throws {
        let ongoing = Script.Answer.status(425, [("Retry-After", "0")])
        let script = Script(["/charge": [ongoing, ongoing, ongoing, ongoing, .status(200)]])
        let saga = Scene.order.replacing(
            "  retry: { attempts: 3,", with: "  retry: { attempts: 3, ongoing_interval: 20ms,")
        try await Scene.playing(saga, script) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("order", #"{"n": 1}"#, to: "completed")
            #expect(
                scene.handler.received(at: "/charge").map { $0.header("outrider-attempt") } == [
                    "1", "1", "1", "1", "1",
                ])
            #expect(Set(scene.handler.received(at: "/charge").map { $0.header("idempotency-key") }).count == 1)
            #expect(try await scene.step("charge", of: id) == "succeeded 1, not_required 0")
            _ = worker
        }
    }
}
