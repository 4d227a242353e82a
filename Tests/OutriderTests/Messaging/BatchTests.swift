import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// Many messages in one request, each with an end of its own.
struct BatchTests {
    @Test func aBatchIsOneRequestOfCloudEvents() async throws {
        try await Scene.with(options: "batch: { max: 2 }") { scene in
            _ = try await scene.command("apply")
            try await scene.database.execute(
                """
                insert into outrider.outbox (topic, key, payload, headers) values
                    ('order.created', 'customer "7"', '{"b": 1.10, "a": "ä", "big": 12345678901234567890}', '{
                        "correlation_id": "c-1", "x-tenant": "say \\"hi\\"", "id": "evil", "Outrider-Attempt": "evil",
                        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}'),
                    ('order.created', null, '"2"', null)
                """)
            let worker = try await scene.worker()
            try await scene.handler.wait(for: 1)
            let received = scene.handler.received[0]
            #expect(received.header("content-type") == "application/cloudevents-batch+json")
            #expect(received.header("outrider-subscription") == "mail")
            #expect(received.header("outrider-attempt") == "1")
            #expect(received.header("idempotency-key") == nil)
            #expect(received.header("ce-id") == nil)
            #expect(received.header("ce-specversion") == nil)
            #expect(received.header("traceparent")?.hasPrefix("00-") == true)
            #expect(received.header("user-agent")?.hasPrefix("outrider/") == true)
            // The payload's bytes are PostgreSQL's, every digit and space of them.
            #expect(received.body.contains(#""data":{"a": "ä", "b": 1.10, "big": 12345678901234567890}}"#))
            let events = try #require(received.events)
            #expect(events.count == 2)
            let first = try #require(events.first { $0["subject"] != nil })
            let second = try #require(events.first { $0["subject"] == nil })
            #expect(first["specversion"] == "1.0")
            #expect(first["source"] == "/outrider")
            #expect(first["type"] == "order.created")
            #expect(first["subject"] == "customer \"7\"")
            #expect(first["datacontenttype"] == "application/json")
            #expect(first["time"]?.string.flatMap { Timestamp(rfc3339: $0) } != nil)
            #expect(first["outriderattempt"] == 1)
            #expect(first["outriderreplay"] == nil)
            #expect(first["correlationid"] == "c-1")
            #expect(first["xtenant"] == "say \"hi\"")
            #expect(first["traceparent"]?.string?.hasPrefix("00-0af7651916cd43dd8448eb211c80319c-") == true)
            #expect(first["traceparent"]?.string?.contains("b7ad6b7169203331") == false)
            #expect(second["data"] == "2")
            #expect(second["traceparent"]?.string?.hasPrefix("00-") == true)
            let known = try await scene.database.run { connection in
                try connection.query("select id from outrider.messages").map { try $0.decode(0, as: UUID.self) }
            }
            #expect(Set(events.compactMap { $0["id"]?.string }) == Set(known.map(\.description)))
            try await scene.waitUntilDelivered()
            _ = worker
        }
    }

