import EmbeddedPostgres
import Postgres
import Primitives
import TestSupport
import Testing

/// `outrider schedule …`
struct ScheduleCommandsTests {
    @Test func runFiresOnceNowWhateverIsPaused() async throws {
        try await Scene.with(workflows: Scene.yearly()) { scene in
            let worker = try await scene.worker()
            try await scene.waitUntilServed("nightly")
            let next = try await scene.schedule("nightly")["next_at"]
            for paused in [false, true] {
                if paused { _ = try await scene.command("schedule", "pause", "nightly") }
                let run = try await scene.command("schedule", "run", "nightly")
                #expect(run.exit == .code(0), "\(run.errors)")
                let id = try #require(UUID(run.output.dropLast().description), "\(run.output)")
                #expect(
                    try await scene.database.value(
                        """
                        select f.message_id = \(id) and f.requested_by = session_user and m.topic = 'nightly.due'
                            and (m.payload ->> 'at')::timestamptz = f.scheduled_at
                        from outrider.messages m join outrider.schedule_firings f on f.message_id = m.id where m.id = \(id)
                        """, as: Bool.self))
            }
            #expect(try await scene.firings("nightly") == 2)
            #expect(try await scene.schedule("nightly")["next_at"] == next)
            withExtendedLifetime(worker) {}
        }
    }

    @Test func runSaysWhyItFailed() async throws {
        let schedule = """
            schedule: nightly
            cron: '@daily'
            publish: { topic: a, payload: '${ .scheduled_at | error("no") }' }
            """
        try await Scene.with(workflows: schedule) { scene in
            let worker = try await scene.worker()
            try await scene.waitUntilServed("nightly")
            let run = try await scene.command("schedule", "run", "nightly")
            #expect(run.exit == .code(1))
            #expect(run.errors == "outrider schedule run: schedule nightly failed: expression: no\n")
            withExtendedLifetime(worker) {}
        }
    }

    @Test func runSaysWhenNoWorkerServesIt() async throws {
        try await Scene.with(workflows: Scene.yearly()) { scene in
            #expect(try await scene.command("apply", "\(scene.folder.path)/workflows").exit == .code(0))
            scene.folder.write(Scene.mail(), to: "other/mail.yaml")
            let worker = try await scene.worker(environment: ["OUTRIDER_WORKFLOWS": "\(scene.folder.path)/other"])
            let run = try await scene.command("schedule", "run", "nightly")
            #expect(run.exit == .code(1))
            #expect(
                run.errors == """
                    outrider schedule run: no worker that is running serves schedule nightly
                      Start one whose folder declares it, or one with --serve all.

                    """)
            #expect(try await scene.database.count("select count(*) from outrider.schedule_firings") == 0)
            withExtendedLifetime(worker) {}
        }
    }

    @Test func listShowsWhenTheyFireAndWhatCameOfIt() async throws {
        try await Scene.with(workflows: Scene.yearly("b", "timezone: Asia/Tokyo") + "---\n" + Scene.yearly("a")) {
            scene in
            #expect(
                try await scene.command("schedule", "list").output == "no schedules; outrider apply brings them in\n")
            let worker = try await scene.worker()
            _ = try await scene.command("schedule", "pause", "b")
            try await scene.fire("a", count: 1)
            let text = try await scene.command("schedule", "list").output.split(separator: "\n")
            #expect(text[0].hasPrefix("name  cron       timezone    does           state   next at"), "\(text)")
            #expect(text[1].hasPrefix("a     0 0 1 1 *  UTC         publish a.due  active  "), "\(text)")
            #expect(text[2].hasPrefix("b     0 0 1 1 *  Asia/Tokyo  publish b.due  paused  "), "\(text)")
            let json = try JSON(
                parsing: Array(try await scene.command("schedule", "list", "--format", "json").output.utf8))
            #expect(json.array?.map { $0["name"] ?? .null } == ["a", "b"])
            #expect(json.array?.first?["last_id"]?.string != nil)
            withExtendedLifetime(worker) {}
        }
    }

    @Test(arguments: ["run", "pause", "resume"])
    func anUnknownNameIsRefusedWithTheOneThatWasMeant(command: String) async throws {
        try await Scene.with(workflows: Scene.yearly()) { scene in
            #expect(try await scene.command("apply", "\(scene.folder.path)/workflows").exit == .code(0))
            let outcome = try await scene.command("schedule", command, "nightli")
            #expect(outcome.exit == .code(1))
            #expect(
                outcome.errors
                    == "outrider schedule \(command): there is no schedule nightli; did you mean nightly?\n")
            await #expect(throws: PostgresError.self) {
                try await scene.database.query("select outrider.pause_schedule('nightli')")
            }
        }
    }
}
