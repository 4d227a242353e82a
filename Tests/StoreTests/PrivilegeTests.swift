import Postgres
import Primitives
import Store
import TestSupport
import Testing
import WorkflowFiles

/// What each role may do, and that it is no more.
struct PrivilegeTests {
    private static let views = [
        "dead_letters", "definitions", "deliveries", "delivery_attempts", "dropped", "endpoints", "limits", "messages",
        "operations",
        "queue_depth", "saga_history", "saga_steps", "sagas", "scaling", "schedule_firings", "schedules",
        "subscriptions", "topic_limits", "workers",
    ]

    @Test(arguments: [
        (
            "outrider_app",
            [
                "barrier", "cancel_message", "complete_step", "fail_step", "heartbeat_step", "inbox_accept", "publish",
                "signal_saga", "signal_saga", "start_saga", "uuid_v7",
            ]
        ),
        ("outrider_auditor", ["schedule_workers"]),
        (
            "outrider_operator",
            [
                "cancel_message", "cancel_operation", "cancel_saga", "discard", "discard_all", "pause",
                "pause_schedule", "redrive", "redrive_all",
                "replay",
                "resolve_step", "resume", "resume_saga", "resume_schedule", "retry_saga", "run_schedule",
                "schedule_workers",
                "signal_saga", "signal_saga", "skip_step", "suspend_saga", "terminate_saga",
            ]
        ),
        ("outrider_step", []),
    ])
    func aRoleExecutesItsFunctionsOnly(role: String, functions: [String]) async throws {
        try await TestDatabase.with { database in
            let found = try await database.values(
                """
                select p.proname::text from pg_proc p
                where p.pronamespace = 'outrider'::regnamespace and has_function_privilege(\(role), p.oid, 'execute')
                order by 1
                """, as: String.self)
            #expect(found == functions)
        }
    }

    @Test(arguments: [
        ("outrider_app", ["outbox: INSERT,SELECT"]),
        ("outrider_auditor", (views + ["migration"]).map { "\($0): SELECT" }),
        ("outrider_operator", (views + ["migration"]).map { "\($0): SELECT" }),
        ("outrider_step", []),
    ])
    func aRoleReachesItsRelationsOnly(role: String, relations: [String]) async throws {
        try await TestDatabase.with { database in
            let found = try await database.values(
                """
                select c.relname || ': ' || string_agg(p, ',' order by p)
                from pg_class c
                cross join unnest(array['SELECT', 'INSERT', 'UPDATE']) p
                where c.relnamespace = 'outrider'::regnamespace and c.relkind in ('r', 'p', 'v')
                    and has_any_column_privilege(\(role), c.oid, p)
                group by c.relname
                union all
                select c.relname || ': ' || p
                from pg_class c
                cross join unnest(array['DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
                where c.relnamespace = 'outrider'::regnamespace and c.relkind in ('r', 'p', 'v')
                    and has_table_privilege(\(role), c.oid, p)
                """, as: String.self)
            #expect(found.sorted() == relations.sorted())
        }
    }

    @Test func nothingIsOpenToPublic() async throws {
        try await TestDatabase.with { database in
            let open = try await database.values(
                """
                select p.oid::regprocedure::text
                from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                where p.pronamespace = 'outrider'::regnamespace and a.grantee = 0
                union all
                select c.relname
                from pg_class c, aclexplode(c.relacl) a
                where c.relnamespace = 'outrider'::regnamespace and a.grantee = 0
                """, as: String.self)
            #expect(open == [])
        }
    }

    /// A path that a caller sets must not choose what runs in a function.
    @Test func everyFunctionHasItsOwnSearchPath() async throws {
        try await TestDatabase.with { database in
            let open = try await database.values(
                """
                select p.proname::text from pg_proc p
                where p.pronamespace = 'outrider'::regnamespace
                    and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)
                    -- The names in a parsed body were resolved when the function was made.
                    and p.prosqlbody is null
                    -- What publishers run for each message: calls all by its full name, and has no operators.
                    and (p.proname not in ('outbox_guard', 'outbox_route', 'examine')
                        or p.prosrc ~ '[=<>~|+*/@!^%&]|[^.a-z_][a-z_]+[(]')
                """, as: String.self)
            #expect(open == [])
            try await database.execute(
                """
                create schema evil;
                create type evil.uuid as (a int);
                create type evil.xid as (a int);
                create function evil.encode(bytea, text) returns text return 'evil'::text;
                create function evil.set_bit(bytea, int, int) returns bytea return 'evil'::bytea;
                create function evil.set_bit(bytea, bigint, int) returns bytea return 'evil'::bytea;
                create function evil.uuid_send(pg_catalog.uuid) returns bytea return 'evil'::bytea;
                create function evil.gen_random_uuid() returns pg_catalog.uuid return null::pg_catalog.uuid;
                create function evil.int8send(bigint) returns bytea return 'evil'::bytea;
                create function evil.date_part(text, timestamptz) returns float8 return 0::float8;
                create function evil.clock_timestamp() returns timestamptz return null::timestamptz;
                create function evil.times(float8, int) returns float8 return 0::float8;
                create operator evil.* (function = evil.times, leftarg = float8, rightarg = int);
                create function evil.xidsend(pg_catalog.xid) returns bytea return 'evil'::bytea;
                create function evil.pg_current_xact_id() returns xid8 return null::xid8;
                set search_path = evil, pg_catalog;
                """)
            // No plan of an earlier call is in this session.
            let id = try await database.value("select outrider.uuid_v7()", as: UUID.self)
            let now = try await database.value("select pg_catalog.clock_timestamp()", as: Timestamp.self)
            #expect(abs(Int64(id.high >> 16) - now.microseconds / 1000) < 60_000)
        }
    }

