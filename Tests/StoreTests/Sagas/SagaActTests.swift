import Postgres
import Primitives
import Sagas
import Store
import Synchronization
import TestSupport
import Testing

/// What operators ask of a saga: the functions look at what can be seen at once, and mail the rest to the engine.
struct SagaActTests {
    @Test func eachActIsMailUnderItsOperatorsName() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            try await database.set(id, "stuck")
            let person = try await database.login(memberOf: "outrider_operator")
            try await person.execute(
                """
                select outrider.cancel_saga('\(id)', 'customer called'), outrider.terminate_saga('\(id)', 'a test'),
                    outrider.suspend_saga('\(id)'), outrider.resume_saga('\(id)'), outrider.retry_saga('\(id)'),
                    outrider.retry_saga('\(id)', '{"total": 1}'), outrider.retry_saga('\(id)', 'null'),
                    outrider.skip_step('\(id)', 'charge', 'paid by hand'),
                    outrider.skip_step('\(id)', 'charge', 'paid by hand', '{"id": 7}'),
                    outrider.retry_saga('\(id)', '1', 'a typo'), outrider.suspend_saga('\(id)', 'closed'),
                    outrider.resolve_step('\(id)', 'charge', true, '7', 'they said so'), outrider.resolve_step('\(id)', 'charge', false)
                """)
            #expect(
                try await database.mail(of: id) == [
                    "act cancel {\"reason\": \"customer called\"}", "act terminate {\"reason\": \"a test\"}",
                    "act suspend",
                    "act resume", "act retry", "act retry {\"input\": {\"total\": 1}}", "act retry {\"input\": null}",
                    "act skip {\"step\": \"charge\", \"output\": null, \"reason\": \"paid by hand\"}",
                    "act skip {\"step\": \"charge\", \"output\": {\"id\": 7}, \"reason\": \"paid by hand\"}",
                    "act retry {\"input\": 1, \"reason\": \"a typo\"}", "act suspend {\"reason\": \"closed\"}",
                    "act resolve {\"step\": \"charge\", \"output\": 7, \"reason\": \"they said so\", \"happened\": true}",
                    "act resolve {\"step\": \"charge\", \"output\": null, \"happened\": false}",
                ])
            #expect(
                try await database.values("select distinct by from outrider.saga_mail", as: String.self)
                    == ["\(database.name)_outrider_operator"])
            await person.close()
        }
    }

    // MARK: - States

    private static let ended = ["completed", "compensated", "failed", "terminated"]
    private static let acts: [(call: String, impossible: [String])] = [
        ("cancel_saga('%', 'why')", ended), ("terminate_saga('%', 'why')", ended), ("suspend_saga('%')", ended),
        ("resume_saga('%')", ended + ["running", "compensating", "stuck"]),
        ("retry_saga('%')", ended + ["running", "compensating"]),
        ("skip_step('%', 'a', 'why')", ended + ["running", "compensating"]),
        ("resolve_step('%', 'a', true)", ended + ["running", "compensating"]),
    ]

    @Test(arguments: acts)
    func whatTheStateDoesNotAllowIsRefusedWithAHint(call: String, impossible: [String]) async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            for status in ["running", "compensating", "stuck"] + Self.ended {
                try await database.set(id, status)
                try await database.execute("delete from outrider.saga_mail")
                let error = try await failure {
                    try await database.execute("select outrider.\(call.replacing("%", with: "\(id)"))")
                }
                #expect(error?.state == (impossible.contains(status) ? "OR006" : nil), "\(status)")
                #expect((error == nil) == (error?.hint == nil))
            }
        }
    }

    @Test func aSagaThatHasPassedItsPivotIsNotCancelled() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            try await database.set(id, "stuck", ", pivoted = true")
            let refusal = try await database.refusal("select outrider.cancel_saga('\(id)', 'why')")
            #expect(refusal == "OR006: saga \(id) has passed its pivot")
            try await database.execute("select outrider.terminate_saga('\(id)', 'why')")
        }
    }

    /// `cancel` during compensation changes nothing, and says so.
    @Test(arguments: ["status = 'compensating'", "status = 'stuck', trouble = '{\"interrupted\": \"compensating\"}'"])
    func cancellingWhatIsBeingUndoneSaysThatNothingChanges(state: String) async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            let notices = Mutex<[String]>([])
            var options = ConnectionOptions()
            options.onNotice = { notice in notices.withLock { $0.append(notice.message) } }
            let person = Session(database.url, options: options)
            try await person.execute("select outrider.cancel_saga('\(id)', 'why')")
            try await database.execute("update outrider.saga set \(state)")
            try await person.execute("select outrider.cancel_saga('\(id)', 'why')")
            #expect(notices.withLock { $0 } == ["saga \(id) is compensating already: nothing changes"])
            await person.close()
        }
    }

    /// The engine has not read the first act yet.
    @Test func whetherItIsSuspendedIsAsItWillBeOnceItsMailIsRead() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            func refusal(_ act: String) async throws -> String? {
                try await database.refusal("select outrider.\(act)_saga('\(id)')")
            }
            #expect(try await refusal("suspend") == nil)
            #expect(try await refusal("suspend") == "OR006: saga \(id) is suspended already")
            #expect(try await refusal("resume") == nil)
            #expect(try await refusal("resume") == "OR006: saga \(id) is not suspended")
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            try await saga.readMail()
            #expect(saga.state.suspendedAt == nil)
            #expect(try await refusal("suspend") == nil)
            try await saga.readMail()
            #expect(try await database.value("select suspended from outrider.sagas", as: Bool.self))
            #expect(try await refusal("suspend") == "OR006: saga \(id) is suspended already")
            #expect(try await refusal("resume") == nil)
            await worker.session.close()
        }
    }

    // MARK: - Arguments

    @Test(arguments: [
        ("cancel_saga('%', null)", "a reason is missing"), ("cancel_saga('%', '  ')", "a reason is missing"),
        ("terminate_saga('%', '')", "a reason is missing"), ("skip_step('%', 'a', ' ')", "a reason is missing"),
        ("skip_step('%', null, 'why')", "step is null"), ("resolve_step('%', null, true)", "step is null"),
        ("resolve_step('%', 'a', null)", "happened is null"),
    ])
    func whatIsMissingIsSaidWithAHint(call: String, message: String) async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            try await database.set(id, "stuck")
            let error = try await failure {
                try await database.execute("select outrider.\(call.replacing("%", with: "\(id)"))")
            }
            #expect(error?.state == "OR005")
            #expect(error?.message == message)
            #expect(error?.hint != nil)
            #expect(try await database.mail(of: id) == [])
        }
    }

    @Test(arguments: acts.map(\.call))
    func aSagaThatIsNotThereIsSaidWithAHint(call: String) async throws {
        try await TestDatabase.with { database in
            for id in ["'8f3e2d1c-0000-4000-8000-000000000001'", "null"] {
                let error = try await failure {
                    try await database.execute("select outrider.\(call.replacing("'%'", with: id))")
                }
                #expect(error?.state == "OR007")
                #expect(error?.hint?.contains("lists them") == true)
            }
        }
    }

    // MARK: - To the end

    @Test func aStuckCompensationIsRetriedWithAnotherInputOrSkippedAndItsLetterSettled() async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("order", [.call("reserve"), .call("charge"), .call("ship")]))
            let id = try await database.start("order", ["n": 1])
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            try await saga.succeed("reserve")
            try await saga.succeed("charge")
            try await saga.refuse("ship")
            try await saga.refuse("charge", .compensate)
            let letter = try await database.value(
                """
                select concat_ws(' ', s.status, s.waiting_for, s.failure ->> 'type', s.trouble ->> 'step', d.kind, d.step,
                    d.reason, jsonb_array_length(d.errors))
                from outrider.sagas s join outrider.dead_letters d on d.saga_id = s.id
                """, as: String.self)
            #expect(letter == "stuck refused charge compensation charge compensation 1")
            try await saga.rest()
            try await database.query("select outrider.retry_saga(\(id), '{\"by\": \"hand\"}')")
            saga = try await StoredSaga.claim(by: worker)
            try await saga.readMail()
            #expect(saga.state.status == .compensating)
            #expect(
                try await database.count("select count(*) from outrider.dead_letters where redriven_by = 'postgres'")
                    == 1)
            try await saga.refuse("charge", .compensate)
            try await database.query("select outrider.skip_step(\(id), 'charge', 'refunded by hand')")
            try await saga.readMail()
            try await saga.succeed("reserve", .compensate)
            #expect(
                try await database.value("select status || ' ' || skipped from outrider.sagas", as: String.self)
                    == "compensated 1")
            #expect(
                try await database.value(
                    "select discard_reason || ' (by ' || discarded_by || ')' from outrider.dead_letters where redriven_at is null",
                    as: String.self) == "skipped: refunded by hand (by postgres)")
            await worker.session.close()
        }
    }

    @Test func anActThatTheEngineRefusesIsInTheHistory() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            try await database.execute(
                "select outrider.cancel_saga('\(id)', 'one'); select outrider.cancel_saga('\(id)', 'two')")
            try await saga.readMail()
            #expect(
                try await database.values(
                    "select concat_ws(' ', event, detail ->> 'act', detail ->> 'type', detail ->> 'reason') from outrider.saga_history where step is null order by seq",
                    as: String.self) == [
                        "begun", "aborting cancelled", "refused cancel the saga is compensating already",
                    ])
            await worker.session.close()
        }
    }
}
