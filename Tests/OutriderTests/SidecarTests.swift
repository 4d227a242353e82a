import EmbeddedPostgres
import HTTPClient
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// What a worker tells over HTTP and in its log, and to whom.
struct SidecarTests {
    private let listening = ["OUTRIDER_LISTEN": "127.0.0.1:0"]

    // MARK: - Health

    @Test func aWorkerThatWorksIsHealthyAndReady() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker(environment: listening)
            let sidecar = try await Sidecar(of: worker)
            for path in ["/healthz", "/readyz"] {
                #expect(try await sidecar.status(path) == 200)
                #expect(try await sidecar.status(path, method: "HEAD") == 200)
            }
            #expect(try await sidecar.get("/readyz").text == "ready\n")
        }
    }

    @Test func whileTheDatabaseIsAwayItIsHealthyButNotReady() async throws {
        let folder = TemporaryFolder()
        let postgres = try EmbeddedPostgres.temporary()
        defer { postgres.stop() }
        let environment = listening.merging([
            "OUTRIDER_DATABASE_URL": postgres.url(), "OUTRIDER_WORKFLOWS": folder.path,
        ]) { $1 }
        #expect(try await RunningOutrider.run(["migrate"], environment: environment).exit == .code(0))
        let worker = try RunningOutrider(["run"], environment: environment)
        let sidecar = try await Sidecar(of: worker)
        try await sidecar.waitUntil(ready: true)
        postgres.stop()
        try await sidecar.waitUntil(ready: false, because: "not ready: database: ")
        #expect(try await sidecar.status("/healthz") == 200)
        #expect(try await sidecar.metrics()["outrider_database_up"] == 0)
        try postgres.start()
        try await sidecar.waitUntil(ready: true)
        #expect(try await sidecar.metrics()["outrider_database_up"] == 1)
        worker.terminate()
        #expect(try await worker.exit() == .code(0))
    }

    @Test func withoutItsSchemaItIsNotReadyAndSaysWhatToDo() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let folder = TemporaryFolder()
            let worker = try RunningOutrider(
                ["run"],
                environment: listening.merging([
                    "OUTRIDER_DATABASE_URL": database.url, "OUTRIDER_WORKFLOWS": folder.path,
                ]) {
                    $1
                })
            let sidecar = try await Sidecar(of: worker)
            try await sidecar.waitUntil(ready: false, because: "outrider migrate")
            #expect(try await sidecar.status("/healthz") == 200)
            #expect(try await sidecar.status("/metrics") == 200)
        }
    }

    @Test func whileItDrainsItIsHealthyButNotReady() async throws {
        try await Scene.with(handler: .hangs) { scene in
            let worker = try await scene.worker(environment: listening)
            let sidecar = try await Sidecar(of: worker)
            try await scene.publish()
            try await scene.handler.wait(for: 1)
            worker.terminate()
            try await sidecar.waitUntil(ready: false, because: "not ready: draining")
            #expect(try await sidecar.status("/healthz") == 200)
        }
    }

    @Test func aSubscriptionThatCannotBeServedIsTold() async throws {
        let workflows = Scene.mail().replacing("---", with: "auth: { bearer: { secret: NOT_THERE } }\n---")
        try await Scene.with(workflows: workflows) { scene in
            let worker = try await scene.worker(environment: listening)
            let answer = try await Sidecar(of: worker).get("/readyz")
            #expect(answer.status == 200)
            #expect(answer.text.contains("subscription mail is not served"))
            #expect(answer.text.contains("NOT_THERE"))
        }
    }

    // MARK: - Metrics

    @Test func deliveriesAreCountedUnderTheirNames() async throws {
        // The first message is refused, the second fails once.
        let behaviour = HandlerServer.Behaviour.decides { received in
            switch (received.body, received.header("outrider-attempt")) {
            case (#"{"n": 1}"#, _): .text("no", status: 422)
            case (#"{"n": 2}"#, "1"): .text("later", status: 503)
            default: .text("ok")
            }
        }
        try await Scene.with(options: "retry: { initial: 10ms }", handler: behaviour) { scene in
            let worker = try await scene.worker(environment: listening)
            let sidecar = try await Sidecar(of: worker)
            try await scene.publish(6)
            try await scene.waitUntilDelivered()
            // PostgreSQL writes up its statistics about once a second. The sidecar reads them every five, or on a busy machine
            // twenty times as seldom as the reading takes.
            try await eventually("everything is counted", within: .seconds(120)) {
                try await sidecar.metrics()["outrider_published_total"] == 6
            }
            let metrics = try await sidecar.metrics()
            func tries(_ outcome: String) -> Double? {
                metrics[#"outrider_deliveries_total{subscription="mail",outcome="\#(outcome)"}"#]
            }
            func ofMail(_ name: String) -> Double? { metrics[#"\#(name){subscription="mail"}"#] }
            #expect(tries("succeeded") == 5)
            #expect(tries("failed") == 1)
            #expect(tries("dead") == 1)
            #expect(ofMail("outrider_claimed_total") == 7)
            #expect(ofMail("outrider_dead_letters") == 1)
            #expect(ofMail("outrider_oldest_age_seconds") == 0)
            #expect(ofMail("outrider_in_flight") == 0)
            #expect(ofMail("outrider_handler_duration_seconds_count") == 7)
            #expect(ofMail("outrider_delivery_lag_seconds_count") == 4)
            for state in ["ready", "in_flight", "scheduled"] {
                #expect(metrics[#"outrider_queue_depth{subscription="mail",state="\#(state)"}"#] == 0)
            }
            #expect((metrics["outrider_claim_duration_seconds_count{kind=\"deliveries\"}"] ?? 0) > 0)
            #expect(metrics["outrider_rescued_total"] == 0)
            #expect(metrics["outrider_up"] == 1)
            #expect(metrics["outrider_database_up"] == 1)

            let answer = try await sidecar.get("/metrics")
            #expect(answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            #expect(try await Program.promtoolComplaints(about: answer.text) == "")
        }
    }

    @Test func everyMetricThatAlertsAskForExists() async throws {
        let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
        let alerts = try #require(Files.text("\(root)/Deploy/prometheus-alerts.yaml"))
        let wanted = Set(alerts.matches(of: #/outrider_[a-z_]+/#).map { String($0.output) })
        #expect(wanted.count > 4)
        try await Scene.with { scene in
            let saga = "saga: order\nversion: 1\nsteps: [ { id: note, set: { seen: true } } ]\n"
            scene.folder.write(saga, to: "workflows/order.yaml")
            scene.folder.write(Scene.yearly(), to: "workflows/nightly.yaml")
            scene.folder.write(
                """
                topic: order.created
                max_backlog: 1
                overflow: drop_newest
                ---
                endpoint: fragile
                url: ${ $env.SHOP }
                breaker: { failures: 5 }
                ---
                subscription: fragile-mail
                topics: [ order.created ]
                deliver: { http: POST /fragile, endpoint: fragile }
                """, to: "workflows/limits.yaml")
            let worker = try await scene.worker(environment: listening)
            try await scene.publish()
            try await scene.waitUntilDelivered()
            try await scene.database.execute(
                """
                insert into outrider.dropped_delivery (topic, subscription_id, reason, count)
                select 'order.created', s.id, 'drop_newest', 1 from outrider.subscription s where s.name = 'mail'
                """)
            let sidecar = try await Sidecar(of: worker)
            try await eventually("all of \(wanted) are there", within: .seconds(60)) {
                wanted.isSubset(of: try await sidecar.metrics().keys.map { String($0.prefix { $0 != "{" }) })
            }
        }
    }

    @Test func whatIsInFlightIsSeenWhileItIs() async throws {
        try await Scene.with(options: "concurrency: 3", handler: .hangs) { scene in
            let worker = try await scene.worker(environment: listening)
            try await scene.publish(10)
            try await scene.handler.wait(for: 3)
            let sidecar = try await Sidecar(of: worker)
            try await eventually("the queues are read") {
                try await sidecar.metrics()["outrider_published_total"] != nil
            }
            let metrics = try await sidecar.metrics()
            #expect(metrics[#"outrider_in_flight{subscription="mail"}"#] == 3)
            #expect(metrics[#"outrider_queue_depth{subscription="mail",state="in_flight"}"#].map { $0 >= 3 } == true)
            #expect(metrics[#"outrider_oldest_age_seconds{subscription="mail"}"#].map { $0 > 0 } == true)
        }
    }

    // MARK: - Who may ask

    @Test func itListensOnLoopbackUnlessToldOtherwise() async throws {
        let help = try await RunningOutrider.run(["run", "--help"]).output
        #expect(help.contains("127.0.0.1:7070"))
        try await Scene.with { scene in
            let worker = try await scene.worker(environment: listening)
            let sidecar = try await Sidecar(of: worker)
            let elsewhere = HTTPRequest(url: "http://127.0.0.2:\(sidecar.port)/healthz")
            guard case .failure(let failure) = await sidecar.caller.send(elsewhere).result else {
                Issue.record("127.0.0.2 answers")
                return
            }
            #expect(failure.kind == .notStarted)
        }
    }

    @Test(arguments: ["0.0.0.0:0", ":0", "127.evil.example:0"], ["", nil])
    func whereOthersReachItItDoesNotStartWithoutAToken(address: String, token: String?) async throws {
        try await Scene.with { scene in
            var environment = scene.environment
            environment["OUTRIDER_LISTEN"] = address
            environment["OUTRIDER_ADMIN_TOKEN"] = token
            let (exit, _, errors) = try await RunningOutrider.run(["run"], environment: environment)
            #expect(exit == .code(1))
            #expect(errors.contains("OUTRIDER_ADMIN_TOKEN is not set"))
            #expect(errors.contains(address))
        }
    }

    @Test func whereOthersReachItEverythingButHealthNeedsTheToken() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker(environment: [
                "OUTRIDER_LISTEN": "0.0.0.0:0", "OUTRIDER_ADMIN_TOKEN": "hush-token",
            ])
            let sidecar = try await Sidecar(of: worker)
            #expect(try await sidecar.status("/healthz") == 200)
            #expect(try await sidecar.status("/readyz") == 200)
            for headers in [
                [], ["Authorization: Bearer wrong"], ["Authorization: Bearer hush-toke"], ["Authorization: hush-token"],
                ["Authorization: Bearer "], ["Authorization: Basic hush-token"],
            ] {
                for path in ["/metrics", "/nowhere"] {
                    let answer = try await sidecar.get(path, headers: headers)
                    #expect(answer.status == 401)
                    #expect(answer.headers["content-type"] == "application/problem+json")
                }
            }
            for scheme in ["Bearer", "bearer"] {
                let headers = ["Authorization: \(scheme) hush-token"]
                #expect(try await sidecar.status("/metrics", headers: headers) == 200)
                #expect(try await sidecar.status("/nowhere", headers: headers) == 404)
            }
            let (_, head) = try await Program.run([
                "curl", "--silent", "--head", "http://127.0.0.1:\(sidecar.port)/metrics",
            ])
            #expect(head.lowercased().contains("www-authenticate: bearer"))
            #expect(!worker.log.contains("hush-token"))
        }
    }

    @Test func onLoopbackAWebPageOfAnotherNameGetsNothing() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker(environment: listening)
            let sidecar = try await Sidecar(of: worker)
            for host in [
                "evil.example", "evil.example:\(sidecar.port)", "127.evil.example", "127.0.0.1.evil.example:7070",
                "localhost.evil.example", "128.0.0.1", "127.0.0", "127.0.0.256", "[::2]:80", "[::1].evil.example", "",
            ] {
                let answer = try await sidecar.get("/metrics", headers: ["Host: \(host)"])
                #expect(answer.status == 403, "\(host)")
                #expect(!answer.text.contains("outrider_"))
            }
            for host in ["localhost", "LocalHost:80", "127.0.0.1", "127.1.2.3:9", "[::1]:7070", "[::1]"] {
                #expect(try await sidecar.status("/metrics", headers: ["Host: \(host)"]) == 200, "\(host)")
            }
            // A browser tells which page asks.
            for origin in ["https://evil.example", "http://127.evil.example:7070", "null"] {
                #expect(try await sidecar.status("/metrics", headers: ["Origin: \(origin)"]) == 403, "\(origin)")
            }
            for origin in ["http://localhost:\(sidecar.port)", "http://127.0.0.1", "http://[::1]:7070"] {
                #expect(try await sidecar.status("/metrics", headers: ["Origin: \(origin)"]) == 200, "\(origin)")
            }
        }
    }

    @Test func unknownPathsAndMethodsAreProblems() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker(environment: listening)
            let sidecar = try await Sidecar(of: worker)
            for path in ["/nowhere", "/metrics/", "/healthz/x"] {
                let answer = try await sidecar.get(path)
                #expect(answer.status == 404)
                #expect(answer.headers["content-type"] == "application/problem+json")
                let problem = try JSON(parsing: answer.body)
                #expect(problem["status"] == 404)
                #expect(problem["title"]?.string?.isEmpty == false)
            }
            let answer = try await sidecar.get("/metrics", method: "POST")
            #expect(answer.status == 405)
            #expect(answer.headers["content-type"] == "application/problem+json")
        }
    }

    @Test func anAddressInUseEndsTheWorkerWithItsReason() async throws {
        try await Scene.with { scene in
            let taken = try HandlerServer()
            let address = String(taken.url.dropFirst("http://".count))
            var environment = scene.environment
            environment["OUTRIDER_LISTEN"] = address
            let (exit, _, errors) = try await RunningOutrider.run(["run"], environment: environment)
            #expect(exit == .code(1))
            #expect(errors.contains("cannot listen on \(address): another program listens there"))
        }
    }

    // MARK: - The log

    @Test func aJSONLogIsOneObjectALineWithoutPayloadsAndSecrets() async throws {
        let workflows = """
            endpoint: shop
            url: ${ $env.SHOP }
            auth:
              bearer: { secret: TOKEN }
            signing:
              standard_webhooks: { secret: WEBHOOK }
            ---
            subscription: mail
            topics: [ order.created ]
            deliver: { http: POST /mail, endpoint: shop }
            retry: { attempts: 2, initial: 10ms }
            """
        try await Scene.with(workflows: workflows, handler: .answers(.text("hush-answer", status: 503))) { scene in
            let webhook = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
            let worker = try await scene.worker(
                environment: listening.merging([
                    "OUTRIDER_LOG": "json", "OUTRIDER_LOG_LEVEL": "debug", "TOKEN": "hush-bearer", "WEBHOOK": webhook,
                    "OUTRIDER_DATABASE_URL": scene.database.url.replacing("postgres@", with: "postgres:hush-password@"),
                ]) { $1 })
            try await scene.database.query(
                """
                select outrider.publish('order.created', '{"card": "hush-payload"}', key => 'hush-key',
                    headers => '{"x-note": "hush-header"}')
                """)
            try await eventually("there is a dead letter") { try await scene.deadLetters() == 1 }
            try await worker.waitForLog("dead")
            // And what goes wrong with the database.
            try await scene.database.query(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'outrider %' and datname = current_database()"
            )
            try await worker.waitForLog("database.lost")
            try await eventually("the worker is back") {
                worker.log.split(separator: "\n").filter { $0.contains("worker.ready") }.count == 2
            }
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
            let lines = worker.log.split(separator: "\n")
            #expect(lines.count > 5)
            for line in lines {
                let event = try #require(try? JSON(parsing: line).object, "\(line)")
                #expect(event["at"]?.string.flatMap { Timestamp(rfc3339: $0) } != nil)
                #expect(["debug", "info", "warning", "error"].contains(event["level"]?.string ?? ""))
                #expect(event["event"]?.string?.isEmpty == false)
            }
            for secret in ["hush-", webhook] { #expect(!worker.log.contains(secret), "\(worker.log)") }
        }
    }
}
