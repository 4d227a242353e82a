import Postgres
import Primitives
import Sagas
import Store
import TestSupport
import Testing
import WorkflowFiles

/// What each role may do with sagas, and that it is no more.
struct SagaPrivilegeTests {
    private func refused(_ statements: [String], to session: Session) async throws {
        for statement in statements {
            let error = try await failure { try await session.execute(statement) }
            #expect(error?.state == "42501", "\(statement)")
        }
    }

    @Test func anApplicationStartsSignalsAndCallsBack() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let application = try await database.login(memberOf: "outrider_app")
            let id = try await application.value(
                "select outrider.start_saga('place-order', '{\"orderId\": 17}')", as: UUID.self)
            try await database.query(
                "insert into outrider.saga_callback (token, saga_id, step, op, send) values ('t', \(id), 'ship', 'action', 1)"
            )
            try await application.execute(
                """
                select outrider.signal_saga('\(id)'::uuid, 'paid'), outrider.signal_saga('place-order', '17', 'paid'),
                    outrider.heartbeat_step('t', '1 s'), outrider.complete_step('t'), outrider.fail_step('t', '{}'),
                    outrider.inbox_accept('billing', 'a'), outrider.barrier('\(id)', 'charge', 'action')
                """)
            #expect(
                try await database.values("select distinct by from outrider.saga_mail", as: String.self)
                    == ["\(database.name)_outrider_app"])
            try await refused(
                [
                    "select * from outrider.sagas", "select * from outrider.saga", "select * from outrider.saga_mail",
                    "select * from outrider.saga_callback", "select * from outrider.saga_history",
                    "select * from outrider.inbox", "delete from outrider.barrier",
                    "insert into outrider.saga_mail (saga_id, kind) values ('\(id)', 'act')",
                    "select outrider.cancel_saga('\(id)', 'why')", "select outrider.retry_saga('\(id)')",
                    "select outrider.begin_saga('place-order', '{}', null, null, null, null, null)",
                    "select outrider.ask_saga('\(id)', 'terminate', null)", "select outrider.find_saga('\(id)')",
                    "select outrider.call_back('t', 'complete', null)", "select outrider.prune_sagas()",
                    "select outrider.park_saga('\(id)', 'w')", "select outrider.tell_parent('\(id)', '{}')",
                ], to: application)
            await application.close()
        }
    }

    /// Whoever knows a token can end a step.
    @Test func anAuditorReadsTheViewsAndSeesNoToken() async throws {
        try await TestDatabase.with { database in
            try await database.apply(
                .saga("order", [.call("ship", ["call": ["http": "POST http://127.0.0.1:9/ship", "async": true]])]))
            let id = try await database.start("order")
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            try await saga.answer("ship", .action, .accepted)
            let token = try await database.value("select token from outrider.saga_callback", as: String.self)
            try await database.query("select outrider.complete_step(\(token), '1')")
            try await saga.readMail()
            let auditor = try await database.login(memberOf: "outrider_auditor")
            let everything = try await auditor.value(
                """
                select concat((select jsonb_agg(to_jsonb(s)) from outrider.sagas s), (select jsonb_agg(to_jsonb(s)) from outrider.saga_steps s),
                    (select jsonb_agg(to_jsonb(s)) from outrider.saga_history s), (select jsonb_agg(to_jsonb(s)) from outrider.dead_letters s))
                """, as: String.self)
            #expect(everything.contains("\(id)"))
            #expect(everything.contains("accepted"))
            #expect(!everything.contains(token))
            try await refused(
                [
                    "select token from outrider.saga_callback", "select * from outrider.saga_mail",
                    "select * from outrider.saga", "select * from outrider.saga_fact",
                    "select * from outrider.saga_key",
                    "select outrider.start_saga('order', '{}')", "select outrider.signal_saga('\(id)'::uuid, 'paid')",
                    "select outrider.suspend_saga('\(id)')", "select outrider.complete_step('\(token)')",
                    "select outrider.barrier('\(id)', 'a', 'action')",
                ], to: auditor)
            for session in [auditor, worker.session] { await session.close() }
        }
    }

    @Test func anOperatorActsAndSignalsAndStartsNothing() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            let person = try await database.login(memberOf: "outrider_operator")
            try await person.execute(
                """
                select outrider.suspend_saga('\(id)'), outrider.resume_saga('\(id)'), outrider.cancel_saga('\(id)', 'why'),
                    outrider.terminate_saga('\(id)', 'why'), outrider.signal_saga('\(id)'::uuid, 'paid'),
                    outrider.signal_saga('place-order', '17', 'paid');
                select * from outrider.sagas
                """)
            try await refused(
                [
                    "select outrider.start_saga('place-order', '{}')", "select outrider.complete_step('t')",
                    "update outrider.saga set status = 'completed'", "delete from outrider.saga_fact",
                    "insert into outrider.saga_mail (saga_id, kind, by) values ('\(id)', 'act', 'somebody else')",
                ], to: person)
            await person.close()
        }
    }

    /// The statements of `sql` steps.
    @Test func aStepMayWhatIsGrantedToItAndNothingOfOutrider() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            try await database.execute(
                """
                create schema ledger; create table ledger.entry (amount int); create table ledger.secret ();
                grant usage on schema ledger to outrider_step; grant insert on ledger.entry to outrider_step
                """)
            let worker = try await database.login(memberOf: "outrider_worker")
            try await worker.execute("set role outrider_step; insert into ledger.entry values (42)")
            try await refused(
                [
                    "select * from ledger.secret", "select * from ledger.entry",
                    "select outrider.start_saga('place-order', '{\"orderId\": 1}')",
                    "select outrider.publish('a', '{}')",
                    "select outrider.uuid_v7()", "select * from outrider.sagas", "select * from outrider.saga",
                    "insert into outrider.outbox (topic, payload) values ('a', '{}')",
                    "select outrider.barrier(gen_random_uuid(), 'a', 'action')", "create table outrider.mine ()",
                ], to: worker)
            // What its owner grants.
            try await database.execute("grant execute on function outrider.barrier to outrider_step")
            try await worker.execute("select outrider.barrier(gen_random_uuid(), 'a', 'action')")
            try await database.execute("drop schema ledger cascade")
            await worker.close()
        }
    }

    @Test func aWorkerRunsSagas() async throws {
        try await TestDatabase.with { database in
            let session = try await database.login(memberOf: "outrider_worker")
            let worker = Life(token: .random(), session: session)
            try await session.run { connection in
                try WorkerRegistry(connection).register(
                    token: worker.token, name: "w", version: "1", lease: .seconds(30))
                _ = try DefinitionStore(connection).apply(
                    [
                        try Definition(
                            content: .saga("child", [.call("a")], ["start_on": "child.wanted", "reuse_key": true])),
                        try Definition(
                            content: .saga(
                                "parent",
                                [
                                    ["id": "sub", "run": ["saga": "child", "input": [:], "key": "k"]],
                                    ["id": "say", "publish": ["topic": "child.wanted", "payload": 1]], .call("ship"),
                                ])),
                    ], by: "w", restores: false)
                _ = try connection.query("select outrider.start_saga('parent', '{}', 'k')")
            }
            var parent = try await StoredSaga.claim(by: worker)
            try await parent.handle(.begin)
            try await parent.rest()
            var child = try await StoredSaga.claim(by: worker)
            try await child.handle(.begin)
            try await child.succeed("a")
            try await child.rest()
            parent = try await StoredSaga.claim(by: worker)
            try await parent.readMail()
            #expect(try await worker.startFromMessages() == 1)
            try await parent.refuse("ship")
            #expect(parent.state.status == .compensating)
            // The one that is to be undone has ended, and is not parked; the other one is.
            let claimed = try await worker.claimSagas()
            #expect(claimed.count == 2)
            try await session.run { connection in
                for one in claimed {
                    try SagaExchange.park(one, on: connection, token: worker.token, worker: "w")
                }
                _ = try Housekeeping(connection).prune(most: 10)
            }
            #expect(try await database.count("select count(*) from outrider.sagas where status = 'stuck'") == 1)
            await session.close()
        }
    }
}