    @Test func eachMessageEndsAsItsResultSays() async throws {
        // By their number: 1 succeeds, 2 is refused, 3 comes again, 4 is left out, 5 has a result that nobody knows.
        let handler = HandlerServer.Behaviour.decides { received in
            let results = (received.events ?? []).compactMap { event -> JSON? in
                let id = event["id"] ?? .null
                guard event["outriderattempt"] == 1 else { return ["id": id, "result": "succeeded"] }
                switch event["data"]?["n"] {
                case 2: return ["id": id, "result": "failed", "error": "no such customer"]
                case 3: return ["id": id, "result": "retry", "error": "locked"]
                case 4: return nil
                case 5: return ["id": id, "result": "done"]
                default: return ["id": id, "result": "succeeded"]
                }
            }
            let strays: [JSON] = [["id": "018f0000-0000-7000-8000-000000000000", "result": "failed"], ["id": 7]]
            return .json(["results": .array(results + strays)])
        }
        try await Scene.with(
            options: "batch: { max: 5 }\nretry: { initial: 10ms, jitter: none }", handler: handler
        ) { scene in
            _ = try await scene.command("apply")
            try await scene.publish(5)
            let worker = try await scene.worker()
            try await scene.waitUntilDelivered()
            let attempts = try await scene.database.run { connection in
                try connection.query(
                    """
                    select format('%s %s %s %s', m.payload ->> 'n', a.attempt, a.outcome, a.error)
                    from outrider.delivery_attempts a join outrider.messages m on m.id = a.message_id order by 1
                    """
                ).map { try $0.decode(0, as: String.self) }
            }
            #expect(
                attempts == [
                    "2 1 refused HTTP 200, result failed: no such customer",
                    "3 1 failed HTTP 200, result retry: locked",
                    "4 1 failed HTTP 200, the answer's results leave this message out",
                    #"5 1 failed HTTP 200, result "done"; expected succeeded, failed or retry"#,
                ])
            let letter = try await scene.database.value(
                "select concat_ws(' ', reason, payload ->> 'n', last_error) from outrider.dead_letters", as: String.self
            )
            #expect(letter == "refused 2 HTTP 200, result failed: no such customer")
            // The first one came once, those that came again came twice.
            let events = scene.handler.received.flatMap { $0.events ?? [] }
            for n in 1...5 { #expect(events.count { $0["data"]?["n"] == JSON(n) } == (n < 3 ? 1 : 2)) }
            #expect(scene.handler.received.last?.header("outrider-attempt") == "2")
            try await worker.waitForLog("batch.unknown_ids")
        }
    }

    @Test(arguments: ["{\"results\": {}}", "{\"results\": [", "{\"results\": []}"])
    func resultsThatSayNothingAreNoSuccess(body: String) async throws {
        let answer = ServerResponse(
            status: 200, headers: [("Content-Type", "application/json")], body: Array(body.utf8))
        try await Scene.with(
            options: "batch: { max: 5 }\nretry: { attempts: 2, initial: 10ms }", handler: .answers(answer)
        ) { scene in
            let worker = try await scene.worker()
            try await scene.publish(3)
            try await eventually("there are letters") { try await scene.deadLetters() == 3 }
            _ = worker
        }
    }

    @Test func whatIsNoResultIsSuccessForAllAndAnotherStatusCountsForAll() async throws {
        let first = Atomic(true)
        let handler = HandlerServer.Behaviour.decides { received in
            if first.exchange(false, ordering: .relaxed) { return .json(["results": []], status: 503) }
            return .json(["ok": true])
        }
        try await Scene.with(
            options: "batch: { max: 3 }\nretry: { initial: 10ms, jitter: none }\naudit: all", handler: handler
        ) { scene in
            _ = try await scene.command("apply")
            try await scene.publish(3)
            let worker = try await scene.worker()
            try await eventually("all are recorded") {
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'succeeded' and attempt = 2") == 3
            }
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'failed' and status = 503") == 3)
            _ = worker
        }
    }

    @Test func theHeaderOverrulesTheStatusForAll() async throws {
        let answer = ServerResponse(status: 200, headers: [("Outrider-Result", "failed")])
        try await Scene.with(options: "batch: { max: 10 }", handler: .answers(answer)) { scene in
            let worker = try await scene.worker()
            try await scene.publish(4)
            try await eventually("there are letters") { try await scene.deadLetters() == 4 }
            #expect(scene.handler.received.flatMap { $0.events ?? [] }.count == 4)
            _ = worker
        }
    }

