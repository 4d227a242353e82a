import EmbeddedPostgres
import Postgres
import Primitives
import TestSupport
import Testing

/// `outrider check`, without a database.
struct CheckCommandTests {
    private let folder = TemporaryFolder()

    private func check(_ arguments: String..., environment: [String: String] = [:]) async throws
        -> (exit: ChildProcess.Exit, output: String, errors: String)
    {
        let result = try await RunningOutrider.run(
            ["check"] + arguments, environment: environment, directory: folder.path)
        return (result.exit, result.output.replacing(folder.path, with: "FOLDER"), result.errors)
    }

    @Test func goodFilesExitZero() async throws {
        folder.write("topic: a\n---\ntopic: b", to: "Workflows/a.yaml")
        folder.write(#"{"topic": "c"}"#, to: "Workflows/b/c.json")
        let result = try await check()
        #expect(result.exit == .code(0))
        #expect(result.output == "2 files, 3 definitions: no problems\n")
        #expect(result.errors == "")
    }

    @Test func errorsExitOneAndShowAllAtOnce() async throws {
        folder.write("topic: a\nretension: 1d\nttl: 5", to: "Workflows/a.yaml")
        folder.write(
            "subscription: s\ntopics: [ t ]\nfilter: ${ .payload.a >> 1 }\ndeliver: { http: POST /x, endpoint: e }",
            to: "Workflows/b.yaml")
        let result = try await check()
        #expect(result.exit == .code(1))
        #expect(
            result.output == """
                Workflows/a.yaml:2:1: error: unknown key 'retension' of a topic; did you mean 'retention'?
                Workflows/a.yaml:3:1: error: unknown key 'ttl' of a topic; expected one of topic, retention, dedupe_window, max_backlog, overflow, block_for, publish_rate
                Workflows/b.yaml:3:12: error: the expression '.payload.a >> 1' is not valid jq: syntax error, unexpected '>'
                Workflows/b.yaml:4:37: error: the endpoint 'e' is declared nowhere; expected a document 'endpoint: e' in these files
                2 files, 2 definitions: 4 errors

                """)
    }

    @Test func warningsExitZero() async throws {
        let path = folder.write(
            "subscription: s\ntopics: [ t ]\ndeliver: { http: POST https://a.example }\ndelivery: at-most-once\nretry: {}",
            to: "a.yaml")
        let result = try await check(path)
        #expect(result.exit == .code(0))
        #expect(
            result.output == """
                FOLDER/a.yaml:5:8: warning: 'retry' has no effect beside 'delivery: at-most-once', which tries once; leave one of the two out
                1 file, 1 definition: 1 warning

                """)
    }

    @Test func jsonHasThePartsOfEachMessage() async throws {
        folder.write("topic: a\nretension: 1d", to: "flows/a.yaml")
        let result = try await check("--format", "json", environment: ["OUTRIDER_WORKFLOWS": "flows"])
        #expect(result.exit == .code(1))
        #expect(
            try JSON(parsing: Array(result.output.utf8)) == [
                "files": 1, "definitions": 1,
                "diagnostics": [
                    [
                        "file": "flows/a.yaml", "line": 2, "column": 1, "severity": "error",
                        "message": "unknown key 'retension' of a topic; did you mean 'retention'?",
                        "found": "unknown key 'retension' of a topic", "expected": nil,
                        "suggestion": "did you mean 'retention'?",
                    ]
                ],
            ])
    }

    @Test func jsonOfGoodFilesHasNoDiagnostics() async throws {
        folder.write("topic: a", to: "a.yaml")
        let result = try await check(".", "--format", "json")
        #expect(result.exit == .code(0))
        #expect(result.output == #"{"files":1,"definitions":1,"diagnostics":[]}"# + "\n")
    }

    @Test func missingFileExitsOne() async throws {
        let result = try await check("gone.yaml")
        #expect(result.exit == .code(1))
        #expect(result.output.hasPrefix("gone.yaml:1:1: error: cannot be read: No such file or directory\n"))
    }

    @Test(arguments: [["--format", "xml"], ["--fromat", "json"], []])
    func wrongUsageExitsTwo(arguments: [String]) async throws {
        let result = try await RunningOutrider.run(["check"] + arguments, directory: folder.path)
        #expect(result.exit == .code(2))
        #expect(result.output == "")
        #expect(result.errors.contains("usage: outrider check [PATH…]"))
    }
}

/// `outrider apply`, on a database.
struct ApplyCommandTests {
    private func inForce(_ scene: Scene) async throws -> [String] {
        try await scene.database.value(
            "select coalesce(array_agg(kind || ' ' || name order by kind, name), '{}') from outrider.definition where replaced_at is null",
            as: [String].self)
    }

