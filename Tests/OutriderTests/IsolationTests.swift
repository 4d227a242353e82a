import EmbeddedPostgres
import HTTPClient
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// What goes wrong for one subscription, definition or operation goes wrong for that one alone.
struct IsolationTests {
    /// A subscription for the topic `order.created` that is delivered to the path of its name.
    private static func subscription(_ name: String, _ options: String = "") -> String {
        """
        subscription: \(name)
        topics: [ order.created ]
        deliver: { http: "POST ${ $env.SHOP }/\(name)" }
        \(options)
        """
    }

    private static func files(_ subscriptions: String...) -> String {
        subscriptions.joined(separator: "\n---\n")
    }

    // MARK: - Handlers

    @Test(arguments: ["at-least-once", "at-most-once"])
    func wordsThatTheDatabaseCannotHoldAreRecordedWithoutThem(guarantee: String) async throws {
        let workflows = Self.files(
            Self.subscription("nul", "retry: { attempts: 2, initial: 10ms }\ndelivery: \(guarantee)"),
            Self.subscription("quick"))
        let answer = ServerResponse(
            status: 500, headers: [("Content-Type", "application/problem+json")],
            body: Array(#"{"title": "Broken", "detail": "a\u0000b"}"#.utf8))
        try await Scene.with(
            workflows: workflows, handler: .decides { $0.request.path == "/nul" ? answer : .text("ok") }
        ) { scene in
            let worker = try await scene.worker()
            for round in 1...3 {
                try await scene.publish(5)
                try await scene.handler.wait(for: 5 * round, at: "/quick")
            }
            let isOnce = guarantee == "at-most-once"
            try await scene.handler.wait(for: isOnce ? 15 : 30, at: "/nul")
            try await scene.waitUntilDelivered()
            try await eventually("all tries are recorded") {
                try await scene.database.count(
                    """
                    select count(*) from outrider.delivery_attempts
                    where subscription = 'nul' and error = U&'HTTP 500: Broken: a\\FFFDb'
                    """) == (isOnce ? 15 : 30)
            }
            #expect(try await scene.deadLetters() == (isOnce ? 0 : 15))
            #expect(scene.handler.count("/quick") == 15)
            #expect(!worker.log.contains("database.lost"))
        }
    }

    @Test func aHandlerThatHangsLeavesTheOthersTheirShareOfFewRequests() async throws {
        let workflows = Self.files(
            Self.subscription("slow", "timeout: 60s\nconcurrency: 50"), Self.subscription("quick"))
        try await Scene.with(workflows: workflows, handler: .decides { $0.request.path == "/slow" ? nil : .text("ok") })
        { scene in
            let worker = try await scene.worker(["--concurrency", "4"])
            // Nobody but the one that hangs has had anything to send until it has all there is.
            try await scene.database.execute("select outrider.pause('quick')")
            try await scene.publish(50)
            try await scene.handler.wait(for: 4, at: "/slow")
            try await scene.database.execute("select outrider.resume('quick')")
            try await scene.handler.wait(for: 50, at: "/quick")
            #expect(scene.handler.count("/slow") <= 4)
            _ = worker
        }
    }

    // MARK: - Filters

    @Test(arguments: ["last(range(1e9)) > 0", "[range(1e9)] | length > 0"])
    func aFilterThatRunsAwayDelaysNoOtherFilter(filter: String) async throws {
        let workflows = Self.files(
            Self.subscription("runaway", "filter: ${ \(filter) }"),
            Self.subscription("flagged", "filter: ${ .payload.n > 0 }"))
        try await Scene.with(workflows: workflows) { scene in
            let worker = try await scene.worker()
            // Each costs the one filter up to a second.
            try await scene.publish(20)
            try await scene.handler.wait(for: 20, at: "/flagged", within: .seconds(15))
            try await scene.publish(20)
            try await scene.handler.wait(for: 40, at: "/flagged", within: .seconds(15))
            #expect(try await scene.database.count("select count(*) from outrider.deliveries") > 0)
            _ = worker
        }
    }

    // MARK: - Definitions

    @Test func aDefinitionOfANewerVersionStopsNothingButWhatUsesIt() async throws {
        let workflows = """
            endpoint: shop
            url: ${ $env.SHOP }
            ---
            endpoint: billing
            url: ${ $env.SHOP }
            ---
            subscription: mail
            topics: [ order.created ]
            deliver: { http: POST /mail, endpoint: shop }
            ---
            subscription: bill
            topics: [ order.created ]
            deliver: { http: POST /bill, endpoint: billing }
            """
        try await Scene.with(workflows: workflows) { scene in
            let first = try await scene.worker(environment: ["OUTRIDER_LISTEN": "127.0.0.1:0"])
            try await scene.database.execute(
                """
                begin;
                update outrider.definition set replaced_at = clock_timestamp() where kind = 'endpoint' and name = 'billing';
                insert into outrider.definition (kind, name, hash, content, applied_by) values ('endpoint', 'billing', 'newer',
                    '{"endpoint": "billing", "url": "http://127.0.0.1:9", "quantum": true}', 'a newer version');
                select outrider.announce();
                commit
                """)
            try await Self.expectOnlyMail(first, scene)
            first.terminate()
            #expect(try await first.exit() == .code(0))
            let second = try await scene.worker(environment: ["OUTRIDER_LISTEN": "127.0.0.1:0"])
            try await Self.expectOnlyMail(second, scene)
        }
    }

    private static func expectOnlyMail(_ worker: RunningOutrider, _ scene: Scene) async throws {
        try await worker.waitForLog("subscription.not_served")
        let sidecar = try await Sidecar(of: worker)
        // The log has it first.
        try await eventually("it says what it does not serve") {
            try await sidecar.get("/readyz").text.contains("subscription bill is not served")
        }
        let answer = try await sidecar.get("/readyz")
        #expect(answer.status == 200)
        #expect(!answer.text.contains("subscription mail is not served"), "\(answer.text)")
        let before = scene.handler.count("/mail")
        try await scene.publish(3)
        try await scene.handler.wait(for: before + 3, at: "/mail")
        #expect(scene.handler.count("/bill") == 0)
        #expect(!worker.log.contains("database.lost"))
    }

    // MARK: - Operations

    @Test func anOperationThatFailsStopsNeitherTheOthersNorTheRetries() async throws {
        // The first try of every message is refused or fails; what is redriven or retried is taken.
        try await Scene.with(
            options: "retry: { attempts: 2, initial: 300ms, jitter: none }",
            handler: .decides { received in
                switch received.body {
                case #""refused""#: .text("no", status: received.header("outrider-replay") == nil ? 422 : 200)
                case #""failing""#: .text("no", status: received.header("outrider-attempt") == "1" ? 503 : 200)
                default: .text("ok")
                }
            }
        ) { scene in
            let worker = try await scene.worker()
            try await scene.database.execute("select outrider.publish('order.created', '\"refused\"')")
            try await eventually("it is a dead letter") { try await scene.deadLetters() == 1 }
            try await scene.database.execute(
                """
                create function public.refuse_replay() returns trigger language plpgsql as $$
                begin raise exception 'no replay today'; end $$;
                create trigger refuse_replay before insert on outrider.delivery for each row when (new.replay)
                execute function public.refuse_replay();
                select outrider.replay('mail', now() - interval '1 h', clock_timestamp());
                select outrider.publish('order.created', '"failing"');
                select outrider.publish('order.created', '"later"', deliver_at => clock_timestamp() + interval '1 s');
                select outrider.redrive_all('mail')
                """)
            try await eventually("both operations have ended") {
                try await scene.database.count(
                    "select count(*) from outrider.operations where status in ('failed', 'finished')") == 2
            }
            #expect(
                try await scene.database.value(
                    """
                    select string_agg(kind || ' ' || status || ' ' || coalesce(error, '-'), ', ' order by kind)
                    from outrider.operations
                    """, as: String.self) == "redrive finished -, replay failed no replay today")
            try await eventually("what was retried and delayed is delivered") {
                let bodies = scene.handler.received.map(\.body)
                return bodies.filter { $0 == #""failing""# }.count == 2 && bodies.contains(#""later""#)
            }
            #expect(worker.log.contains("operation.failed"))
            #expect(!worker.log.contains("housekeeping.interrupted"))
        }
    }
}
