import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// `/v1/topics`, `/v1/dead-letters` and `/v1/subscriptions`.
struct MessageAPITests {
    private static let nobody = "01a20ef1-0000-7000-8000-000000000000"

    @Test func whatIsPublishedIsDelivered() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
            let answer = try await sidecar.post(
                "/v1/topics/order.created?key=customer%2042", #"{"total": 12345678901234567890.10}"#,
                headers: [Sidecar.json, "traceparent: 00-\(trace)-00f067aa0ba902b7-01"])
            #expect(answer.status == 202)
            let id = try #require(answer.json["id"]?.string)
            try await scene.handler.wait(for: 1, at: "/mail")
            let mail = try #require(scene.handler.received(at: "/mail").first)
            #expect(mail.body == #"{"total": 12345678901234567890.10}"#)
            #expect(mail.header("ce-id") == id)
            #expect(mail.header("ce-subject") == "customer%2042")
            #expect(mail.header("traceparent")?.hasPrefix("00-\(trace)-") == true)
        }
    }

    @Test func aMessageIsPublishedOncePerKey() async throws {
        try await APISagas.with { scene, sidecar, _ in
            func publish(_ query: String, _ headers: String...) async throws -> JSON? {
                let answer = try await sidecar.post("/v1/topics/a\(query)", "1", headers: [Sidecar.json] + headers)
                #expect(answer.status == 202)
                return answer.json["id"]
            }
            let first = try await publish("?dedupe_key=k-1")
            #expect(try await publish("?dedupe_key=k-1") == first)
            #expect(try await publish("", "Idempotency-Key: k-1") == first)
            #expect(try await publish("", "Idempotency-Key: \"k-1\"") == first)
            #expect(try await publish("?dedupe_key=k-2", "Idempotency-Key: k-1") != first)
            #expect(try await publish("") != first)
            #expect(try await scene.database.count("select count(*) from outrider.messages") == 3)
        }
    }

    @Test func aMessageCanBeForLaterAndForNotTooLong() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let answer = try await sidecar.post(
                "/v1/topics/order.created?deliver_at=2100-01-01T00:00:00Z&expires_at=2100-01-02T00:00:00%2B01:00", "{}")
            #expect(answer.status == 202)
            #expect(
                try await scene.database.value(
                    "select state from outrider.deliveries where due_at = '2100-01-01T00:00:00Z'", as: String.self)
                    == "scheduled")
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.messages where expires_at = '2100-01-02T00:00:00+01:00'") == 1)
        }
    }

    @Test func whatCannotBePublishedIsAProblem() async throws {
        try await APISagas.with { scene, sidecar, _ in
            for (path, body, type, words) in [
                ("Order", "{}", "urn:outrider:OR005", "topic 'Order' is not a topic name"),
                ("a%2Fb", "{}", "urn:outrider:OR005", "topic 'a/b' is not a topic name"),
                ("a", "", "about:blank", "expected the payload"),
                ("a", "{", "about:blank", "at byte 1"),
                ("a?deliver_at=now", "{}", "about:blank", "expected a time such as"),
                ("a?payload=1", "{}", "about:blank", "There is no parameter 'payload'"),
                ("a?dedupe_key=\(String(repeating: "k", count: 1001))", "{}", "urn:outrider:OR005", "1000 bytes"),
            ] {
                try await sidecar.post("/v1/topics/\(path)", body).isProblem(400, type, words)
            }
            #expect(try await scene.database.count("select count(*) from outrider.messages") == 0)
        }
    }

    // MARK: - Dead letters

    @Test func aDeadLetterIsSeenRedrivenAndDiscarded() async throws {
        try await APISagas.with { scene, sidecar, _ in
            for n in 1...3 {
                _ = try await sidecar.post("/v1/topics/order.created", #"{"it is": "refused", "n": \#(n)}"#)
                try await eventually("there is a letter") { try await scene.deadLetters() == n }
            }
            let all = try await sidecar.show("/v1/dead-letters").json
            #expect(all["dead_letters"]?.array?.count == 3)
            #expect(all["next"]?.isNull == true)
            let newest = try await sidecar.show("/v1/dead-letters?subscription=mail&kind=message&limit=1").json
            #expect(newest["dead_letters"]?[0] == all["dead_letters"]?[0])
            #expect(newest["dead_letters"]?[0]?["payload"] == nil)
            let next = try #require(newest["next"]?.string)
            let older = try await sidecar.show("/v1/dead-letters?before=\(next)").json
            #expect(older["dead_letters"]?.array == all["dead_letters"]?.array?.dropFirst().map(\.self))
            #expect(try await sidecar.show("/v1/dead-letters?subscription=other").json["dead_letters"] == [])
            #expect(try await sidecar.show("/v1/dead-letters?kind=step").json["dead_letters"] == [])

            let letter = try await sidecar.show("/v1/dead-letters/\(next)").json
            #expect(letter["payload"]?["n"] == 3)
            #expect(letter["errors"]?.array?.count == 1)
            let redriven = try await sidecar.post("/v1/dead-letters/\(next)/redrive")
            #expect(redriven.status == 202)
            #expect(redriven.json["id"] == letter["message_id"])
            try await scene.handler.wait(for: 4, at: "/mail")
            try await sidecar.post("/v1/dead-letters/\(next)/redrive")
                .isProblem(409, "urn:outrider:OR006", "was redriven at")

            let last = try #require(older["dead_letters"]?[1]?["id"]?.string)
            try await sidecar.post("/v1/dead-letters/\(last)/discard").isProblem(
                400, "about:blank", "reason is missing")
            let discarded = try await sidecar.post("/v1/dead-letters/\(last)/discard", #"{"reason": "a test"}"#)
            #expect(discarded.json == ["discarded": true])
            try await sidecar.post("/v1/dead-letters/\(last)/discard", #"{"reason": "a test"}"#)
                .isProblem(409, "urn:outrider:OR006", "was discarded at")
            #expect(try await sidecar.show("/v1/dead-letters?all=true").json["dead_letters"]?.array?.count ?? 0 >= 3)

            try await sidecar.show("/v1/dead-letters/\(Self.nobody)").isProblem(404)
            for act in ["redrive", "discard"] {
                try await sidecar.post(
                    "/v1/dead-letters/\(Self.nobody)/\(act)", act == "discard" ? #"{"reason": "x"}"# : ""
                )
                .isProblem(404, "urn:outrider:OR007")
                try await sidecar.post("/v1/dead-letters/7/\(act)", act == "discard" ? #"{"reason": "x"}"# : "")
                    .isProblem(400, "about:blank", "expected an id")
            }
            try await sidecar.show("/v1/dead-letters?all=maybe").isProblem(400, "about:blank", "expected true or false")
        }
    }

    // MARK: - Subscriptions

    @Test func aSubscriptionIsPausedAndResumed() async throws {
        try await APISagas.with { scene, sidecar, _ in
            #expect(try await sidecar.post("/v1/subscriptions/mail/pause").json == ["paused": true])
            try await eventually("the worker knows") {
                try await scene.database.count(
                    "select count(*) from outrider.subscriptions where paused_at is not null") == 1
            }
            _ = try await sidecar.post("/v1/topics/order.created", "{}")
            #expect(try await sidecar.post("/v1/subscriptions/mail/resume").json == ["paused": false])
            try await scene.handler.wait(for: 1, at: "/mail")
            for act in ["pause", "resume"] {
                try await sidecar.post("/v1/subscriptions/nobody/\(act)")
                    .isProblem(404, "urn:outrider:OR007", "there is no subscription 'nobody'")
            }
        }
    }

    @Test func messagesAreReplayedAndLettersRedriven() async throws {
        try await APISagas.with { scene, sidecar, _ in
            _ = try await sidecar.post("/v1/topics/order.created?key=a", #"{"n": 1}"#)
            _ = try await sidecar.post("/v1/topics/order.created?key=b", #"{"it is": "refused"}"#)
            try await eventually("both are dealt with") {
                let (letters, waiting) = (try await scene.deadLetters(), try await scene.undelivered())
                return letters == 1 && waiting == 0
            }
            let replay = try await sidecar.post(
                "/v1/subscriptions/mail/replay", #"{"from": "2020-01-01T00:00:00Z", "key": "a"}"#)
            #expect(replay.status == 202)
            #expect(replay.json["id"]?.string.flatMap { UUID($0) } != nil)
            try await scene.handler.wait(for: 3, at: "/mail")
            #expect(scene.handler.received(at: "/mail").last?.header("outrider-replay") == "true")

            let redrive = try await sidecar.post("/v1/subscriptions/mail/redrive")
            #expect(redrive.status == 202)
            try await scene.handler.wait(for: 4, at: "/mail")
            #expect(scene.handler.received(at: "/mail").last?.body.contains("refused") == true)

            let empty = try await sidecar.post("/v1/subscriptions/mail/redrive", #"{"before": "2020-01-01T00:00:00Z"}"#)
            #expect(empty.status == 202)
            for (path, body, status, type, words) in [
                ("mail/replay", "", 400, "about:blank", "from is missing"),
                ("mail/replay", #"{"from": "2020"}"#, 400, "about:blank", "expected a time such as"),
                (
                    "mail/replay", #"{"from": "2020-01-02T00:00:00Z", "to": "2020-01-01T00:00:00Z"}"#, 400,
                    "urn:outrider:OR005", "is not before to_time"
                ),
                ("nobody/replay", #"{"from": "2020-01-01T00:00:00Z"}"#, 404, "urn:outrider:OR007", "nobody"),
                ("nobody/redrive", "", 404, "urn:outrider:OR007", "nobody"),
                ("mail/redrive", #"{"before": 7}"#, 400, "about:blank", "expected a time such as"),
            ] {
                try await sidecar.post("/v1/subscriptions/\(path)", body).isProblem(status, type, words)
            }
        }
    }
}
