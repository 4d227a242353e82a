import EmbeddedPostgres
import Postgres
import Primitives
import TestSupport
import Testing

/// The commands of a person at a terminal: what they print, and how they exit.
struct OperatorCommandsTests {
    // MARK: - migrate

    @Test func migrateGoesUpAndDownAndTellsWhereItIs() async throws {
        try await TestDatabase.with(migrated: false) { database in
            func migrate(_ words: String...) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
                try await RunningOutrider.run(
                    ["migrate"] + words, environment: ["OUTRIDER_DATABASE_URL": database.url])
            }
            let pending = try await migrate("status", "--format", "json")
            let rows = try JSON(parsing: Array(pending.output.utf8)).array ?? []
            #expect(!rows.isEmpty)
            #expect(rows.allSatisfy { $0["state"] == "pending" })
            let newest = try #require(rows.last?["version"]?.text)

            let up = try await migrate()
            #expect(up.exit == .code(0))
            #expect(up.output.hasPrefix("applied 1 outbox\napplied 2 delivery\n"))
            #expect(up.output.hasSuffix("the schema is at version \(newest)\n"))
            #expect(try await migrate("up").output == "the schema is up to date\n")

            let status = try await migrate("status").output
            #expect(status.hasPrefix("version  name"))
            #expect(status.split(separator: "\n").dropFirst().allSatisfy { $0.contains("  applied  ") })
            #expect(status.contains("postgres"))

            #expect(try await migrate("down").output == "took back \(newest) access\n")
            let down = try await migrate("down", "--to", "0")
            #expect(down.output.hasSuffix("took back 1 outbox\n"))
            #expect(try await migrate("down").output == "nothing to take back: the schema is at version 0\n")
            #expect(try await migrate("up").exit == .code(0))
        }
    }

    @Test func migrateInstallsJustWhatHandlersNeed() async throws {
        try await TestDatabase.with(migrated: false) { database in
            func migrate(_ words: String...) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
                try await RunningOutrider.run(
                    ["migrate"] + words, environment: ["OUTRIDER_DATABASE_URL": database.url])
            }
            #expect(
                try await migrate("--handlers-only").output == """
                    applied 5 handlers
                    handlers can call outrider.inbox_accept and outrider.barrier

                    """)
            #expect(try await migrate("--handlers-only").output == "what handlers need is up to date\n")
            let status = try await migrate("status").output.split(separator: "\n")
            #expect(status[1].hasPrefix("5        handlers      applied   "), "\(status)")
            #expect(status[2].hasPrefix("1        outbox        left out  "), "\(status)")
            #expect(status.last == "what handlers need, and nothing else; `outrider migrate` would bring the rest")
            #expect(try await migrate("down").output == "took back 5 handlers\n")
            #expect(try await migrate("--handlers-only", "--format", "json").output.contains(#""name":"handlers""#))

            #expect(try await migrate().output.hasPrefix("applied 1 outbox\n"))
            let whole = try await migrate("--handlers-only")
            #expect(whole.exit == .code(0))
            #expect(
                whole.output == "this database has the whole schema, and in it what handlers need: nothing to do\n")
            _ = try await migrate("down", "--to", "3")
            let older = try await migrate("--handlers-only")
            #expect(older.exit == .code(1))
            #expect(older.errors.contains("Outrider's own schema, at version 3"), "\(older.errors)")
        }
    }

    // MARK: - publish

    @Test func publishTakesKeyHeadersAndTimes() async throws {
        try await Scene.with { scene in
            let published = try await scene.command(
                "publish", "order.created", #"{"orderId": 17}"#, "--key", "customer-42", "--header", "a=1",
                "--header", "b=x=y", "--deliver-at", "2126-11-24T08:00:00Z", "--expires-at", "2126-11-25T08:00:00Z",
                "--id", "8f3e2d1c-0000-4000-8000-000000000001")
            #expect(published.exit == .code(0))
            #expect(published.output == "8f3e2d1c-0000-4000-8000-000000000001\n")
            let message = try await scene.database.value(
                "select to_jsonb(m) from outrider.messages m", as: JSON.self)
            #expect(message["payload"] == ["orderId": 17])
            #expect(message["key"] == "customer-42")
            #expect(message["headers"] == ["a": "1", "b": "x=y"])
            #expect(message["deliver_at"] == "2126-11-24T08:00:00+00:00")
            #expect(message["expires_at"] == "2126-11-25T08:00:00+00:00")
            let again = try await scene.command(
                "publish", "order.created", "--id", "8f3e2d1c-0000-4000-8000-000000000001")
            #expect(again.exit == .code(1))
            #expect(again.errors.contains("exists"))
            #expect(again.errors.contains("Leave the id out"))
        }
    }

    @Test func publishReadsAFileAndStandardInput() async throws {
        try await Scene.with { scene in
            let file = scene.folder.write("{\n  \"from\": \"file\"\n}\n", to: "payload.json")
            #expect(try await scene.command("publish", "order.created", "@\(file)").exit == .code(0))
            let piped = try await RunningOutrider.run(
                ["publish", "order.created", "-"], environment: scene.environment, input: #"{"from": "input"}"#)
            #expect(piped.exit == .code(0))
            #expect(try await scene.command("publish", "order.created").exit == .code(0))
            let payloads = try await scene.database.value(
                "select jsonb_agg(payload order by payload::text) from outrider.messages", as: JSON.self)
            #expect(payloads == [["from": "file"], ["from": "input"], [:]])
        }
    }

    @Test(arguments: [
        (["order.created", "{nonsense"], "the payload is not JSON"),
        (["order.created", "@/no/such/file"], "the file /no/such/file cannot be read"),
        (["Order.Created", "{}"], "A topic name is"),
    ])
    func publishSaysWhatIsWrong(words: [String], complaint: String) async throws {
        try await Scene.with { scene in
            let result = try await RunningOutrider.run(["publish"] + words, environment: scene.environment)
            #expect(result.exit == .code(1))
            #expect(result.errors.contains(complaint), "\(result.errors)")
            #expect(result.output == "")
            #expect(try await scene.database.count("select count(*) from outrider.messages") == 0)
        }
    }

    @Test func publishOfAKnownDedupeKeyPrintsTheFirstId() async throws {
        try await Scene.with { scene in
            let first = try await scene.command("publish", "order.created", "--dedupe-key", "a")
            let second = try await scene.command("publish", "order.created", "--dedupe-key", "a")
            #expect(first.exit == .code(0) && second.exit == .code(0))
            #expect(first.output == second.output)
            #expect(try await scene.database.count("select count(*) from outrider.messages") == 1)
        }
    }

    // MARK: - dead-letters

    @Test func deadLettersAreListedShownRedrivenAndDiscarded() async throws {
        try await Scene.with { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            #expect(try await scene.command("dead-letters", "list").output == "no dead letters\n")
            let letters = try await scene.bury(3)

            let text = try await scene.command("dead-letters", "list").output
            #expect(text.hasPrefix("id "))
            #expect(text.split(separator: "\n").count == 4)
            #expect(text.contains("mail") && text.contains("exhausted") && text.contains("HTTP 503: Busy"))
            let rows = try await scene.json("dead-letters", "list", "--subscription", "mail", "--limit", "2")
            #expect(rows.array?.map { $0["id"]?.string } == letters.sorted(by: >).prefix(2).map(Optional.some))
            #expect(try await scene.json("dead-letters", "list", "--subscription", "other") == [])

            let shown = try await scene.command("dead-letters", "show", letters[0]).output
            #expect(shown.contains("\nlast error") && shown.contains(#"{"n":1}"#))
            let record = try await scene.json("dead-letters", "show", letters[0])
            #expect(record["payload"] == ["n": 1])
            #expect(record["attempts"] == 3)

            let redriven = try await scene.command("dead-letters", "redrive", letters[0])
            #expect(redriven.exit == .code(0))
            #expect(redriven.output == "redrove \(letters[0]) as message \(record["message_id"]?.string ?? "")\n")
            #expect(try await scene.undelivered() == 1)
            let again = try await scene.command("dead-letters", "redrive", letters[0])
            #expect(again.exit == .code(1))
            #expect(again.errors.contains("was redriven at"))

            let discarded = try await scene.command("dead-letters", "discard", letters[1], "--reason", "a test order")
            #expect(discarded.output == "discarded \(letters[1])\n")
            let all = try await scene.command("dead-letters", "list", "--subscription", "mail")
            #expect(all.output.split(separator: "\n").count == 2)
            let closed = try await scene.json("dead-letters", "list", "--all")
            #expect(closed.array?.count == 3)

            let operation = try await scene.command("dead-letters", "redrive", "--subscription", "mail")
            #expect(operation.output.hasSuffix("is queued; a worker carries it out\n"))
            let worker = try await scene.worker()
            try await scene.handler.wait(for: 2)
            #expect(try await scene.deadLetters() == 0)
            _ = worker
        }
    }

    @Test func aLetterThatIsNotThereIsAFailureAndNoIdIsWrongUsage() async throws {
        try await Scene.with { scene in
            let missing = "8f3e2d1c-0000-4000-8000-000000000001"
            for words in [["show", missing], ["redrive", missing], ["discard", missing, "--reason", "why"]] {
                let result = try await RunningOutrider.run(["dead-letters"] + words, environment: scene.environment)
                #expect(result.exit == .code(1))
                #expect(result.errors.contains("there is no dead letter \(missing)"))
            }
            let malformed = try await scene.command("dead-letters", "show", "17")
            #expect(malformed.exit == .code(2))
            #expect(malformed.errors.contains("'17' is no id of a dead letter; expected a UUID"))
        }
    }

    // MARK: - subscription

    @Test func subscriptionsAreListedShownPausedAndResumed() async throws {
        try await Scene.with { scene in
            #expect(
                try await scene.command("subscription", "list").output
                    == "no subscriptions; outrider apply brings them in\n")
            #expect(try await scene.command("apply").exit == .code(0))
            try await scene.publish(3)
            let text = try await scene.command("subscription", "list").output
            #expect(text.hasPrefix("name  topics"))
            #expect(text.contains("mail  order.created  active  3"))
            let row = try await scene.json("subscription", "list")[0]
            #expect(row?["ready"] == 3)
            #expect(row?["blocked"] == 0)
            let shown = try await scene.json("subscription", "show", "mail")
            #expect(shown["blocked"] == 0)
            #expect(shown["definition"]?["topics"] == ["order.created"])

            #expect(try await scene.command("subscription", "pause", "mail").exit == .code(0))
            #expect(try await scene.json("subscription", "list")[0]?["state"] == "paused")
            let paused = try await scene.command("subscription", "show", "mail")
            #expect(paused.output.hasPrefix("name        mail\ntopics"), "\(paused.output)")
            #expect(paused.output.contains("\npaused by   postgres\n"), "\(paused.output)")
            let worker = try await scene.worker()
            #expect(try await scene.command("subscription", "resume", "mail").output == "resumed mail\n")
            try await scene.handler.wait(for: 3)
            _ = worker
        }
    }

    @Test func aReplayIsQueuedAndItsProgressListed() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            try await scene.publish(5)
            try await scene.handler.wait(for: 5)
            try await scene.waitUntilDelivered()
            #expect(try await scene.command("subscription", "operations").output == "no operations\n")
            let replay = try await scene.command(
                "subscription", "replay", "mail", "--from", "2020-01-01T00:00:00Z", "--key", "k3")
            #expect(replay.exit == .code(0))
            try await scene.handler.wait(for: 6)
            #expect(scene.handler.received[5].header("ce-subject") == "k3")
            try await eventually("the operation has finished") {
                try await scene.json("subscription", "operations")[0]?["status"] == "finished"
            }
            let listed = try await scene.command("subscription", "operations", "--limit", "1").output
            #expect(listed.contains("replay  mail          finished  1"), "\(listed)")
            _ = worker
        }
    }

    @Test func anUnknownSubscriptionIsAFailureThatKnowsBetter() async throws {
        try await Scene.with { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            let shown = try await scene.command("subscription", "show", "mial")
            #expect(shown.exit == .code(1))
            #expect(shown.errors.contains("there is no subscription mial; did you mean mail?"))
            for words in [
                ["pause", "mial"], ["resume", "mial"], ["replay", "mial", "--from", "2020-01-01T00:00:00Z"],
            ] {
                let result = try await RunningOutrider.run(["subscription"] + words, environment: scene.environment)
                #expect(result.exit == .code(1))
                #expect(result.errors.contains("there is no subscription 'mial'"), "\(result.errors)")
                #expect(result.errors.contains("lists them"))
            }
        }
    }

    // MARK: - doctor

    @Test func doctorFindsAHealthyServerWell() async throws {
        let folder = Files.makeTemporaryDirectory("outrider-doctor")
        defer { Files.removeTree(folder) }
        let postgres = try EmbeddedPostgres(
            directory: folder, settings: [("idle_in_transaction_session_timeout", "5min")])
        let environment = ["OUTRIDER_DATABASE_URL": postgres.url()]
        #expect(try await RunningOutrider.run(["migrate"], environment: environment).exit == .code(0))
        let worker = try RunningOutrider(
            ["run"], environment: environment.merging(["OUTRIDER_WORKFLOWS": folder + "/none"]) { $1 })
        _ = worker
        let result = try await RunningOutrider.run(["doctor"], environment: environment)
        #expect(result.exit == .code(0))
        #expect(result.output.contains("ok   transactions   none is older than 5m"), "\(result.output)")
        #expect(result.output.contains("ok   schema"))
        #expect(!result.output.contains("fail "))
        postgres.stop()
    }

    @Test func doctorNamesALongTransaction() async throws {
        try await Scene.with { scene in
            var options = ConnectionOptions()
            options.applicationName = "forgotten report"
            let session = Session(scene.database.url, options: options)
            try await session.run { try $0.execute(script: "begin; select 1") }
            let result = try await scene.command("doctor", "--long-transaction", "0s")
            #expect(result.output.contains("1 older than 0"), "\(result.output)")
            #expect(result.output.contains("(forgotten report)"))
            #expect(result.output.contains("-> they hold vacuum up"))
            await session.close()
        }
    }

    @Test func doctorSaysWhenItMayNotSeeTheTransactionsOfOthers() async throws {
        try await Scene.with { scene in
            let login = "\(scene.database.name)_worker"
            try await scene.database.execute("create role \(login) login in role outrider_worker")
            let findings = try await scene.json(
                "doctor", "--database-url", scene.database.url.replacing("postgres@", with: "\(login)@"))
            let hidden = findings.array?.first { $0["found"]?.string?.contains("are hidden") == true }
            #expect(hidden?["remedy"] == "as an administrator: grant pg_read_all_stats to \(login);")
        }
    }

    @Test func doctorFailsWithoutTheSchema() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let environment = ["OUTRIDER_DATABASE_URL": database.url]
            let result = try await RunningOutrider.run(["doctor", "--format", "json"], environment: environment)
            #expect(result.exit == .code(1))
            let findings = try JSON(parsing: Array(result.output.utf8)).array ?? []
            let schema = findings.first { $0["subject"] == "schema" }
            #expect(schema?["verdict"] == "fail")
            #expect(schema?["remedy"] == "outrider migrate")
            for words in [["publish", "order.created"], ["subscription", "list"], ["dead-letters", "list"]] {
                let result = try await RunningOutrider.run(words, environment: environment)
                #expect(result.exit == .code(1))
                #expect(result.errors.contains("run `outrider migrate`"), "\(result.errors)")
            }
        }
    }

    // MARK: - No database

    @Test func aRefusedConnectionIsGivenUpAfterTheTimeout() async throws {
        let began = ContinuousClock.now
        let result = try await RunningOutrider.run([
            "subscription", "list", "--database-url", "postgresql://postgres@127.0.0.1:1/x", "--connect-timeout",
            "700ms",
        ])
        let took = ContinuousClock.now - began
        #expect(result.exit == .code(1))
        #expect(result.errors.contains("cannot connect to the database"))
        #expect(took >= .milliseconds(700))
    }

    @Test func anUnknownDatabaseIsAFailureAtOnce() async throws {
        let url = TestCluster.shared.url(database: "nowhere")
        let result = try await RunningOutrider.run(
            ["subscription", "list"],
            environment: ["OUTRIDER_DATABASE_URL": url, "OUTRIDER_CONNECT_TIMEOUT": "60s"])
        #expect(result.exit == .code(1))
        #expect(result.errors.contains("database \"nowhere\" does not exist"))
    }
}

extension Scene {
    /// Dead letters of the subscription `mail`, with payloads numbered from 1; their ids.
    fileprivate func bury(_ count: Int) async throws -> [String] {
        try await publish(count)
        try await database.execute(
            """
            do $$
            declare
                d record;
            begin
                for d in delete from outrider.delivery returning subscription_id, message_id loop
                    perform outrider.bury(d.subscription_id, d.message_id, 3, now(), 'exhausted', 'HTTP 503: Busy');
                end loop;
                update outrider.dead_letter set dead_at = now() + (payload->>'n')::int * interval '1 ms';
            end
            $$
            """)
        let ids = try await database.value(
            "select jsonb_agg(id order by dead_at) from outrider.dead_letters", as: JSON.self)
        return ids.array?.compactMap(\.string) ?? []
    }

    /// What a command prints as JSON.
    fileprivate func json(_ words: String...) async throws -> JSON {
        let result = try await RunningOutrider.run(words + ["--format", "json"], environment: environment)
        return try JSON(parsing: Array(result.output.utf8))
    }
}
