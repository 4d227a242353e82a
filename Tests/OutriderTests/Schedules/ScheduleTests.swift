import EmbeddedPostgres
import Postgres
import Primitives
import TestSupport
import Testing

/// Schedules, fired by real workers. They are due once a year; that one is due now is written into the database.
struct ScheduleTests {
    // MARK: - What a firing does

    @Test func aFiringPublishesWhatTheFileSays() async throws {
        let schedule = """
            schedule: nightly
            cron: "0 0 1 1 *"
            publish:
              topic: settlement.due
              key: ${ $env.SHOP }
              payload: { at: "${ .scheduled_at }", day: "${ .scheduled_at | .[0:10] }", text: "at ${ .scheduled_at }!", fix: 1 }
              headers: { X-Day: "${ .scheduled_at }" }
            """
        try await Scene.with(workflows: schedule) { scene in
            let worker = try await scene.worker()
            try await scene.fire("nightly", count: 1)
            let message: JSON = try await scene.database.value(
                """
                select jsonb_build_object('topic', topic, 'key', key, 'payload', payload, 'headers', headers)
                from outrider.messages
                """)
            let at = try await scene.scheduledTimes("nightly")[0]
            #expect(message["topic"] == "settlement.due")
            #expect(message["key"] == .string(scene.handler.url))
            #expect(
                message["payload"] == [
                    "at": .string(at), "day": .string(String(at.prefix(10))), "fix": 1, "text": .string("at \(at)!"),
                ])
            #expect(message["headers"]?["X-Day"] == .string(at))
            #expect(message["headers"]?["outrider-schedule"] == "nightly")
            #expect(message["headers"]?["outrider-scheduled-at"] == .string(at))
            let row = try await scene.schedule("nightly")
            #expect(row["does"] == "publish settlement.due")
            #expect(row["next_at"]?.string?.contains("-01-01T00:00:00") == true, "\(row.text)")
            #expect(row["last_error"] == .null)
            #expect(row["workers"] == 1)
            #expect(
                try await scene.database.value(
                    """
                    select f.message_id = s.last_id and f.worker is not null and f.requested_by is null
                        and s.last_scheduled_at = f.scheduled_at
                    from outrider.schedule_firings f, outrider.schedules s
                    """, as: Bool.self))
            try await worker.waitForLog("schedule.fired")
        }
    }

    @Test func aFiringStartsASaga() async throws {
        let files = """
            schedule: settle-daily
            cron: "0 0 1 1 *"
            start: { saga: settle, key: "day ${ .scheduled_at }", input: { at: "${ .scheduled_at }" } }
            ---
            saga: settle
            version: 1
            steps: [ { id: a, set: { x: "${ .input.at }" } } ]
            """
        try await Scene.with(workflows: files) { scene in
            let worker = try await scene.worker()
            try await scene.fire("settle-daily", count: 1)
            try await scene.fire("settle-daily", count: 2)
            try await eventually("both sagas have ended") {
                try await scene.database.count("select count(*) from outrider.sagas where status = 'completed'") == 2
            }
            #expect(
                try await scene.database.value(
                    """
                    select bool_and(s.key = 'day ' || (s.input ->> 'at') and g.headers ->> 'outrider-schedule' = 'settle-daily'
                        and f.message_id is null)
                    from outrider.sagas s
                    join outrider.saga g on g.id = s.id
                    join outrider.schedule_firings f on f.saga_id = s.id
                    """, as: Bool.self))
            withExtendedLifetime(worker) {}
        }
    }

    // MARK: - Exactly once

    @Test func ofManyWorkersOneFires() async throws {
        try await Scene.with(workflows: Scene.yearly()) { scene in
            var workers: [RunningOutrider] = []
            for number in 1...3 {
                workers.append(try await scene.worker(["--name", "w\(number)"]))
            }
            try await scene.waitUntilServed("nightly", by: 3)
            for round in 1...8 { try await scene.fire("nightly", count: round) }
            #expect(try await scene.database.count("select count(*) from outrider.messages") == 8)
            #expect(Set(try await scene.scheduledTimes("nightly")).count == 8)
            withExtendedLifetime(workers) {}
        }
    }

    @Test func nothingFiresBeforeItsTime() async throws {
        try await Scene.with(workflows: Scene.yearly()) { scene in
            let worker = try await scene.worker()
            try await scene.waitUntilServed("nightly")
            try await scene.setDue("nightly", "now() + interval '700 milliseconds'")
            try await scene.waitForFirings("nightly", 1)
            #expect(
                try await scene.database.value(
                    "select fired_at >= scheduled_at from outrider.schedule_firings", as: Bool.self))
            withExtendedLifetime(worker) {}
        }
    }

    /// The firing is under way, held up by a lock, when its worker dies: nothing of it stays, and another worker makes it.
    @Test func aFiringWhoseWorkerIsKilledIsMadeByAnotherOne() async throws {
        try await Scene.with(workflows: Scene.yearly()) { scene in
            let victim = try await scene.worker()
            try await scene.waitUntilServed("nightly")
            let blocker = Session(scene.database.url)
            try await blocker.run { try $0.execute(script: "begin; lock table outrider.outbox in share mode") }
            try await scene.setDue("nightly", "now() - interval '1 second'")
            try await eventually("the firing waits") {
                try await scene.database.value(
                    """
                    select exists (select from pg_stat_activity
                        where datname = current_database() and application_name like '% schedules' and wait_event_type = 'Lock')
                    """)
            }
            victim.kill9()
            let heir = try await scene.worker()
            try await blocker.run { try $0.execute(script: "rollback") }
            await blocker.close()
            try await scene.waitForFirings("nightly", 1)
            try await scene.fire("nightly", count: 2)
            #expect(try await scene.database.count("select count(*) from outrider.messages") == 2)
            withExtendedLifetime(heir) {}
        }
    }

    // MARK: - What was missed

    @Test func whatWasMissedIsMadeUpForAsTheFileSays() async throws {
        let files = ["once", "skip", "all"].map { Scene.yearly($0, "missed: \($0)") }.joined(separator: "---\n")
        try await Scene.with(workflows: files + "---\n" + Scene.yearly("marker")) { scene in
            #expect(try await scene.command("apply", "\(scene.folder.path)/workflows").exit == .code(0))
            try await scene.database.query(
                "update outrider.schedule set next_at = '2021-01-01T00:00:00Z' where name <> 'marker'")
            let worker = try await scene.worker()
            try await scene.waitForFirings("once", 1)
            let years = try await scene.database.count("select extract(year from now())::bigint")
            try await scene.waitForFirings("all", years - 2020)
            #expect(try await scene.scheduledTimes("all") == (2021...years).map { "\($0)-01-01T00:00:00Z" })
            #expect(try await scene.scheduledTimes("once") == ["\(years)-01-01T00:00:00Z"])
            try await scene.fire("marker", count: 1)
            #expect(try await scene.firings("skip") == 0)
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.schedules where next_at = '\(unsafeSQL: "\(years + 1)")-01-01T00:00:00Z'"
                ) == 4)
            #expect(worker.log.contains("schedule.missed"))
            #expect(try await scene.database.count("select count(*) from outrider.messages") == years - 2020 + 2)
        }
    }

    @Test func whatCameDueDuringAPauseIsNotMadeUpFor() async throws {
        try await Scene.with(workflows: Scene.yearly() + "---\n" + Scene.yearly("marker")) { scene in
            let worker = try await scene.worker()
            #expect(try await scene.command("schedule", "pause", "nightly").output == "paused nightly\n")
            try await scene.setDue("nightly", "now() - interval '1 second'")
            try await scene.fire("marker", count: 1)
            #expect(try await scene.firings("nightly") == 0)
            #expect(try await scene.schedule("nightly")["paused_by"] != .null)
            #expect(try await scene.command("schedule", "resume", "nightly").output == "resumed nightly\n")
            try await eventually("it is due in the future") {
                try await scene.database.value(
                    "select next_at > now() and paused_at is null from outrider.schedules where name = 'nightly'")
            }
            try await scene.fire("marker", count: 2)
            #expect(try await scene.firings("nightly") == 0)
            try await scene.fire("nightly", count: 1)
            withExtendedLifetime(worker) {}
        }
    }

    // MARK: - What goes wrong

    @Test(arguments: [
        (#"publish: { topic: a, payload: "${ .scheduled_at | error(\"no\") }" }"#, "expression: no"),
        (
            #"publish: { topic: a, payload: "${ .scheduled_at.day }" }"#,
            #"expression: Cannot index string with string "day""#
        ),
        ("start: { saga: gone }", "there is no saga 'gone' (OR003)"),
        (
            #"publish: { topic: a, payload: {}, headers: { X: "${ .scheduled_at + \"\n\" }" } }"#,
            "expression: the header X holds a line break or a control character"
        ),
    ])
    func aFiringThatFailsIsRecordedAndTheScheduleGoesOn(act: String, error: String) async throws {
        let files = """
            schedule: nightly
            cron: "0 0 1 1 *"
            \(act)
            ---
            saga: gone
            version: 1
            steps: [ { id: a, set: { x: 1 } } ]
            """
        try await Scene.with(workflows: files + "\n---\n" + Scene.yearly("marker")) { scene in
            let worker = try await scene.worker(environment: ["OUTRIDER_LISTEN": "127.0.0.1:0"])
            try await scene.database.query("update outrider.saga_type set removed_at = now()")
            try await scene.fire("nightly", count: 1)
            try await scene.fire("marker", count: 1)
            try await scene.fire("nightly", count: 2)
            let row = try await scene.schedule("nightly")
            #expect(row["last_error"] == .string(error))
            #expect(row["last_id"] == .null)
            #expect(try await scene.database.count("select count(*) from outrider.messages") == 1)
            let metrics = try await Sidecar(of: worker).metrics()
            #expect(metrics[#"outrider_schedule_firings_total{schedule="nightly",outcome="failed"}"#] == 2)
            #expect(metrics[#"outrider_schedule_firings_total{schedule="marker",outcome="fired"}"#] == 1)
            #expect(worker.log.contains("schedule.failed"))
        }
    }

    @Test func aWorkerWithoutItsVariablesLeavesAScheduleToOthers() async throws {
        let schedule = """
            schedule: nightly
            cron: "0 0 1 1 *"
            publish: { topic: a, payload: "${ $env.REGION }" }
            """
        try await Scene.with(workflows: schedule) { scene in
            let unable = try await scene.worker()
            try await unable.waitForLog("schedule.not_served")
            try await scene.setDue("nightly", "now() - interval '1 second'")
            let able = try await scene.worker(environment: ["OUTRIDER_EXPOSE_ENV": "REGION", "REGION": "eu"])
            try await scene.waitForFirings("nightly", 1)
            #expect(try await scene.database.value("select payload = '\"eu\"' from outrider.messages", as: Bool.self))
            withExtendedLifetime((unable, able)) {}
        }
    }

    // MARK: - Who serves

    @Test func aWorkerThatServesAllTakesUpWhatIsAppliedLater() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker(["--serve", "all"])
            scene.folder.write(Scene.yearly(), to: "later/nightly.yaml")
            #expect(try await scene.command("apply", "\(scene.folder.path)/later").exit == .code(0))
            try await scene.waitUntilServed("nightly")
            try await scene.fire("nightly", count: 1)
            withExtendedLifetime(worker) {}
        }
    }

    @Test func aWorkerWithoutSchedulesKeepsNoConnectionForThem() async throws {
        try await Scene.with { scene in
            let workers = [try await scene.worker(), try await scene.worker(["--serve", "all"])]
            try await scene.publish()
            try await scene.waitUntilDelivered()
            try await eventually("no session is there for schedules") {
                try await scene.database.count(
                    """
                    select count(*) from pg_stat_activity
                    where datname = current_database() and application_name like '% schedules'
                    """) == 0
            }
            withExtendedLifetime(workers) {}
        }
    }

    @Test func aChangedLineIsCountedFromNowOn() async throws {
        try await Scene.with(workflows: Scene.yearly()) { scene in
            func apply(_ text: String) async throws -> String {
                scene.folder.write(text, to: "workflows/mail.yaml")
                return try await scene.command("apply", "\(scene.folder.path)/workflows").output
            }
            func nextYear() async throws -> Int {
                try await scene.database.count("select extract(year from next_at)::bigint from outrider.schedules")
            }
            #expect(try await apply(Scene.yearly()).contains(#/schedule +nightly +created/#))
            try await scene.database.query("update outrider.schedule set next_at = '2020-01-01T00:00:00Z'")
            #expect(try await apply(Scene.yearly()).contains("unchanged"))
            #expect(try await apply(Scene.yearly("nightly", "missed: skip")).contains(#/schedule +nightly +changed/#))
            #expect(try await nextYear() == 2020)
            _ = try await apply(Scene.yearly("nightly", "timezone: Asia/Tokyo"))
            #expect(try await nextYear() > 2020)
            scene.folder.write(Scene.mail(), to: "workflows/mail.yaml")
            let pruned = try await scene.command("apply", "\(scene.folder.path)/workflows", "--prune")
            #expect(pruned.output.contains(#/schedule +nightly +removed/#), "\(pruned.output)\(pruned.errors)")
            #expect(try await scene.database.count("select count(*) from outrider.schedules") == 0)
        }
    }
}