    /// Nor in the triggers, whose functions have none of their own.
    @Test func aPublishersPathChoosesNothing() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let application = try await database.login(memberOf: "outrider_app")
            try await database.execute(
                """
                create schema evil;
                grant usage on schema evil to public;
                create function evil.no(text, text) returns boolean return false;
                create operator evil.= (function = evil.no, leftarg = text, rightarg = text);
                create operator evil.<> (function = evil.no, leftarg = text, rightarg = text);
                create operator evil.~ (function = evil.no, leftarg = text, rightarg = text);
                create function evil.not_so(bytea, bytea) returns boolean return true;
                create operator evil.= (function = evil.not_so, leftarg = bytea, rightarg = bytea);
                create function evil.octet_length(text) returns int return 1000;
                create function evil.current_setting(text, boolean) returns text return null::text;
                create function evil.set_config(text, text, boolean) returns text return null::text;
                create function evil.pg_try_advisory_xact_lock_shared(int, int) returns boolean return false;
                create function evil.array_agg(text) returns text[] return null::text[];
                """)
            try await application.execute("set search_path = evil, pg_catalog")
            try await application.execute(
                """
                insert into outrider.outbox (topic, payload) values ('order.created', '{}');
                insert into outrider.outbox (topic, payload, headers) values ('order.created', '{}', '{"a": "b"}');
                insert into outrider.outbox (topic, payload, deliver_at)
                    values ('order.created', '{}', pg_catalog.clock_timestamp() operator(pg_catalog.+) '1 h');
                insert into outrider.outbox (id, topic, payload)
                    values ('8f3e2d1c-0000-4000-8000-000000000001', 'order.created', '{}');
                """)
            for (statement, state) in [
                ("insert into outrider.outbox (topic, payload) values ('Order', '{}')", "OR005"),
                (
                    """
                    insert into outrider.outbox (id, topic, payload)
                    values ('8f3e2d1c-0000-4000-8000-000000000001', 'order.created', '{}')
                    """, "OR008"
                ),
            ] {
                #expect(
                    try await failure { try await application.execute(statement) }?.state == state,
                    "\(statement)")
            }
            #expect(try await database.count("select count(*) from outrider.delivery") == 3)
            #expect(try await database.count("select count(*) from outrider.scheduled") == 1)
            await application.close()
        }
    }

    // MARK: - In action

    @Test func anApplicationPublishesAndTakesBack() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let application = try await database.login(memberOf: "outrider_app")
            let id = try await application.value(
                "insert into outrider.outbox (topic, payload, dedupe_key) values ('order.created', '{}', 'a') returning id",
                as: UUID.self)
            try await application.execute("select outrider.publish('order.created', '{}', deliver_at => now() + '1 h')")
            let copied = try await application.run { connection in
                try connection.copy(into: "copy outrider.outbox (id, topic, payload) from stdin") { write in
                    try write("8f3e2d1c-0000-4000-8000-000000000001\torder.created\t{}\n")
                }
            }
            #expect(copied == 1)
            #expect(try await application.value("select outrider.cancel_message(\(id))", as: Bool.self))
            #expect(try await database.count("select count(*) from outrider.deliveries") == 2)
            for statement in [
                "select payload from outrider.outbox", "update outrider.outbox set topic = 'a'",
                "delete from outrider.outbox", "truncate outrider.outbox", "select * from outrider.messages",
                "insert into outrider.outbox (topic, payload, published_at) values ('a', '{}', now())",
                "insert into outrider.delivery (subscription_id, message_id) values (1, gen_random_uuid())",
                "select outrider.pause('mail')", "select outrider.make_partitions()", "create table outrider.mine ()",
            ] {
                #expect(
                    try await failure { try await application.execute(statement) }?.state == "42501",
                    "\(statement)")
            }
            await application.close()
        }
    }

    @Test func anOperatorPutsRightUnderItsOwnName() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let letters = [
                try await database.deadLetter(of: "mail"), try await database.deadLetter(of: "mail"),
            ]
            let id = try await database.publish()
            let operatorSession = try await database.login(memberOf: "outrider_operator")
            try await operatorSession.execute(
                """
                select outrider.redrive('\(letters[0])'), outrider.discard('\(letters[1])', 'not wanted'),
                    outrider.pause('mail'), outrider.redrive_all('mail'),
                    outrider.replay('mail', now() - interval '1 h', now()), outrider.cancel_message('\(id)')
                """)
            let names = try await operatorSession.value(
                """
                select array[(select redriven_by from outrider.dead_letters where redriven_at is not null),
                    (select discarded_by from outrider.dead_letters where discarded_at is not null),
                    (select paused_by from outrider.subscriptions), (select cancelled_by from outrider.messages where id = \(id)),
                    (select min(created_by) from outrider.operations), (select max(created_by) from outrider.operations)]
                """, as: [String].self)
            #expect(Set(names) == ["\(database.name)_outrider_operator"])
            try await operatorSession.execute("select outrider.resume('mail')")
            for statement in [
                "insert into outrider.outbox (topic, payload) values ('a', '{}')", "select * from outrider.outbox",
                "update outrider.subscription set paused_at = now()", "delete from outrider.dead_letter",
            ] {
                #expect(
                    try await failure { try await operatorSession.execute(statement) }?.state == "42501",
                    "\(statement)")
            }
            await operatorSession.close()
        }
    }

    /// The role of `outrider run` owns nothing and is no superuser.
    @Test func aWorkerDoesAllItsWork() async throws {
        try await TestDatabase.with { database in
            // A day that is long gone, and one that is still to be made.
            try await database.partition(daysAgo: 9)
            try await database.publishAged("order.created", daysAgo: 9, count: 3)
            try await database.execute(
                """
                alter table outrider.outbox detach partition outrider.\(Partition.name(daysAgo: -7));
                drop table outrider.\(Partition.name(daysAgo: -7));
                delete from outrider.outbox_partition where name = '\(Partition.name(daysAgo: -7))'
                """)
            let worker = try await database.login(memberOf: "outrider_worker")
            let definition = try Definition(content: [
                "subscription": "mail", "topics": ["order.*"], "from": "earliest",
                "deliver": ["http": "POST http://127.0.0.1:9/"],
            ])
            let token = UUID.random()
            let report = try await worker.run { connection in
                #expect(try Migrator().mismatch(on: connection) == nil)
                #expect(try WorkerRegistry(connection).unsuitability() == nil)
                let store = DefinitionStore(connection)
                _ = try store.apply([definition], by: "worker", restores: false)
                let mail = try store.subscriptions()[0].id
                try WorkerRegistry(connection).register(
                    token: token, name: "w", version: "1", lease: .seconds(30))
                let housekeeping = Housekeeping(connection)
                #expect(try housekeeping.makePartitions() == 1)
                try housekeeping.carryOutOperations(most: 2)
                try connection.execute(
                    script: """
                        select outrider.publish('order.created', '{}'), outrider.publish('order.paid', '{}', deliver_at => now() + '1 ms');
                        """)
                var exchange = Exchange()
                exchange.readsHorizon = true
                exchange.requests = [ClaimRequest(subscription: mail, count: 10, floor: 0, removes: false)]
                let claimed = try exchange.run(on: connection, token: token, worker: "w").claimed
                #expect(claimed.count == 4)
                var results = Exchange()
                results.sleep = [mail]
                results.finished = claimed.enumerated().map { index, delivery in
                    let ending: FinishedTry.Ending =
                        switch index {
                        case 0: .done
                        case 1: .again(after: .zero, attempts: 1)
                        default: .dead(reason: "exhausted")
                        }
                    return FinishedTry(
                        delivery: delivery, attempt: 1, outcome: index == 0 ? "succeeded" : "failed",
                        error: "HTTP 500", ending: ending, isRecorded: index > 0)
                }
                #expect(try results.run(on: connection, token: token, worker: "w").late == 0)
                let beat = try housekeeping.beat(
                    Housekeeping.Vitals(
                        token: token, connectedFor: .seconds(1), inFlight: 0, isDraining: false, leads: false,
                        sweeps: true, floors: [(mail, 0)]))
                #expect(beat.isAlive && beat.leads)
                #expect(try housekeeping.moveDue(most: 10) >= 1)
                let operations = Operations(connection)
                _ = try operations.redriveAll(subscription: "mail", before: nil)
                try housekeeping.carryOutOperations(most: 1)
                #expect(
                    try connection.query("select count(*) from outrider.dead_letters where redriven_at is null")[0]
                        .decode(0, as: Int64.self) == 0)
                try connection.execute(script: "delete from outrider.delivery; delete from outrider.scheduled")
                #expect(try housekeeping.dropExpiredPartition() == Partition.name(daysAgo: 9))
                _ = try housekeeping.prune(most: 100)
                try WorkerRegistry(connection).unregister(token: token)
                #expect(try Diagnosis.of(connection).contains { $0.subject == "schema" && $0.verdict == .ok })
                return try QueueReport.read(on: connection)
            }
            #expect(report.depths.map(\.subscription) == ["mail"])
            await worker.close()
        }
    }
}
