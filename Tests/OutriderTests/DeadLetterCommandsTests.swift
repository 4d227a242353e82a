import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Dead letters from the command line: finding them, mending them, and many at once.
struct DeadLetterCommandsTests {
    @Test func lettersAreFoundByWhatIsKnownOfThemAndPageByPage() async throws {
        try await Scene.with { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            try await scene.buryAll(6)
            let ids = try await scene.letters("--limit", "100")
            #expect(ids.count == 6)
            #expect(try await scene.letters("--key", "k2").count == 1)
            #expect(try await scene.letters("--topic", "order.created", "--reason", "exhausted") == ids)
            #expect(try await scene.letters("--reason", "refused") == [])
            #expect(try await scene.letters("--since", "2020-01-01T00:00:00Z") == ids)
            #expect(try await scene.letters("--since", "2999-01-01T00:00:00Z") == [])
            #expect(try await scene.letters("--before", "2020-01-01T00:00:00Z") == [])
            #expect(try await scene.letters("--saga", "8f3e2d1c-0000-4000-8000-000000000001") == [])
            #expect(try await scene.letters("--limit", "4") == Array(ids.prefix(4)))
            #expect(try await scene.letters("--limit", "4", "--older-than", ids[3]) == Array(ids.suffix(2)))
            let page = try await scene.command("dead-letters", "list", "--limit", "4")
            #expect(page.errors == "there may be more: --older-than \(ids[3])\n")
        }
    }

    @Test(arguments: ["--payload", "--payload-file"])
    func aMendedPayloadIsSentAsAMessageOfItsOwn(option: String) async throws {
        try await Scene.with(
            handler: .decides { $0.body.contains("mended") ? .text("ok") : .text("no", status: 422) }
        ) { scene in
            let worker = try await scene.worker()
            try await scene.publish(1, key: "customer-42")
            try await eventually("it is refused") { try await scene.deadLetters() == 1 }
            let letter = try await scene.letters()[0]
            let mended = #"{"mended": 1.10}"#
            let value = option == "--payload" ? mended : scene.folder.write(mended, to: "mended.json")
            let redriven = try await scene.command("dead-letters", "redrive", letter, option, value)
            #expect(redriven.exit == .code(0), "\(redriven.errors)")
            try await scene.handler.wait(for: 2)
            try await scene.waitUntilDelivered()
            let (first, second) = (scene.handler.received[0], scene.handler.received[1])
            #expect(second.body == mended)
            #expect(second.header("ce-id") != first.header("ce-id"))
            #expect(second.header("idempotency-key") != first.header("idempotency-key"))
            #expect(second.header("ce-subject") == "customer-42")
            #expect(second.header("original-id") == first.header("ce-id"))
            #expect(second.header("redrive-of") == letter)
            #expect(redriven.output == "redrove \(letter) as message \(second.header("ce-id") ?? "")\n")
            #expect(try await scene.deadLetters() == 0)
            _ = worker
        }
    }

