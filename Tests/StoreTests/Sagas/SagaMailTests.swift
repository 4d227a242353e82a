import Postgres
import Primitives
import Sagas
import Store
import TestSupport
import Testing

/// Signals and callbacks: what anybody may say to a saga.
struct SagaMailTests {
    // MARK: - Signals

    @Test func aSignalReachesTheSagaByItsIdAndByItsKey() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            try await database.execute(
                """
                select outrider.signal_saga('\(id)', 'paid');
                select outrider.signal_saga('\(id)'::uuid, 'paid', '{"by": "card"}');
                select outrider.signal_saga('place-order', '17', 'paid', 'null');
                select outrider.signal_saga(saga => 'place-order', key => '17', event => 'Parcel_handed.over-1')
                """)
            #expect(
                try await database.mail(of: id) == [
                    "signal paid", "signal paid {\"by\": \"card\"}", "signal paid null", "signal Parcel_handed.over-1",
                ])
            // Itself once, and once for each.
            #expect(try await database.count("select count(*) from outrider.delivery") == 5)
        }
    }

    @Test(arguments: [
        ("'%', null", "OR005: event NULL is not the name of an event"),
        ("'%', ''", "OR005: event '' is not the name of an event"),
        ("'%', '9th'", "OR005: event '9th' is not the name of an event"),
        ("'%', E'a\\nb'", "OR005: event 'a\nb' is not the name of an event"),
        ("'%', repeat('a', 256)", "OR005: event '\(String(repeating: "a", count: 80))' is not the name of an event"),
        ("null::uuid, 'paid'", "OR007: there is no saga with the id null"),
        (
            "'8f3e2d1c-0000-4000-8000-000000000001', 'paid'",
            "OR007: there is no saga with the id 8f3e2d1c-0000-4000-8000-000000000001"
        ),
        ("'place-order', '18', 'paid'", "OR007: there is no saga 'place-order' with the key '18'"),
        ("'bill', '17', 'paid'", "OR007: there is no saga 'bill' with the key '17'"),
        ("null::text, '17', 'paid'", "OR007: there is no saga NULL with the key '17'"),
        ("'place-order', null, 'paid'", "OR007: there is no saga 'place-order' with the key NULL"),
    ])
    func whatIsNoSignalIsRefusedWithAHint(arguments: String, expected: String) async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            let arguments = arguments.replacing("'%'", with: "'\(id)'::uuid")
            let error = try await failure { try await database.execute("select outrider.signal_saga(\(arguments))") }
            #expect(error.map { "\($0.state ?? ""): \($0.message)" } == expected)
            #expect(error?.hint != nil)
            #expect(try await database.mail(of: id) == [])
        }
    }

    @Test func aSignalToASagaThatHasEndedIsRefused() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            try await database.set(id, "completed")
            let byKey = try await database.refusal("select outrider.signal_saga('place-order', '17', 'paid')")
            #expect(byKey?.hasPrefix("OR006: saga \(id) is completed since") == true)
            #expect(try await database.mail(of: id) == [])
        }
    }

    // MARK: - Callbacks

    @Test func aTokenIsGoodUntilItIsAnsweredOrALaterTryHasOne() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            try await database.execute(
                """
                insert into outrider.saga_callback (token, saga_id, step, op, send)
                values ('first', '\(id)', 'ship', 'action', 1), ('second', '\(id)', 'ship', 'action', 2),
                    ('other', '\(id)', 'bill', 'action', 1), ('undo', '\(id)', 'ship', 'compensate', 1)
                """)
            func call(_ call: SQL) async throws -> Bool { try await database.value("select outrider.\(call)") }
            #expect(try await call("complete_step('first', '1')") == false)
            #expect(try await call("heartbeat_step('second', '90 seconds')") == true)
            #expect(try await call("complete_step('second', '{\"id\": 7}')") == true)
            #expect(try await call("complete_step('second')") == false)
            #expect(try await call("fail_step('second', '{\"type\": \"lost\"}')") == false)
            #expect(try await call("heartbeat_step('second', '1 hour')") == false)
            #expect(try await call("fail_step('other', null)") == true)
            #expect(try await call("complete_step('undo')") == true)
            // The engine records what is late, so that is mail, too.
            #expect(
                try await database.mail(of: id) == [
                    "callback ship 1 complete 1", "callback ship 2 heartbeat {\"seconds\": 90.000000}",
                    "callback ship 2 complete {\"id\": 7}", "callback ship 2 complete",
                    "callback ship 2 fail {\"type\": \"lost\"}", "callback ship 2 heartbeat {\"seconds\": 3600.000000}",
                    "callback bill 1 fail", "callback ship 1 complete",
                ])
        }
    }

    @Test(arguments: [
        "complete_step('nope')", "fail_step('nope', '{}')", "heartbeat_step('nope', '1 s')", "complete_step(null)",
    ])
    func anUnknownTokenIsStale(call: String) async throws {
        try await TestDatabase.with { database in
            let isGood = try await database.value("select outrider.\(unsafeSQL: call)", as: Bool.self)
            #expect(!isGood)
            #expect(try await database.count("select count(*) from outrider.saga_mail") == 0)
        }
    }

    @Test func aTokenOfASagaThatHasEndedOrIsGoneIsStale() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            try await database.query(
                "insert into outrider.saga_callback (token, saga_id, step, op, send) values ('t', \(id), 'ship', 'action', 1)"
            )
            try await database.set(id, "failed")
            #expect(try await database.value("select outrider.heartbeat_step('t', '1 s')", as: Bool.self) == false)
            #expect(try await database.mail(of: id).count == 1)
            try await database.execute("delete from outrider.saga")
            #expect(try await database.value("select outrider.complete_step('t')", as: Bool.self) == false)
        }
    }

    @Test(arguments: ["null", "'0'", "'-1 second'", "'366 days'", "'13 months'"])
    func aHeartbeatExtendsBySomething(extend: String) async throws {
        try await TestDatabase.with { database in
            let refusal = try await database.refusal("select outrider.heartbeat_step('t', \(extend))")
            #expect(refusal?.hasPrefix("OR005: extend is ") == true)
        }
    }

    // MARK: - The mailbox

    @Test func mailIsTakenInTheOrderInWhichItCame() async throws {
        try await TestDatabase.with { database in
            try await database.apply(
                .saga(
                    "wait", [["id": "first", "await": ["event": "go"]], ["id": "second", "await": ["event": "go"]]],
                    ["key": "${ .input.n }"]))
            let id = try await database.start("wait", ["n": 1])
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            #expect(try await !saga.rest())
            for n in 1...3 {
                try await database.query("select outrider.signal_saga('wait', '1', 'go', to_jsonb(\(Int32(n))))")
            }
            saga = try await StoredSaga.claim(by: worker)
            try await saga.readMail()
            #expect(saga.state.status == .completed)
            #expect(
                try await database.values(
                    "select output from outrider.saga_steps where saga_id = \(id) order by start_seq", as: JSON.self)
                    == [1, 2])
            #expect(try await database.mail(of: id) == [])
            await worker.session.close()
        }
    }

    /// It neither waits for the worker that has the saga nor makes that one wait.
    @Test func mailWaitsForNobody() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            let worker = try await Life.begin("w", on: database)
            _ = try await worker.claimSagas()
            try await database.query(
                "insert into outrider.saga_callback (token, saga_id, step, op, send) values ('t', \(id), 'reserve', 'action', 1)"
            )
            try await worker.session.execute("begin; update outrider.saga set claims = claims + 1")
            let first = Session(database.url)
            let second = Session(database.url)
            for session in [first, second] {
                try await session.execute(
                    """
                    set lock_timeout = '10 ms'; begin;
                    select outrider.signal_saga('\(id)', 'paid'), outrider.cancel_saga('\(id)', 'why')
                    """)
            }
            try await first.execute("select outrider.complete_step('t')")
            try await worker.session.execute("set lock_timeout = '10 ms'; update outrider.saga set claims = claims + 1")
            try await worker.session.execute("commit; reset lock_timeout")
            try await first.execute("rollback")
            try await second.execute("commit")
            #expect(try await database.mail(of: id) == ["signal paid", "act cancel {\"reason\": \"why\"}"])
            for session in [first, second, worker.session] { await session.close() }
        }
    }

    /// A saga goes to sleep at the moment when mail comes for it.
    @Test func mailThatCommitsAroundASleepCallsTheSagaBack() async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("wait", [["id": "first", "await": ["event": "go"]]]))
            let id = try await database.start("wait")
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            let sender = Session(database.url)
            try await sender.execute("begin; select outrider.signal_saga('\(id)', 'go')")
            // Not committed: nothing calls it back, and its row of the queue does.
            #expect(try await !saga.rest())
            #expect(try await worker.claimSagas().isEmpty)
            try await sender.execute("commit")
            saga = try await StoredSaga.claim(by: worker)
            // Committed, and its row was claimed with it: the rest itself looks.
            #expect(try await saga.rest())
            saga = try await StoredSaga.claim(by: worker)
            try await saga.readMail()
            #expect(saga.state.status == .completed)
            await sender.close()
            await worker.session.close()
        }
    }

    @Test func aSleepingWorkerIsWokenByAStartAndByMailOnce() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let type = try await database.value("select id from outrider.saga_type", as: Int32.self)
            let worker = Session(database.url)
            try await worker.run { try $0.listen("outrider_wake") }
            func heard() async throws -> [String] {
                try await worker.run { connection in
                    _ = try connection.query("select 1")
                    return connection.takeNotifications().map(\.payload)
                }
            }
            // At work: no notification.
            let id = try await database.start()
            #expect(try await heard() == [])
            try await worker.execute("select pg_advisory_lock(1870033010, -\(type))")
            try await database.query("select outrider.signal_saga(\(id), 'paid'), outrider.signal_saga(\(id), 'paid')")
            #expect(try await heard() == ["-\(type)"])
            try await database.start("place-order", ["orderId": 18])
            #expect(try await heard() == ["-\(type)"])
            try await database.execute(
                "select outrider.start_saga('place-order', '{\"orderId\": 19}', start_at => now() + interval '100 ms')")
            #expect(try await heard() == ["due"])
            await worker.close()
        }
    }

    /// The locks and notifications of a start must not stand in the way of two-phase commit, as long as nobody sleeps.
    @Test func aTransactionThatStartedASagaCanBePreparedWhileWorkersAreAwake() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            guard
                try await database.value("select current_setting('max_prepared_transactions')", as: String.self) != "0"
            else { return }
            try await database.execute(
                """
                begin; select outrider.start_saga('place-order', '{"orderId": 17}'); prepare transaction '\(database.name)'
                """)
            let worker = try await Life.begin("w", on: database)
            #expect(try await worker.claimSagas().isEmpty)
            try await database.execute("commit prepared '\(database.name)'")
            #expect(try await worker.claimSagas().count == 1)
            await worker.session.close()
        }
    }
}