    @Test func appliedTwiceIsUnchanged() async throws {
        try await Scene.with { scene in
            let first = try await scene.command("apply")
            #expect(first.exit == .code(0))
            #expect(
                first.output == "kind          name  change\nendpoint      shop  created\nsubscription  mail  created\n"
            )
            let hashes = "select array_agg(hash || applied_at order by hash) from outrider.definition" as SQL
            let before = try await scene.database.value(hashes, as: [String].self)
            // Comments, order and notation are not content.
            scene.folder.write(
                "# again\n" + Scene.mail().replacing("[ order.created ]", with: "\n  - 'order.created'"),
                to: "workflows/mail.yaml")
            let second = try await scene.command("apply", "--format", "json")
            #expect(second.exit == .code(0))
            #expect(
                try JSON(parsing: Array(second.output.utf8)) == [
                    ["kind": "endpoint", "name": "shop", "change": "unchanged", "dead_letters": 0],
                    ["kind": "subscription", "name": "mail", "change": "unchanged", "dead_letters": 0],
                ])
            #expect(try await scene.database.value(hashes, as: [String].self) == before)
        }
    }

    @Test func nothingIsAppliedWhenAnythingIsWrong() async throws {
        try await Scene.with { scene in
            scene.folder.write("topic: a\n---\ntopic: b\nretension: 1d", to: "workflows/topics.yaml")
            let result = try await scene.command("apply")
            #expect(result.exit == .code(1))
            #expect(result.output == "")
            #expect(
                result.errors.replacing("\(scene.folder.path)/", with: "") == """
                    workflows/topics.yaml:4:1: error: unknown key 'retension' of a topic; did you mean 'retention'?
                    2 files, 4 definitions: 1 error; nothing was applied

                    """)
            #expect(try await inForce(scene) == [])
            #expect(try await scene.database.count("select count(*) from outrider.subscription") == 0)
            #expect(try await scene.database.count("select count(*) from outrider.topic") == 0)
        }
    }

    @Test func workerDoesNotStartOnWrongFiles() async throws {
        try await Scene.with(options: "timeout: 5") { scene in
            let result = try await scene.command("run")
            #expect(result.exit == .code(1))
            #expect(result.errors.contains("mail.yaml:7:10: error: the number 5 stands for timeout"))
            #expect(try await inForce(scene) == [])
        }
    }

    @Test func aChangeIsTakenUpByARunningWorker() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            scene.folder.write(
                Scene.mail().replacing("POST /mail", with: "POST /post"), to: "workflows/mail.yaml")
            let result = try await scene.command("apply")
            #expect(result.output.contains("subscription  mail  changed"))
            try await eventually("a message goes the new way") {
                try await scene.publish()
                return scene.handler.count("/post") > 0
            }
            _ = worker
        }
    }

    @Test func pruneBuriesWhatWasStillToBeDelivered() async throws {
        try await Scene.with { scene in
            scene.folder.write(
                "topic: order.created\n---\nsubscription: bills\ntopics: [ order.created ]\ndeliver: { http: POST /, endpoint: shop }",
                to: "workflows/more.yaml")
            #expect(try await scene.command("apply").exit == .code(0))
            try await scene.publish(3)
            try await scene.database.execute(
                """
                insert into outrider.outbox (topic, payload, deliver_at)
                values ('order.created', '{}', now() + interval '1 hour')
                """)
            scene.folder.write("topic: order.created", to: "workflows/more.yaml")
            let kept = try await scene.command("apply")
            #expect(!kept.output.contains("bills"))
            #expect(try await scene.undelivered() == 8)

            let pruned = try await scene.command("apply", "--prune")
            #expect(pruned.exit == .code(0))
            #expect(
                pruned.output == """
                    kind          name           change     dead letters
                    endpoint      shop           unchanged  0
                    subscription  mail           unchanged  0
                    topic         order.created  unchanged  0
                    subscription  bills          removed    4

                    """)
            #expect(try await inForce(scene) == ["endpoint shop", "subscription mail", "topic order.created"])
            #expect(try await scene.undelivered() == 4)
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.dead_letters where subscription = 'bills' and reason = 'removed'")
                    == 4)
        }
    }

    @Test func pruneRefusesToLeaveReferencesToNothing() async throws {
        try await Scene.with { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            let endpoint = "endpoint: shop\nurl: ${ $env.SHOP }\n---\n"
            scene.folder.write(Scene.mail().replacing(endpoint, with: ""), to: "workflows/mail.yaml")
            // The database has it still.
            #expect(try await scene.command("apply").exit == .code(0))
            let pruned = try await scene.command("apply", "--prune")
            #expect(pruned.exit == .code(1))
            #expect(pruned.errors.contains("error: the endpoint 'shop' is declared nowhere"))
            #expect(try await inForce(scene) == ["endpoint shop", "subscription mail"])
        }
    }

    @Test func pruneRefusesAFolderWithoutFiles() async throws {
        try await Scene.with { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            scene.folder.write("", to: "empty/notes.txt")
            let pruned = try await scene.command("apply", "\(scene.folder.path)/empty", "--prune")
            #expect(pruned.exit == .code(1))
            #expect(pruned.errors.contains("no workflow file was found, and --prune would remove everything"))
            #expect(try await inForce(scene) == ["endpoint shop", "subscription mail"])
            let plain = try await scene.command("apply", "\(scene.folder.path)/empty")
            #expect(plain.exit == .code(0))
            #expect(plain.output == "the files declare nothing\n")
        }
    }

    @Test func aWorkerWithAnOlderFolderPutsNothingBack() async throws {
        try await Scene.with(options: "timeout: 1s") { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            scene.folder.write(Scene.mail("timeout: 2s"), to: "newer/mail.yaml")
            let newer = try await scene.command("apply", "\(scene.folder.path)/newer")
            #expect(newer.output.contains("subscription  mail  changed"))
            let timeout = "select definition->>'timeout' from outrider.subscriptions" as SQL

            let worker = try await scene.worker()
            #expect(worker.log.contains("definition.superseded"))
            #expect(try await scene.database.value(timeout, as: String.self) == "2s")
            try await scene.publish()
            try await scene.waitUntilDelivered()
            worker.terminate()
            #expect(try await worker.exit() == .code(0))

            // A person may go back.
            #expect(try await scene.command("apply").output.contains("subscription  mail  changed"))
            #expect(try await scene.database.value(timeout, as: String.self) == "1s")
        }
    }

    @Test func secretsNeverReachDatabaseLogOrOutput() async throws {
        let secret = "aHVudGVyMi12ZXJ5LXNlY3JldC1odW50ZXIy"
        let workflows = Scene.mail().replacing(
            "---",
            with:
                "auth: { bearer: { secret: SHOP_TOKEN } }\nsigning: { standard_webhooks: { secret: SHOP_TOKEN } }\n---")
        try await Scene.with(workflows: workflows, options: "") { scene in
            let worker = try await scene.worker(environment: ["SHOP_TOKEN": secret, "OUTRIDER_LOG_LEVEL": "debug"])
            try await scene.publish()
            try await scene.handler.wait(for: 1)
            #expect(scene.handler.received[0].header("authorization") == "Bearer \(secret)")
            try await scene.waitUntilDelivered()
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
            #expect(!worker.log.contains(secret))
            let tables = try await scene.database.value(
                "select array_agg(quote_ident(c.relname)) from pg_class c where c.relnamespace = 'outrider'::regnamespace and c.relkind in ('r', 'p')",
                as: [String].self)
            #expect(tables.contains("definition"))
            for table in tables {
                let found = try await scene.database.run { connection in
                    try connection.query(
                        "select 1 from outrider.\(unsafeSQL: table) t where t::text like '%' || \(secret) || '%'"
                    ).count
                }
                #expect(found == 0, "\(table) holds the secret")
            }
        }
    }

    @Test func aMissingSecretLeavesOtherSubscriptionsServed() async throws {
        let workflows =
            Scene.mail()
            + "\n---\nendpoint: locked\nurl: ${ $env.SHOP }\nauth: { bearer: { secret: NO_SUCH_SECRET } }\n---\n"
            + "subscription: vault\ntopics: [ order.created ]\ndeliver: { http: POST /vault, endpoint: locked }"
        try await Scene.with(workflows: workflows) { scene in
            let worker = try await scene.worker()
            #expect(worker.log.contains("subscription.not_served"))
            #expect(worker.log.contains("NO_SUCH_SECRET"))
            try await scene.publish()
            try await scene.handler.wait(for: 1, at: "/mail")
            #expect(scene.handler.count("/vault") == 0)
        }
    }

    @Test(arguments: [["apply", "--prunes"], ["apply", "--format", "yaml"]])
    func wrongUsageExitsTwo(arguments: [String]) async throws {
        let result = try await RunningOutrider.run(arguments)
        #expect(result.exit == .code(2))
        #expect(result.errors.contains("usage: outrider apply [PATH…]"))
    }

    @Test func unreachableDatabaseExitsOne() async throws {
        let folder = TemporaryFolder()
        let path = folder.write("topic: a", to: "a.yaml")
        let result = try await RunningOutrider.run(
            ["apply", path], environment: ["OUTRIDER_DATABASE_URL": "postgresql://127.0.0.1:1/none"])
        #expect(result.exit == .code(1))
        #expect(result.output == "")
    }
}
