import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// What a handler sees, and what becomes of its answers.
struct DeliveryTests {
    @Test func requestCarriesTheProtocol() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            let id = try await scene.database.value(
                """
                select outrider.publish('order.created', '{"b": 1.10, "a": "ä"}', key => 'customer "7"',
                    headers => '{"correlation_id": "c-1", "Host": "evil", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}')
                """, as: UUID.self)
            try await scene.handler.wait(for: 1)
            let received = scene.handler.received[0]
            #expect(received.request.method == "POST")
            #expect(received.request.path == "/mail")
            #expect(received.body == #"{"a": "ä", "b": 1.10}"#)
            #expect(received.header("content-type") == "application/json")
            #expect(received.header("idempotency-key") == "\"\(id)\"")
            #expect(received.header("outrider-attempt") == "1")
            #expect(received.header("outrider-subscription") == "mail")
            #expect(received.header("ce-specversion") == "1.0")
            #expect(received.header("ce-id") == "\(id)")
            #expect(received.header("ce-type") == "order.created")
            #expect(received.header("ce-subject") == "customer%20%227%22")
            #expect(received.header("ce-source") == "/outrider")
            #expect(Timestamp(rfc3339: received.header("ce-time") ?? "") != nil)
            #expect(received.header("user-agent")?.hasPrefix("outrider/") == true)
            #expect(received.header("correlation_id") == "c-1")
            #expect(received.header("host")?.hasPrefix("127.0.0.1") == true)
            #expect(received.header("traceparent")?.hasPrefix("00-0af7651916cd43dd8448eb211c80319c-") == true)
            #expect(received.header("traceparent")?.contains("b7ad6b7169203331") == false)
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
        }
    }

    @Test func failuresAreRetriedWithTheSameKeyAndEndAsALetterWithEveryError() async throws {
        try await Scene.with(
            options: "retry: { attempts: 3, initial: 20ms, max: 50ms }",
            handler: .answers(.problem(status: 503, title: "Busy", detail: "mail server"))
        ) { scene in
            let worker = try await scene.worker()
            try await scene.publish()
            try await eventually("there is a dead letter") { try await scene.deadLetters() == 1 }
            let tries = scene.handler.received
            #expect(tries.map { $0.header("outrider-attempt") } == ["1", "2", "3"])
            #expect(Set(tries.map { $0.header("idempotency-key") }).count == 1)
            let letter = try await scene.database.value(
                """
                select jsonb_build_object('attempts', attempts, 'reason', reason, 'errors', jsonb_array_length(errors),
                    'last', last_error, 'payload', payload, 'topic', topic) from outrider.dead_letters
                """, as: JSON.self)
            #expect(letter["attempts"] == 3)
            #expect(letter["reason"] == "exhausted")
            #expect(letter["errors"] == 3)
            #expect(letter["last"] == "HTTP 503: Busy: mail server")
            #expect(letter["payload"] == ["n": 1])
            _ = worker
        }
    }

    @Test func refusalIsADeadLetterAtOnce() async throws {
        try await Scene.with(handler: .answers(.text("no", status: 422))) { scene in
            let worker = try await scene.worker()
            try await scene.publish()
            try await eventually("there is a dead letter") { try await scene.deadLetters() == 1 }
            #expect(scene.handler.count() == 1)
            _ = worker
        }
    }

    @Test func retryAfterIsHonouredAndOngoingUsesNoAttempt() async throws {
        let answers = Mutex(0)
        try await Scene.with(
            options: "retry: { attempts: 2, initial: 10ms, jitter: none, ongoing_interval: 10ms }",
            handler: .decides { _ in
                let number = answers.withLock { number in
                    number += 1
                    return number
                }
                switch number {
                case 1: return ServerResponse(status: 429, headers: [("Retry-After", "1")])
                case 2, 3: return ServerResponse(status: 425)
                default: return ServerResponse(status: 204)
                }
            }
        ) { scene in
            let worker = try await scene.worker()
            try await scene.publish()
            try await scene.handler.wait(for: 4)
            try await scene.waitUntilDelivered()
            let tries = scene.handler.received
            #expect(tries.map { $0.header("outrider-attempt") } == ["1", "2", "2", "2"])
            #expect(tries[1].at - tries[0].at >= .seconds(1))
            #expect(try await scene.deadLetters() == 0)
            _ = worker
        }
    }

    @Test func tooLargeAnAnswerIsFinal() async throws {
        try await Scene.with(
            handler: .answers(ServerResponse(status: 200, body: [UInt8](repeating: 65, count: 10 << 20)))
        ) { scene in
            let worker = try await scene.worker()
            try await scene.publish()
            try await eventually("there is a dead letter") { try await scene.deadLetters() == 1 }
            #expect(
                try await scene.database.value("select reason from outrider.dead_letters", as: String.self)
                    == "output-too-large")
            _ = worker
        }
    }

    @Test func redirectsAreNotFollowed() async throws {
        try await Scene.with(handler: .answers(ServerResponse(status: 302, headers: [("Location", "/elsewhere")]))) {
            scene in
            let worker = try await scene.worker()
            try await scene.publish()
            try await eventually("there is a dead letter") { try await scene.deadLetters() == 1 }
            #expect(scene.handler.count("/elsewhere") == 0)
            _ = worker
        }
    }

    @Test func aHandlerThatHangsDelaysNobodyElse() async throws {
        let workflows = """
            subscription: slow
            topics: [ order.created ]
            deliver: { http: "POST ${ $env.SHOP }/slow" }
            timeout: 2s
            concurrency: 2
            retry: { attempts: 1 }
            ---
            subscription: quick
            topics: [ order.created ]
            deliver: { http: "POST ${ $env.SHOP }/quick" }
            """
        try await Scene.with(workflows: workflows, handler: .decides { $0.request.path == "/slow" ? nil : .text("ok") })
        {
            scene in
            let worker = try await scene.worker()
            try await scene.publish(500)
            try await scene.handler.wait(for: 500, at: "/quick")
            #expect(scene.handler.count("/slow") <= 4)
            try await eventually("the hanging ones time out") { try await scene.deadLetters() >= 2 }
            let error = try await scene.database.value(
                "select last_error from outrider.dead_letters limit 1", as: String.self)
            #expect(error.contains("no complete answer within 2000 ms"))
            _ = worker
        }
    }

    @Test func connectionRefusedIsRetried() async throws {
        try await Scene.with(options: "retry: { attempts: 2, initial: 10ms }") { scene in
            scene.handler.stop()
            let worker = try await scene.worker()
            try await scene.publish()
            try await eventually("there is a dead letter") { try await scene.deadLetters() == 1 }
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'failed'") == 2)
            _ = worker
        }
    }

    @Test func filtersByPathsAndByJqDecideWhatIsDelivered() async throws {
        let workflows = """
            subscription: paid
            topics: [ "order.*" ]
            filter: ${ .payload.total > 10 and .topic != "order.draft" }
            deliver: { http: "POST ${ $env.SHOP }/paid" }
            ---
            subscription: flagged
            topics: [ "#" ]
            filter: ${ .payload.flag }
            deliver: { http: "POST ${ $env.SHOP }/flagged" }
            ---
            subscription: broken
            topics: [ order.created ]
            filter: ${ .payload.total | ascii_downcase }
            deliver: { http: "POST ${ $env.SHOP }/broken" }
            """
        try await Scene.with(workflows: workflows) { scene in
            let worker = try await scene.worker()
            try await scene.database.execute(
                """
                insert into outrider.outbox (topic, payload) values ('order.created', '{"total": 11, "flag": true}'),
                    ('order.created', '{"total": 10}'), ('order.draft', '{"total": 99, "flag": false}'), ('other', '{"flag": 1}');
                """)
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count("/paid") == 1)
            #expect(scene.handler.count("/flagged") == 2)
            #expect(scene.handler.count("/broken") == 0)
            #expect(
                try await scene.database.count("select count(*) from outrider.dead_letters where reason = 'expression'")
                    == 2)
            _ = worker
        }
    }

    @Test func delayedMessagesComeWhenDueAndExpiredOnesNever() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            let began = ContinuousClock.now
            try await scene.database.query(
                "select outrider.publish('order.created', '1', deliver_at => clock_timestamp() + interval '700 ms')")
            try await scene.database.query(
                "select outrider.publish('order.created', '2', expires_at => clock_timestamp() - interval '1 s')")
            try await scene.handler.wait(for: 1)
            #expect(ContinuousClock.now - began >= .milliseconds(650))
            try await scene.waitUntilDelivered()
            #expect(scene.handler.received.map(\.body) == ["1"])
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'expired'") == 1)
            _ = worker
        }
    }

    @Test func atMostOnceIsNeverTriedAgain() async throws {
        try await Scene.with(options: "delivery: at-most-once", handler: .answers(.text("no", status: 503))) { scene in
            let worker = try await scene.worker()
            try await scene.publish(20)
            try await scene.handler.wait(for: 20)
            try await eventually("the tries are recorded") {
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'failed'") == 20
            }
            #expect(try await scene.undelivered() == 0)
            #expect(try await scene.deadLetters() == 0)
            #expect(scene.handler.count() == 20)
            _ = worker
        }
    }

    @Test func auditAllRecordsSuccesses() async throws {
        try await Scene.with(options: "audit: all") { scene in
            let worker = try await scene.worker()
            try await scene.publish(5)
            try await eventually("five successes are recorded") {
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'succeeded'") == 5
            }
            _ = worker
        }
    }

    @Test func secretsAreSentAndWebhooksSigned() async throws {
        let workflows = """
            endpoint: shop
            url: ${ $env.SHOP }
            headers: { X-Team: orders }
            auth:
              bearer: { secret: TOKEN }
            signing:
              standard_webhooks: { secret: WEBHOOK }
            ---
            subscription: mail
            topics: [ order.created ]
            deliver: { http: POST /mail, endpoint: shop }
            """
        try await Scene.with(workflows: workflows) { scene in
            let worker = try await scene.worker(environment: [
                "TOKEN": "s3cret", "WEBHOOK": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            ])
            try await scene.publish()
            try await scene.handler.wait(for: 1)
            let received = scene.handler.received[0]
            #expect(received.header("authorization") == "Bearer s3cret")
            #expect(received.header("x-team") == "orders")
            #expect(received.header("webhook-id") == received.header("ce-id"))
            #expect(received.header("webhook-signature")?.hasPrefix("v1,") == true)
            #expect(!worker.log.contains("s3cret"))
        }
    }

    /// A handler's words are kept without the secrets that it was sent, and are not logged at all.
    @Test func aSecretThatTheHandlerRepeatsIsNotKept() async throws {
        let workflows = Scene.mail().replacing("---", with: "auth: { bearer: { secret: TOKEN } }\n---")
        let words = "token s3cret-of-ours is refused for customer Anna"
        try await Scene.with(
            workflows: workflows, handler: .answers(.problem(status: 422, title: "No", detail: words))
        ) { scene in
            let worker = try await scene.worker(environment: ["TOKEN": "s3cret-of-ours"])
            try await scene.publish()
            try await eventually("there is a dead letter") { try await scene.deadLetters() == 1 }
            #expect(
                try await scene.database.value("select last_error from outrider.dead_letters", as: String.self)
                    == "HTTP 422: No: token *** is refused for customer Anna")
            #expect(
                try await scene.database.count(
                    """
                    select count(*) from outrider.dead_letters l, outrider.delivery_attempts a
                    where l::text || a::text like '%s3cret-of-ours%'
                    """) == 0)
            try await worker.waitForLog("delivery.dead")
            #expect(worker.log.contains("HTTP 422"))
            #expect(!worker.log.contains("Anna"))
        }
    }

    @Test func aMissingSecretLeavesTheMessagesWaiting() async throws {
        let workflows = Scene.mail().replacing("---", with: "auth: { bearer: { secret: NOT_THERE } }\n---")
        try await Scene.with(workflows: workflows) { scene in
            let worker = try RunningOutrider(["run"], environment: scene.environment)
            try await worker.waitForLog("subscription.not_served")
            try await scene.publish()
            #expect(worker.log.contains("NOT_THERE"))
            try await worker.waitForLog("worker.ready")
            #expect(try await scene.undelivered() == 1)
        }
    }
}