    @Test func aFullBatchGoesAtOnceAndOneThatIsNotWaitsForMore() async throws {
        try await Scene.with(options: "batch: { max: 4, linger: 10s }") { scene in
            let worker = try await scene.worker()
            for n in 1...6 {
                try await scene.database.query("select outrider.publish('order.created', \(JSON(n)))")
            }
            try await scene.handler.wait(for: 1, within: .seconds(8))
            #expect(scene.handler.received[0].events?.count == 4)
            // The other two are at hand, and wait: those that fill their batch go with them.
            try await eventually("the rest is claimed") {
                try await scene.database.count("select count(*) from outrider.deliveries where state = 'in_flight'")
                    == 2
            }
            #expect(scene.handler.count() == 1)
            try await scene.publish(2)
            try await scene.handler.wait(for: 2, within: .seconds(8))
            #expect(scene.handler.received[1].events?.count == 4)
            _ = worker
        }
    }

    @Test func aBatchThatNothingFillsGoesWhenItsTimeIsOver() async throws {
        try await Scene.with(options: "batch: { max: 100, linger: 300ms }") { scene in
            let worker = try await scene.worker()
            let began = ContinuousClock.now
            try await scene.publish(3)
            try await scene.handler.wait(for: 1)
            #expect(scene.handler.received[0].at - began >= .milliseconds(290))
            #expect(scene.handler.received[0].events?.count == 3)
            try await scene.waitUntilDelivered()
            _ = worker
        }
    }