    @Test func allAreRedrivenWhileTheProgressIsTold() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            try await scene.command("subscription", "pause", "mail").exit.expectSuccess()
            try await scene.buryAll(2500)
            try await scene.command("subscription", "resume", "mail").exit.expectSuccess()
            let redrive = try await scene.command(
                "dead-letters", "redrive", "--all", "--subscription", "mail", "--wait")
            #expect(redrive.exit == .code(0))
            #expect(redrive.errors.contains("redrive of mail: "))
            #expect(redrive.output.hasSuffix(": redrive of mail: finished, 2500 of about 2500\n"), "\(redrive.output)")
            try await scene.waitUntilDelivered()
            #expect(Set(scene.deliveredIDs).count == 2500)
            #expect(scene.handler.count() == 2500)
            _ = worker
        }
    }

    @Test func allAreDiscardedWithAReason() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            try await scene.command("subscription", "pause", "mail").exit.expectSuccess()
            try await scene.buryAll(1200)
            let all = ["dead-letters", "discard", "--all", "--subscription", "mail"]
            for (words, complaint) in [
                (all, "--reason is missing"), (all.dropLast(2) + ["--reason", "x"], "--all needs --subscription NAME"),
                (
                    ["dead-letters", "discard", "--subscription", "mail", "--reason", "x"],
                    "--subscription goes with --all"
                ),
            ] {
                let wrong = try await RunningOutrider.run(Array(words), environment: scene.environment)
                #expect(wrong.exit == .code(2))
                #expect(wrong.errors.contains(complaint), "\(wrong.errors)")
            }
            let discard = try await RunningOutrider.run(
                all + ["--reason", "test orders", "--wait"], environment: scene.environment)
            #expect(discard.exit == .code(0), "\(discard.errors)")
            #expect(discard.output.hasSuffix(": discard of mail: finished, 1200 of about 1200\n"))
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.dead_letters where discard_reason = 'test orders'") == 1200)
            #expect(try await scene.undelivered() == 0)
            _ = worker
        }
    }

    @Test func whatWaitsForNoWorkerSaysSoAndCanBeCancelled() async throws {
        try await Scene.with { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            try await scene.buryAll(3)
            let waiting = try RunningOutrider(
                ["dead-letters", "redrive", "--all", "--subscription", "mail", "--wait"], environment: scene.environment
            )
            try await waiting.waitForLog("no worker is running to carry it out")
            let id = try await scene.database.value("select id from outrider.operations", as: UUID.self)
            #expect(try await scene.command("subscription", "cancel", "\(id)").output == "cancelled \(id)\n")
            #expect(try await waiting.exit() == .code(1))
            #expect(waiting.output.hasSuffix("redrive of mail: cancelled, 0 of about 3; cancelled by postgres\n"))
            let again = try await scene.command("subscription", "cancel", "\(id)")
            #expect(again.exit == .code(1))
            #expect(again.errors.contains("ended at"))
        }
    }

    @Test func aReplayThatTheLogDoesNotReachSaysSo() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            try await scene.publish(2)
            try await scene.waitUntilDelivered()
            try await scene.database.execute(
                """
                insert into outrider.dropped_partition (name, lower_at, upper_at, topics)
                values ('outbox_20200101', '2020-01-01 UTC', '2020-01-02 UTC', '{order.created}')
                """)
            let replay = try await scene.command(
                "subscription", "replay", "mail", "--from", "2020-01-01T00:00:00Z", "--topic", "order.created", "--wait"
            )
            #expect(replay.exit == .code(0))
            #expect(
                replay.errors.contains(
                    "note: the log does not reach that far: of what was published before 2020-01-02T"))
            #expect(replay.output.hasSuffix(": replay of mail: finished, 2\n"), "\(replay.output)")
            let listed = try await scene.command("subscription", "operations").output
            #expect(listed.contains("the log does not reach that far"))
            let wrong = try await scene.command(
                "subscription", "replay", "mail", "--from", "2020-01-01T00:00:00Z", "--topic", "order.paid")
            #expect(wrong.exit == .code(1))
            #expect(wrong.errors.contains("subscription mail takes no topic 'order.paid'"))
            _ = worker
        }
    }

    /// The next leader goes on where the last step that was committed ended.
    @Test func aKilledLeaderLosesNoLetterAndRedrivesNoneTwice() async throws {
        let count = 30_000
        try await Scene.with { scene in
            let first = try await scene.worker()
            try await first.waitForLog("housekeeping.leads")
            let second = try await scene.worker()
            try await scene.command("subscription", "pause", "mail").exit.expectSuccess()
            try await scene.buryAll(count)
            let operation = try await scene.database.value("select outrider.redrive_all('mail')", as: UUID.self)
            try await eventually("it has begun") {
                try await scene.database.count("select done from outrider.operations where id = \(operation)") > 0
            }
            first.kill9()
            let left = count - Int(try await scene.database.count("select done from outrider.operations"))
            #expect(left > 0)
            try await second.waitForLog("housekeeping.leads")
            try await eventually("it is finished", within: .seconds(60)) {
                try await scene.database.value("select status from outrider.operations", as: String.self) == "finished"
            }
            #expect(try await scene.database.count("select done from outrider.operations") == count)
            #expect(try await scene.deadLetters() == 0)
            #expect(
                try await scene.database.count("select count(distinct message_id) from outrider.deliveries") == count)
            #expect(try await scene.undelivered() == count)
        }
    }
}

extension ChildProcess.Exit {
    fileprivate func expectSuccess() { #expect(self == .code(0)) }
}

extension Scene {
    /// So many dead letters of the subscription `mail`, which was applied before.
    fileprivate func buryAll(_ count: Int) async throws {
        try await publish(count)
        try await database.execute(
            """
            with gone as (delete from outrider.delivery returning *)
            select count(outrider.bury(g.subscription_id, g.message_id, 3, now(), 'exhausted', 'HTTP 503: Busy')) from gone g
            """)
    }

    /// The ids of those that a list shows.
    fileprivate func letters(_ words: String...) async throws -> [String] {
        let result = try await RunningOutrider.run(
            ["dead-letters", "list", "--format", "json"] + words, environment: environment)
        return try JSON(parsing: Array(result.output.utf8)).array?.compactMap { $0["id"]?.string } ?? []
    }
}
