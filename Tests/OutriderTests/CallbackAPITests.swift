import EmbeddedPostgres
import HTTPClient
import HTTPServer
import Primitives
import TestSupport
import Testing

/// `/v1/steps`: the callbacks of async steps, where they are told to come, and from whom.
struct CallbackAPITests {
    private func path(_ received: HandlerServer.Received, _ end: String) throws -> String {
        "/v1/steps/\(try #require(received.header("outrider-callback-token")))/\(end)"
    }

    @Test func aStepEndsByItsCallback() async throws {
        try await APISagas.with { scene, sidecar, worker in
            let id = try await sidecar.start("ship")
            let shipment = try await scene.shipment()
            let token = try #require(shipment.header("outrider-callback-token"))
            #expect(shipment.header("outrider-callback-url") == "http://127.0.0.1:\(sidecar.port)/v1/steps/\(token)")
            try await eventually("the saga waits for its callback") {
                try await sidecar.show("/v1/sagas/\(id)").json["waiting_for"]?.string?.hasPrefix("parcel: a callback")
                    == true
            }
            let answer = try await sidecar.post(
                try path(shipment, "complete"), #"{"output": {"number": 12345678901234567890.10}}"#)
            #expect(answer.status == 200)
            #expect(answer.json == ["accepted": true])
            try await sidecar.waitUntil(id, is: "completed")
            #expect(try await sidecar.show("/v1/sagas/\(id)").text.contains("12345678901234567890.10"))
        }
    }

    @Test func aCallbackBeforeTheAnswerCounts() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let id = try await sidecar.start("ship", #"{"it": "hangs"}"#)
            let shipment = try await scene.shipment()
            let answer = try await sidecar.post(try path(shipment, "complete"), #"{"output": "early"}"#)
            #expect(answer.status == 200)
            try await sidecar.waitUntil(id, is: "completed")
            #expect(try await sidecar.show("/v1/sagas/\(id)").json["output"] == ["parcel": "early"])
            scene.handler.answerHeld(.text("", status: 202))
            #expect(scene.handler.count("/ship") == 1)
        }
    }

    @Test func aSecondCallbackChangesNothingAndIsTold() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let id = try await sidecar.start("ship")
            let shipment = try await scene.shipment()
            #expect(try await sidecar.post(try path(shipment, "complete"), #"{"output": 1}"#).status == 200)
            try await sidecar.waitUntil(id, is: "completed")
            for (end, body) in [
                ("complete", #"{"output": 2}"#), ("fail", #"{"error": {"type": "x"}}"#),
                ("heartbeat", #"{"extend": 5}"#),
            ] {
                try await sidecar.post(try path(shipment, end), body)
                    .isProblem(410, "urn:outrider:stale-token", "nothing changes")
            }
            // Also without a body, which completes with null.
            try await sidecar.post(try path(shipment, "complete")).isProblem(410, "urn:outrider:stale-token")
            try await eventually("the history has them") {
                try await sidecar.events(of: id).filter { $0 == "late" }.count == 4
            }
            #expect(try await sidecar.show("/v1/sagas/\(id)").json["output"] == ["parcel": 1])
        }
    }

    @Test func aWrongTokenIsNobodys() async throws {
        try await APISagas.with { scene, sidecar, _ in
            _ = try await sidecar.start("ship")
            let token = try #require(try await scene.shipment().header("outrider-callback-token"))
            for wrong in ["x", String(token.dropLast()), token.uppercased(), token + "0", "%20", "%27"] {
                try await sidecar.post("/v1/steps/\(wrong)/complete").isProblem(410, "urn:outrider:stale-token")
            }
            for (path, body, status, words) in [
                ("\(token)/complete", #"{"outptu": 1}"#, 400, "Did you mean output?"),
                ("\(token)/complete", "7", 400, "The body is no object"),
                ("\(token)/fail", "", 400, "error is missing"),
                ("\(token)/fail", #"{"error": "x"}"#, 400, "expected {\"type\""),
                ("\(token)/fail", #"{"error": {"type": 7}}"#, 400, "expected {\"type\""),
                ("\(token)/heartbeat", "", 400, "extend is missing"),
                ("\(token)/heartbeat", #"{"extend": "soon"}"#, 400, "expected a duration"),
                ("\(token)/heartbeat", #"{"extend": -1}"#, 400, "expected a duration"),
                ("\(token)/heartbeat", #"{"extend": 0}"#, 400, "extend is 00:00:00"),
                ("\(token)/heartbeat", #"{"extend": "400d"}"#, 400, "extend is"),
                ("\(token)/finish", "", 404, "There is nothing at this path"),
                ("/complete", "", 404, "There is nothing at this path"),
            ] {
                let answer = try await sidecar.post("/v1/steps/\(path)", body)
                #expect(answer.status == status, "\(answer.text)")
                #expect(answer.text.contains(words.replacing("\"", with: "\\\"")), "\(answer.text)")
                #expect(!answer.text.contains(token))
            }
        }
    }

    @Test(arguments: [#""1h""#, #""PT1H""#, "3600"])
    func aHeartbeatExtendsTheWait(extend: String) async throws {
        try await APISagas.with { scene, sidecar, _ in
            let id = try await sidecar.start("ship")
            let shipment = try await scene.shipment()
            let answer = try await sidecar.post(try path(shipment, "heartbeat"), "{\"extend\": \(extend)}")
            #expect(answer.status == 200)
            #expect(answer.json == ["accepted": true])
            let expected = Timestamp.now() + .seconds(3600 - 60)
            try await eventually("the wait is longer") {
                let waiting = try await sidecar.show("/v1/sagas/\(id)").json["waiting_for"]?.string
                let until = waiting?.split(separator: " ").last.flatMap { Timestamp(rfc3339: $0) }
                return until.map { $0 > expected } == true
            }
            #expect(try await sidecar.post(try path(shipment, "complete")).status == 200)
            try await sidecar.waitUntil(id, is: "completed")
            #expect(try await sidecar.show("/v1/sagas/\(id)").json["output"] == ["parcel": nil])
        }
    }

    @Test func aFailureCompensates() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let id = try await sidecar.start("ship")
            let shipment = try await scene.shipment()
            let answer = try await sidecar.post(
                try path(shipment, "fail"), #"{"error": {"type": "lost", "detail": "fell off", "weight": 3}}"#)
            #expect(answer.status == 200)
            try await sidecar.waitUntil(id, is: "compensated")
            let failure = try await sidecar.show("/v1/sagas/\(id)").json["failure"]
            #expect(failure?["type"] == "lost")
            #expect(failure?["detail"] == "fell off")
            #expect(scene.handler.count("/release") == 1)
        }
    }

    @Test func withoutACallbackTheStepTimesOutAndItsTokenIsStale() async throws {
        try await APISagas.with { scene, sidecar, _ in
            let answer = try await sidecar.post("/v1/sagas/ship?wait=60s", "{}")
            #expect(answer.json["status"] == "compensated")
            #expect(answer.json["failure"]?["type"] == "timeout")
            let shipment = try await scene.shipment()
            try await sidecar.post(try path(shipment, "complete")).isProblem(410, "urn:outrider:stale-token")
        }
    }

    // MARK: - Where they come

    @Test(arguments: ["127.0.0.1:0", "0.0.0.0:0"])
    func aListenerOfTheirOwnServesNothingElse(address: String) async throws {
        let settings = ["OUTRIDER_LISTEN": "127.0.0.1:0", "OUTRIDER_CALLBACK_LISTEN": address]
        try await APISagas.with(settings) { scene, sidecar, worker in
            let line = try #require(worker.log.split(separator: "\n").first { $0.contains("callbacks.listening") })
            let port = try #require(line.firstMatch(of: #/port=(\d+)/#).flatMap { Int($0.1) })
            #expect(port != sidecar.port)
            #expect(try await sidecar.call("GET", "/healthz", headers: [], port: port).status == 200)
            for (method, path) in [
                ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/v1/sagas"),
                ("POST", "/v1/sagas/ship"), ("POST", "/v1/topics/order.created"), ("GET", "/v1/dead-letters"),
            ] {
                try await sidecar.call(method, path, body: method == "POST" ? "{}" : "", port: port).isProblem(404)
            }
            let id = try await sidecar.start("ship")
            let shipment = try await scene.shipment()
            let path = try path(shipment, "complete")
            // By its address, but not by one that stands for all of them.
            let told = address.hasPrefix("127") ? "http://127.0.0.1:\(port)\(path.dropLast("/complete".count))" : nil
            #expect(shipment.header("outrider-callback-url") == told)
            let stranger = try await sidecar.call(
                "POST", path, body: "{}", headers: [Sidecar.json, "Host: evil.example"], port: port)
            #expect(stranger.status == (address.hasPrefix("127") ? 403 : 200))
            let answer = try await sidecar.call("POST", path, body: "{}", port: port)
            #expect(answer.status == (address.hasPrefix("127") ? 200 : 410))
            try await sidecar.waitUntil(id, is: "completed")
        }
    }

    @Test func handlersAreToldTheURLThatIsGiven() async throws {
        let settings = [
            "OUTRIDER_LISTEN": "127.0.0.1:0", "OUTRIDER_CALLBACK_URL": "https://outrider.example:8443/callbacks/",
        ]
        try await APISagas.with(settings) { scene, sidecar, _ in
            let id = try await sidecar.start("ship")
            let shipment = try await scene.shipment()
            let token = try #require(shipment.header("outrider-callback-token"))
            #expect(
                shipment.header("outrider-callback-url")
                    == "https://outrider.example:8443/callbacks/v1/steps/\(token)")
            // A proxy on this machine may leave the name as it is; it lets callbacks in, and nothing else.
            let host = "Host: outrider.example:8443"
            try await sidecar.call("GET", "/v1/sagas", headers: [host]).isProblem(403)
            try await sidecar.call("POST", try path(shipment, "complete"), headers: ["Host: outrider.example"])
                .isProblem(403)
            let answer = try await sidecar.call("POST", try path(shipment, "complete"), headers: [host])
            #expect(answer.status == 200)
            try await sidecar.waitUntil(id, is: "completed")
        }
    }

    @Test(arguments: ["outrider.example", "ftp://x", "http://", "https://x/a?b", "http://a b", "http://u:p@x"])
    func aCallbackURLThatIsNoneEndsTheWorker(url: String) async throws {
        let run = try await RunningOutrider.run(
            ["run"], environment: ["OUTRIDER_CALLBACK_URL": url, "OUTRIDER_DATABASE_URL": "postgresql://127.0.0.1:1/x"])
        #expect(run.exit == .code(2))
        #expect(run.errors.contains("the callback URL is"), "\(run.errors)")
    }

    // MARK: - Who may call

    @Test func whereOthersReachItCallbacksNeedTheirTokenAndTheRestTheAdmins() async throws {
        let settings = ["OUTRIDER_LISTEN": "0.0.0.0:0", "OUTRIDER_ADMIN_TOKEN": "hush-token"]
        try await APISagas.with(settings) { scene, sidecar, _ in
            for (method, path) in [
                ("GET", "/openapi.json"), ("GET", "/v1/sagas"), ("POST", "/v1/sagas/ship"), ("DELETE", "/v1/sagas"),
                ("POST", "/v1/topics/order.created"), ("GET", "/v1/dead-letters"),
                ("POST", "/v1/subscriptions/mail/pause"),
                ("POST", "/v1/nothing"),
            ] {
                try await sidecar.call(method, path, body: method == "POST" ? "{}" : "").isProblem(401)
            }
            let started = try await sidecar.post(
                "/v1/sagas/ship", "{}", headers: [Sidecar.json, "Authorization: Bearer hush-token"])
            #expect(started.status == 201)
            let shipment = try await scene.shipment()
            #expect(shipment.header("outrider-callback-token") != nil)
            #expect(shipment.header("outrider-callback-url") == nil)
            #expect(try await sidecar.post(try path(shipment, "complete")).status == 200)
            try await sidecar.post("/v1/steps/x/complete").isProblem(410, "urn:outrider:stale-token")
        }
    }

    @Test func onLoopbackAWebPageCannotCallBack() async throws {
        try await APISagas.with { scene, sidecar, _ in
            _ = try await sidecar.start("ship")
            let path = try path(try await scene.shipment(), "complete")
            try await sidecar.post(path, headers: ["Host: evil.example:\(sidecar.port)"]).isProblem(403)
            try await sidecar.post(path, headers: ["Origin: https://evil.example"]).isProblem(403)
            #expect(try await sidecar.post(path).status == 200)
        }
    }

    @Test func tokensAreNotLogged() async throws {
        let settings = ["OUTRIDER_LISTEN": "127.0.0.1:0", "OUTRIDER_LOG": "json", "OUTRIDER_LOG_LEVEL": "debug"]
        try await APISagas.with(settings) { scene, sidecar, worker in
            let id = try await sidecar.start("ship")
            let shipment = try await scene.shipment()
            let token = try #require(shipment.header("outrider-callback-token"))
            // The database refuses it in a way that is logged.
            try await scene.database.execute("alter function outrider.complete_step rename to away")
            try await sidecar.post(try path(shipment, "complete"), #"{"output": "hush"}"#).isProblem(503)
            try await worker.waitForLog("http.failed")
            try await scene.database.execute("alter function outrider.away rename to complete_step")
            #expect(try await sidecar.post(try path(shipment, "complete"), #"{"output": "hush"}"#).status == 200)
            try await sidecar.waitUntil(id, is: "completed")
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
            #expect(worker.log.contains("completeStep"))
            #expect(!worker.log.contains(token))
            #expect(!worker.log.contains("hush"))
        }
    }
}