    @Test func aDrainSendsNothingThatWaitsForMoreAndGivesItBack() async throws {
        try await Scene.with(options: "batch: { max: 100, linger: 10s }") { scene in
            let first = try await scene.worker()
            try await scene.publish(3)
            try await eventually("they are claimed") {
                try await scene.database.count("select count(*) from outrider.deliveries where state = 'in_flight'")
                    == 3
            }
            first.terminate()
            #expect(try await first.exit(within: .seconds(8)) == .code(0))
            #expect(scene.handler.count() == 0)
            #expect(
                try await scene.database.count("select count(*) from outrider.deliveries where state = 'ready'") == 3)
        }
    }

    @Test func concurrencyCountsRequests() async throws {
        try await Scene.with(options: "concurrency: 2\nbatch: { max: 3 }", handler: .hangs) { scene in
            _ = try await scene.command("apply")
            try await scene.publish(30)
            let worker = try await scene.worker()
            try await scene.handler.wait(for: 2)
            #expect(scene.handler.received.map { $0.events?.count } == [3, 3])
            scene.handler.answerHeld()
            try await scene.waitUntilDelivered()
            #expect(scene.handler.received.allSatisfy { ($0.events?.count ?? 0) <= 3 })
            #expect(scene.handler.received.flatMap { $0.events ?? [] }.count == 30)
            _ = worker
        }
    }

    @Test func whatIsFilteredOrExpiredNeverReachesABatch() async throws {
        try await Scene.with(options: "filter: ${ .payload.n % 2 == 0 }\nbatch: { max: 100 }") { scene in
            _ = try await scene.command("apply")
            try await scene.publish(20)
            try await scene.database.query(
                """
                select outrider.publish('order.created', '{"n": 100}', expires_at => clock_timestamp() - interval '1 s')
                """)
            let worker = try await scene.worker()
            try await scene.waitUntilDelivered()
            let numbers = scene.handler.received.flatMap { $0.events ?? [] }.compactMap { $0["data"]?["n"]?.int }
            #expect(numbers.sorted() == Array(stride(from: 2, through: 20, by: 2)))
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'expired'") == 1)
            _ = worker
        }
    }

    @Test func largeMessagesArePartedAndOneThatIsTooLargeGoesAlone() async throws {
        try await Scene.with(options: "batch: { max: 10 }") { scene in
            _ = try await scene.command("apply")
            try await scene.database.query(
                """
                insert into outrider.outbox (topic, payload)
                select 'order.created', to_jsonb(repeat('x', case n when 4 then 9000000 else 3000000 end)) from generate_series(1, 5) n
                """)
            let worker = try await scene.worker()
            try await scene.waitUntilDelivered()
            let sizes = scene.handler.received.map { $0.request.body.count }
            #expect(sizes.allSatisfy { $0 < 9_100_000 })
            #expect(scene.handler.count() >= 3)
            #expect(scene.handler.received.flatMap { $0.events ?? [] }.count == 5)
            _ = worker
        }
    }

    @Test func atMostOnceABatchIsNotTriedAgain() async throws {
        try await Scene.with(
            options: "delivery: at-most-once\nbatch: { max: 10 }", handler: .answers(.text("no", status: 503))
        ) { scene in
            _ = try await scene.command("apply")
            try await scene.publish(20)
            let worker = try await scene.worker()
            try await eventually("the tries are recorded") {
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'failed'") == 20
            }
            #expect(scene.handler.received.flatMap { $0.events ?? [] }.count == 20)
            #expect(try await scene.undelivered() == 0)
            #expect(try await scene.deadLetters() == 0)
            _ = worker
        }
    }

    @Test func aReplayIsMarkedInItsEvent() async throws {
        try await Scene.with(options: "batch: { max: 10 }") { scene in
            let worker = try await scene.worker()
            try await scene.publish(2)
            try await scene.waitUntilDelivered()
            try await scene.database.query(
                "select outrider.replay('mail', now() - interval '1 hour', clock_timestamp())")
            try await eventually("both come again") {
                scene.handler.received.flatMap { $0.events ?? [] }.count { $0["outriderreplay"] == true } == 2
            }
            _ = worker
        }
    }

    @Test func aBatchHasOneMessageOfAnOrderedKeyWithItsFence() async throws {
        try await Scene.with(options: "ordered: true\nconcurrency: 1\nbatch: { max: 100 }") { scene in
            _ = try await scene.command("apply")
            try await scene.database.query(
                """
                insert into outrider.outbox (topic, key, payload)
                select 'order.created', 'k' || n % 3, jsonb_build_object('n', n) from generate_series(1, 12) n
                """)
            let worker = try await scene.worker()
            try await scene.waitUntilDelivered()
            var seen: [String: [(n: Int, fence: Int)]] = [:]
            for received in scene.handler.received {
                let events = received.events ?? []
                #expect(Set(events.map { $0["subject"] }).count == events.count)
                for event in events {
                    let fence = event["outriderfence"]?.string.flatMap { Int($0) }
                    seen[event["subject"]?.string ?? "", default: []].append(
                        (event["data"]?["n"]?.int ?? 0, try #require(fence)))
                }
            }
            #expect(seen.count == 3)
            for key in seen.values {
                #expect(key.count == 4)
                #expect(key.map(\.n) == key.map(\.n).sorted())
                #expect(key.map(\.fence) == key.map(\.fence).sorted())
            }
            _ = worker
        }
    }

    @Test func aKilledWorkersBatchesAreSentAgain() async throws {
        let isHanging = Atomic(true)
        let handler = HandlerServer.Behaviour.decides { received in
            if isHanging.load(ordering: .relaxed) { return nil }
            // Every fifth message fails at its first try.
            let results = (received.events ?? []).map { event -> JSON in
                let isRefused = event["outriderattempt"] == 1 && (event["data"]?["n"]?.int ?? 0) % 5 == 0
                return ["id": event["id"] ?? .null, "result": isRefused ? "retry" : "succeeded"]
            }
            return .json(["results": .array(results)])
        }
        try await Scene.with(
            options: "batch: { max: 10, linger: 5ms }\nretry: { attempts: 20, initial: 10ms }", handler: handler
        ) { scene in
            let first = try await scene.worker()
            try await scene.publish(100)
            try await scene.handler.wait(for: 10)
            isHanging.store(false, ordering: .relaxed)
            first.kill9()
            let second = try await scene.worker()
            try await scene.waitUntilDelivered()
            let answered = scene.handler.received.dropFirst(10).flatMap { $0.events ?? [] }
            #expect(Set(answered.compactMap { $0["id"]?.string }).count == 100)
            #expect(answered.count == 120)
            #expect(try await scene.deadLetters() == 0)
            _ = second
        }
    }
}

extension HandlerServer.Received {
    /// The events of a batch; nil when the body is none.
    var events: [JSON]? { (try? JSON(parsing: request.body))?.array }
}
