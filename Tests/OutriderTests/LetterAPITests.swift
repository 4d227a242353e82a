import Postgres
import Primitives
import TestSupport
import Testing

/// Dead letters and replays over HTTP: mended, filtered, many at once.
struct LetterAPITests {
    @Test func aLetterIsRedrivenWithAnotherPayload() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let letter = try await sidecar.refused(scene, key: "a")
            let mended = try await sidecar.post("/v1/dead-letters/\(letter)/redrive", #"{"payload": {"total": 1.10}}"#)
            #expect(mended.status == 202)
            try await scene.handler.wait(for: 2, at: "/mail")
            let received = try #require(scene.handler.received(at: "/mail").last)
            #expect(received.body == #"{"total": 1.10}"#)
            #expect(received.header("ce-id") == mended.json["id"]?.string)
            let shown = try await sidecar.show("/v1/dead-letters/\(letter)").json
            #expect(shown["redriven_as"] == mended.json["id"])
            #expect(shown["message_id"] != mended.json["id"])
            #expect(shown["redrive_of"]?.isNull == true)
        }
    }

    @Test func lettersAreFilteredByWhatIsKnownOfThem() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let letter = try await sidecar.refused(scene, key: "a")
            for (query, isFound) in [
                ("key=a", true), ("key=b", false), ("topic=order.created", true), ("topic=order.paid", false),
                ("reason=refused", true), ("reason=exhausted", false), ("since=2020-01-01T00:00:00Z", true),
                ("since=2999-01-01T00:00:00Z", false), ("until=2999-01-01T00:00:00Z", true),
                ("until=2020-01-01T00:00:00Z", false),
            ] {
                let found = try await sidecar.show("/v1/dead-letters?\(query)").json["dead_letters"]?.array ?? []
                #expect(found.map { $0["id"]?.string } == (isFound ? [letter] : []), "\(query)")
            }
            try await sidecar.show("/v1/dead-letters?since=yesterday").isProblem(400, "about:blank", "expected a time")
        }
    }

    @Test func allLettersOfASubscriptionAreDiscarded() async throws {
        try await APISagas.with { scene, sidecar, _ in
            _ = try await sidecar.refused(scene, key: "a")
            try await sidecar.post("/v1/subscriptions/mail/discard").isProblem(400, "about:blank", "reason is missing")
            let discarded = try await sidecar.post("/v1/subscriptions/mail/discard", #"{"reason": "a test"}"#)
            #expect(discarded.status == 202)
            #expect(discarded.json["note"]?.isNull == true)
            try await eventually("none is open") { try await scene.deadLetters() == 0 }
            try await sidecar.post("/v1/subscriptions/nobody/discard", #"{"reason": "x"}"#)
                .isProblem(404, "urn:outrider:OR007", "nobody")
        }
    }

    @Test func aReplayIsOfOneTopicAndSaysWhereTheLogEnds() async throws {
        try await APISagas.with { scene, sidecar, _ in
            try await sidecar.post(
                "/v1/subscriptions/mail/replay", #"{"from": "2020-01-01T00:00:00Z", "topic": "elsewhere"}"#
            ).isProblem(400, "urn:outrider:OR005", "takes no topic 'elsewhere'")
            try await scene.database.execute(
                """
                insert into outrider.dropped_partition (name, lower_at, upper_at, topics)
                values ('outbox_20200101', '2020-01-01 UTC', '2020-01-02 UTC', '{order.created}')
                """)
            let replay = try await sidecar.post(
                "/v1/subscriptions/mail/replay", #"{"from": "2020-01-01T00:00:00Z", "topic": "order.created"}"#)
            #expect(replay.status == 202)
            #expect(replay.json["note"]?.string?.contains("before 2020-01-02T00:00:00Z") == true)
        }
    }
}

extension Sidecar {
    /// Publishes what the handler refuses; the id of its letter.
    fileprivate func refused(_ scene: Scene, key: String) async throws -> String {
        _ = try await post("/v1/topics/order.created?key=\(key)", #"{"it is": "refused"}"#)
        try await eventually("it is a dead letter") { try await scene.deadLetters() == 1 }
        return try #require(try await show("/v1/dead-letters").json["dead_letters"]?[0]?["id"]?.string)
    }
}
