import EmbeddedPostgres
import HTTPClient
import Postgres
import Primitives
import TestSupport
import Testing

/// `/v1/sagas`: starting, looking, telling, operating.
struct SagaAPITests {
    private static let nobody = "01a20ef1-0000-7000-8000-000000000000"

    // MARK: - Starting

    @Test func aStartIsToldFromOneThatWasMadeBefore() async throws {
        try await APISagas.with { _, sidecar, _ in
            let first = try await sidecar.post("/v1/sagas/order", #"{"id": 1, "total": 5}"#)
            #expect(first.status == 201)
            let id = try #require(first.json["id"]?.string.flatMap { UUID($0) })
            #expect(first.json["status"] == "running")
            #expect(first.headers["location"] == "/v1/sagas/\(id)")

            let second = try await sidecar.post("/v1/sagas/order", #"{"total": 5, "id": 1}"#)
            #expect(second.status == 200)
            #expect(second.json["id"]?.string == "\(id)")

            let other = try await sidecar.post("/v1/sagas/order", #"{"id": 1, "total": 6}"#)
            other.isProblem(409, "urn:outrider:OR004", "another input needs another key")
            #expect(other.json["detail"]?.string?.contains("\(id)") == true)

            let keyed = try await sidecar.post("/v1/sagas/order?key=mine", #"{"id": 1, "total": 6}"#)
            #expect(keyed.status == 201)
            let answer = try await sidecar.show("/v1/sagas?saga=order&key=mine")
            #expect(answer.json["sagas"]?.array?.map { $0["id"] } == [keyed.json["id"]])
        }
    }

    @Test func ofManyStartsAtOnceOneIsNew() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let answers = try await withThrowingTaskGroup(of: APIAnswer.self) { group in
                for _ in 0..<20 { group.addTask { try await sidecar.post("/v1/sagas/handover?key=one", "{}") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.map(\.status).sorted() == Array(repeating: 200, count: 19) + [201])
            #expect(Set(answers.compactMap { $0.json["id"]?.string }).count == 1)
            #expect(try await scene.database.count("select count(*) from outrider.sagas") == 1)
        }
    }

    @Test func aStartThatWaitsForAnotherOnesCommitHoldsUpNobody() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let other = Session(scene.database.url)
            try await other.run { try $0.execute(script: "begin; select outrider.start_saga('handover', '{}', 'k')") }
            async let waiting = sidecar.post("/v1/sagas/handover?key=k", "{}")
            try await eventually("it waits") {
                try await scene.database.count(
                    "select count(*) from pg_stat_activity where application_name = 'outrider api' and wait_event_type = 'Lock' and datname = current_database()"
                ) == 1
            }
            _ = try await sidecar.start("handover")
            try await other.run { try $0.execute(script: "commit") }
            #expect(try await waiting.status == 200)
            await other.close()
        }
    }

    @Test func whatCannotBeStartedIsAProblem() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let nested = String(repeating: "[", count: 600)
            for (path, body, status, type, words) in [
                ("oder", "{}", 404, "urn:outrider:OR003", "there is no saga 'oder'"),
                ("order", "{}", 400, "urn:outrider:OR005", "the input has no .id"),
                ("order", "", 400, "about:blank", "The body is empty; expected the input"),
                ("order", #"{"id": 1,}"#, 400, "about:blank", "a member's name in quotes was expected at byte 9"),
                ("order", #"{"id": 1} x"#, 400, "about:blank", "unexpected text after the value at byte 10"),
                ("order", #"{"id": "\u0000"}"#, 400, "about:blank", #"\u0000 cannot be converted to text"#),
                ("order", #"{"id": 1e999999}"#, 400, "about:blank", "numeric"),
                ("order", nested, 400, "about:blank", "levels of nesting"),
                ("order?kee=1", "{}", 400, "about:blank", "Did you mean key?"),
                ("order?key=1&key=2", "{}", 400, "about:blank", "given twice"),
                ("order?start_at=tomorrow", "{}", 400, "about:blank", "expected a time such as"),
                ("order?wait=soon", "{}", 400, "about:blank", "expected a duration such as"),
                ("order?wait=6m", "{}", 400, "about:blank", "at most 5m"),
                ("order?key=\(String(repeating: "k", count: 1001))", "{}", 400, "urn:outrider:OR005", "1000 bytes"),
            ] {
                try await sidecar.post("/v1/sagas/\(path)", body).isProblem(status, type, words)
            }
            #expect(try await scene.database.count("select count(*) from outrider.sagas") == 0)
        }
    }

    @Test func aBodyIsJSONWhichAPageMustSay() async throws {
        try await APISagas.with { _, sidecar, _ in
            for headers in [[], ["Content-Type: text/plain"], ["Content-Type: application/x-www-form-urlencoded"]] {
                #expect(try await sidecar.post("/v1/sagas/handover", "{}", headers: headers).status == 201)
                try await sidecar.post("/v1/sagas/handover", "a=b", headers: headers)
                    .isProblem(400, "about:blank", "The body is not JSON")
                try await sidecar.post("/v1/sagas/handover", "{}", headers: headers + ["Origin: http://localhost:3000"])
                    .isProblem(415, "about:blank", "Send Content-Type: application/json.")
            }
            for type in ["application/json; charset=utf-8", "Application/JSON", "application/cloudevents+json"] {
                let answer = try await sidecar.post("/v1/sagas/handover", "{}", headers: ["Content-Type: \(type)"])
                #expect(answer.status == 201)
            }
            let large = "\"\(String(repeating: "x", count: 1 << 20))\""
            try await sidecar.post("/v1/sagas/handover", large).isProblem(413)
            let fits = "\"\(String(repeating: "x", count: (1 << 20) - 2))\""
            #expect(try await sidecar.post("/v1/sagas/handover", fits).status == 201)
        }
    }

    @Test func aStartThatWaitsIsAnsweredWithTheOutcome() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let done = try await sidecar.post(
                "/v1/sagas/order?wait=30s", #"{"id": 1, "total": 12345678901234567890.10}"#)
            #expect(done.status == 201)
            #expect(done.json["status"] == "completed")
            #expect(done.text.contains("12345678901234567890.10"))
            #expect(done.json["finished_at"]?.string.flatMap { Timestamp(rfc3339: $0) } != nil)

            // And at once, of one that has ended.
            let again = try await sidecar.post(
                "/v1/sagas/order?wait=PT30S", #"{"id": 1, "total": 12345678901234567890.10}"#)
            #expect(again.status == 200)
            #expect(again.json == done.json)

            let undone = try await sidecar.post("/v1/sagas/order?wait=30", #"{"id": 2, "card": "declined"}"#)
            #expect(undone.status == 201)
            #expect(undone.json["status"] == "compensated")
            #expect(undone.json["failure"]?["step"] == "charge")
            #expect(undone.json["output"]?.isNull == true)

            let stuck = try await sidecar.post(
                "/v1/sagas/order?wait=30s", #"{"id": 3, "card": "declined unreleasable"}"#)
            #expect(stuck.json["status"] == "stuck")

            let waiting = try await sidecar.post("/v1/sagas/handover?wait=50ms", "{}")
            #expect(waiting.status == 201)
            #expect(waiting.json["status"] == "running")
            #expect(waiting.json["output"]?.isNull == true)
        }
    }

    @Test func whoeverWaitsHoldsNoConnection() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let waiting = (0..<50).map { n in
                Task { try await sidecar.post("/v1/sagas/handover?wait=60s&key=\(n)", "{}") }
            }
            try await eventually("all are started") {
                try await scene.database.count("select count(*) from outrider.sagas") == 50
            }
            let ids = try #require(try await sidecar.show("/v1/sagas").json["sagas"]?.array).compactMap {
                $0["id"]?.string
            }
            for id in ids {
                #expect(try await sidecar.post("/v1/sagas/\(id)/signal", #"{"event": "handed-over"}"#).status == 202)
            }
            for task in waiting { #expect(try await task.value.json["status"] == "completed") }
        }
    }

    @Test func whoeverWaitsWhenTheWorkerStopsIsToldHowItStands() async throws {
        try await APISagas.with { scene, sidecar, worker in
            let waiting = Task { try await sidecar.post("/v1/sagas/handover?wait=60s", "{}") }
            try await eventually("it is started") {
                try await scene.database.count("select count(*) from outrider.sagas") == 1
            }
            worker.terminate()
            let answer = try await waiting.value
            #expect(answer.status == 201)
            #expect(answer.json["status"] == "running")
            #expect(try await worker.exit() == .code(0))
        }
    }

    @Test func aSagaThatStartsLaterIsNotBegun() async throws {
        try await APISagas.with { _, sidecar, _ in
            let answer = try await sidecar.post("/v1/sagas/handover?start_at=2100-01-01T00:00:00Z", "{}")
            #expect(answer.status == 201)
            let id = try #require(answer.json["id"]?.string)
            let saga = try await sidecar.show("/v1/sagas/\(id)").json
            #expect(saga["started_at"] == "2100-01-01T00:00:00+00:00")
            #expect(saga["history"] == [])
        }
    }

    @Test func theCallersTraceGoesOnWithTheCalls() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
            _ = try await sidecar.post(
                "/v1/sagas/ship", "{}", headers: [Sidecar.json, "traceparent: 00-\(trace)-00f067aa0ba902b7-01"])
            let sent = try await scene.shipment().header("traceparent") ?? ""
            #expect(sent.hasPrefix("00-\(trace)-"))
            #expect(!sent.contains("00f067aa0ba902b7"))
        }
    }

    // MARK: - Looking

    @Test func sagasAreListedPageByPage() async throws {
        try await APISagas.with { _, sidecar, _ in
            var ids: [String] = []
            for n in 1...5 { ids.insert(try await sidecar.start("handover", "{\"n\": \(n)}"), at: 0) }
            let ended = try await sidecar.post("/v1/sagas/order?wait=30s", #"{"id": 1}"#)
            var seen: [String] = []
            var path: String? = "/v1/sagas?saga=handover&limit=2"
            while let page = path {
                let answer = try await sidecar.show(page).json
                let rows = answer["sagas"]?.array ?? []
                #expect(rows.count <= 2)
                #expect(rows.allSatisfy { $0["saga"] == "handover" && $0["input"] == nil })
                seen += rows.compactMap { $0["id"]?.string }
                path = answer["next"]?.string.map { "/v1/sagas?saga=handover&limit=2&before=\($0)" }
            }
            #expect(seen == ids)
            func found(_ query: String) async throws -> [JSON?] {
                (try await sidecar.show("/v1/sagas?\(query)").json["sagas"]?.array ?? []).map { $0["id"] }
            }
            #expect(try await found("status=completed") == [ended.json["id"]])
            #expect(try await found("status=running").count == 5)
            #expect(try await found("status=stuck&saga=order").isEmpty)
            #expect(try await found("key=1") == [ended.json["id"]])
            for (query, words) in [
                ("status=complete", "expected one of running, compensating"), ("status=stuk", "Did you mean stuck?"),
                ("limit=0", "from 1 to 1000"), ("limit=1001", "from 1 to 1000"), ("limit=x", "from 1 to 1000"),
                ("before=7", "expected an id"), ("page=2", "There is no parameter 'page'"),
            ] {
                try await sidecar.show("/v1/sagas?\(query)").isProblem(400, "about:blank", words)
            }
        }
    }

    @Test func aSagaIsShownWithItsStepsAndItsHistory() async throws {
        try await APISagas.with { _, sidecar, _ in
            let answer = try await sidecar.post("/v1/sagas/order?wait=30s", #"{"id": 1, "card": "declined"}"#)
            let id = try #require(answer.json["id"]?.string)
            let saga = try await sidecar.show("/v1/sagas/\(id)").json
            #expect(saga["status"] == "compensated")
            #expect(saga["input"] == ["id": 1, "card": "declined"])
            let steps = saga["steps"]?.array ?? []
            #expect(steps.map { $0["step"] } == ["reserve", "charge"])
            #expect(steps.map { $0["status"] } == ["succeeded", "failed"])
            #expect(steps.map { $0["compensation_status"] } == ["compensated", "not_required"])
            #expect(steps.first?["output"] == ["path": "/reserve"])
            let history = saga["history"]?.array ?? []
            #expect(history.compactMap { $0["seq"]?.int } == history.compactMap { $0["seq"]?.int }.sorted())
            #expect(history.first?["event"] == "begun")
            #expect(history.last?["event"] == "compensated")

            try await sidecar.show("/v1/sagas/\(Self.nobody)").isProblem(404, "about:blank", "There is no saga")
            try await sidecar.show("/v1/sagas/order").isProblem(400, "about:blank", "expected an id")
        }
    }

    // MARK: - Telling

    @Test func aSignalReachesItsStep() async throws {
        try await APISagas.with { _, sidecar, _ in
            let id = try await sidecar.start("handover")
            let answer = try await sidecar.post(
                "/v1/sagas/\(id)/signal", #"{"event": "handed-over", "payload": {"at": 9007199254740993}}"#)
            #expect(answer.status == 202)
            #expect(answer.json == ["accepted": true])
            try await sidecar.waitUntil(id, is: "completed")
            let saga = try await sidecar.show("/v1/sagas/\(id)")
            #expect(saga.json["output"] == ["payload": ["at": 9_007_199_254_740_993]])
            try await sidecar.post("/v1/sagas/\(id)/signal", #"{"event": "handed-over"}"#)
                .isProblem(409, "urn:outrider:OR006", "Nothing waits for the event any more")
        }
    }

    @Test(arguments: [
        ("true", "completed"), (#"{"approved": true}"#, "completed"),
        (#"{"approved": false, "reason": "no"}"#, "failed"),
    ])
    func anApprovalIsASignalWithTheStepsName(payload: String, status: String) async throws {
        try await APISagas.with { _, sidecar, _ in
            let id = try await sidecar.start("approval")
            let answer = try await sidecar.post(
                "/v1/sagas/\(id)/signal", "{\"event\": \"boss\", \"payload\": \(payload)}")
            #expect(answer.status == 202)
            try await sidecar.waitUntil(id, is: status)
        }
    }

    @Test func whatIsSaidWronglyIsAProblem() async throws {
        try await APISagas.with { _, sidecar, _ in
            let id = try await sidecar.start("handover")
            for (path, body, status, type, words) in [
                ("\(id)/signal", "", 400, "about:blank", "event is missing"),
                ("\(id)/signal", "[]", 400, "about:blank", "The body is no object"),
                ("\(id)/signal", #"{"event": null}"#, 400, "about:blank", "event is missing"),
                ("\(id)/signal", #"{"event": 7}"#, 400, "about:blank", "expected a string"),
                ("\(id)/signal", #"{"evnt": "a"}"#, 400, "about:blank", "Did you mean event?"),
                ("\(id)/signal", #"{"event": "a b"}"#, 400, "urn:outrider:OR005", "is not the name of an event"),
                ("\(id)/signal?x=1", #"{"event": "a"}"#, 400, "about:blank", "It takes none."),
                ("\(Self.nobody)/signal", #"{"event": "a"}"#, 404, "urn:outrider:OR007", "there is no saga"),
                ("7/signal", #"{"event": "a"}"#, 400, "about:blank", "expected an id"),
                ("\(id)/cancel", "{}", 400, "about:blank", "reason is missing"),
                ("\(id)/cancel", #"{"reason": " "}"#, 400, "urn:outrider:OR005", "a reason is missing"),
                ("\(id)/terminate", "", 400, "about:blank", "reason is missing"),
                ("\(id)/suspend", #"{"reson": "x"}"#, 400, "about:blank", "Did you mean reason?"),
                ("\(id)/resume", "", 409, "urn:outrider:OR006", "is not suspended"),
                ("\(id)/retry", "", 409, "urn:outrider:OR006", "is not stuck"),
                ("\(id)/skip", #"{"step": "hand", "reason": "x"}"#, 409, "urn:outrider:OR006", "is not stuck"),
                ("\(id)/skip", #"{"step": "hand"}"#, 400, "about:blank", "reason is missing"),
                (
                    "\(id)/resolve", #"{"step": "hand", "happened": "yes"}"#, 400, "about:blank",
                    "expected true or false"
                ),
                ("\(id)/resolve", #"{"step": "hand", "happened": true}"#, 409, "urn:outrider:OR006", "is not stuck"),
            ] {
                try await sidecar.post("/v1/sagas/\(path)", body).isProblem(status, type, words)
            }
        }
    }

    // MARK: - Operating

    @Test func aSagaIsSuspendedResumedAndCancelled() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let id = try await sidecar.start("ship")
            _ = try await scene.shipment()
            #expect(
                try await sidecar.post("/v1/sagas/\(id)/suspend", #"{"reason": "the shop is closed"}"#).status == 202)
            try await eventually("it is suspended") {
                try await sidecar.show("/v1/sagas/\(id)").json["suspended"] == true
            }
            try await sidecar.post("/v1/sagas/\(id)/suspend").isProblem(409, "urn:outrider:OR006")
            #expect(try await sidecar.post("/v1/sagas/\(id)/resume", "{}").status == 202)
            try await eventually("it goes on") {
                try await sidecar.show("/v1/sagas/\(id)").json["suspended"] == false
            }
            #expect(try await sidecar.post("/v1/sagas/\(id)/cancel", #"{"reason": "lost interest"}"#).status == 202)
            try await sidecar.waitUntil(id, is: "compensated")
            let failure = try await sidecar.show("/v1/sagas/\(id)").json["failure"]
            #expect(failure?["type"] == "cancelled")
            #expect(failure?["detail"]?.string?.contains("lost interest") == true)
        }
    }

    @Test func aSagaIsTerminated() async throws {
        try await APISagas.with { _, sidecar, _ in
            let id = try await sidecar.start("handover")
            #expect(try await sidecar.post("/v1/sagas/\(id)/terminate", #"{"reason": "a test"}"#).status == 202)
            try await sidecar.waitUntil(id, is: "terminated")
            try await sidecar.post("/v1/sagas/\(id)/terminate", #"{"reason": "a test"}"#)
                .isProblem(409, "urn:outrider:OR006", "A saga that has ended stays as it is.")
        }
    }

    /// What a person does with a saga that is stuck after its pivot, and what its step's output is then.
    @Test(arguments: [
        (
            "retry", #"{"reason": "another card", "input": {"card": "good"}}"#, #"{"path":"/charge"}"#,
            "retried another card", "redriven"
        ),
        (
            "skip", #"{"step": "receipt", "reason": "done by hand", "output": {"by": "hand"}}"#, #"{"by":"hand"}"#,
            "skipped done by hand", "skipped: done by hand"
        ),
        (
            "resolve", #"{"step": "receipt", "happened": true, "output": {"by": "phone"}, "reason": "they said so"}"#,
            #"{"by":"phone"}"#, "resolved they said so", "resolved: it happened: they said so"
        ),
    ])
    func aStuckSagaIsPutRight(act: String, body: String, output: String, event: String, letter: String) async throws {
        try await APISagas.with { scene, sidecar, _ in
            let answer = try await sidecar.post("/v1/sagas/pay?wait=30s", #"{"card": "declined"}"#)
            #expect(answer.json["status"] == "stuck")
            let id = try #require(answer.json["id"]?.string)
            // As it was it fails again.
            #expect(try await sidecar.post("/v1/sagas/\(id)/retry").status == 202)
            try await eventually("it was retried, and is stuck again") {
                try await sidecar.events(of: id).filter { $0 == "stuck" }.count == 2
            }
            #expect(try await sidecar.post("/v1/sagas/\(id)/\(act)", body).status == 202)
            try await sidecar.waitUntil(id, is: "completed")
            let saga = try await sidecar.show("/v1/sagas/\(id)").json
            #expect(saga["output"] == ["receipt": try JSON(parsing: output)])
            let events = (saga["history"]?.array ?? []).map {
                "\($0["event"]?.string ?? "") \($0["detail"]?["reason"]?.string ?? "")"
            }
            #expect(events.contains(event), "\(events)")
            #expect(
                try await scene.database.value(
                    """
                    select string_agg(case when redriven_at is not null then 'redriven' else discard_reason end, ', ' order by dead_at)
                    from outrider.dead_letters
                    """, as: String.self) == "redriven, \(letter)")
        }
    }

    @Test func theDeadLetterOfASagaIsRedriven() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let answer = try await sidecar.post(
                "/v1/sagas/order?wait=30s", #"{"id": 1, "card": "declined unreleasable"}"#)
            #expect(answer.json["status"] == "stuck")
            let id = try #require(answer.json["id"]?.string)
            let letters = try await sidecar.show("/v1/dead-letters?saga_id=\(id)&kind=compensation").json[
                "dead_letters"]
            let letter = try #require(letters?[0]?["id"]?.string)
            #expect(letters?[0]?["step"] == "reserve")
            let redriven = try await sidecar.post("/v1/dead-letters/\(letter)/redrive")
            #expect(redriven.status == 202)
            #expect(redriven.json["id"]?.string == id)
            try await scene.handler.wait(for: 2, at: "/release")
            try await sidecar.post("/v1/dead-letters/\(letter)/redrive").isProblem(409, "urn:outrider:OR006")
            try await eventually("it is stuck again") {
                try await sidecar.events(of: id).filter { $0 == "stuck" }.count == 2
            }
            let all = try await sidecar.show("/v1/dead-letters?saga_id=\(id)&all=true").json["dead_letters"]?.array
            #expect(all?.count == 2)
        }
    }
}
