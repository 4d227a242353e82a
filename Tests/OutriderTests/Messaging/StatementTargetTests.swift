import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Subscriptions whose target is a statement: exactly once, whatever dies.
struct StatementTargetTests {
    static let ledger = """
        create schema shop;
        create table shop.ledger (id int generated always as identity, message text not null, n int check (n < 1000));
        grant usage on schema shop to outrider_step;
        grant select, insert on shop.ledger to outrider_step;
        """

    /// - Parameter options: further lines of the subscription.
    static func book(
        _ options: String = "", sql: String = "insert into shop.ledger (message, n) values ($1, $2)",
        args: String = #"[ "${ .id }", "${ .payload.n }" ]"#
    ) -> String {
        """
        subscription: book
        topics: [ order.created ]
        deliver:
          sql: \(sql)
          args: \(args)
        \(options)
        """
    }

    private func playing(_ workflows: String, _ body: (Scene) async throws -> Void) async throws {
        try await Scene.with(workflows: workflows) { scene in
            try await scene.database.execute(Self.ledger)
            _ = try await scene.command("apply")
            try await body(scene)
        }
    }

    private func letter(_ scene: Scene) async throws -> String {
        try await eventually("there is a dead letter") { try await scene.deadLetters() == 1 }
        return try await scene.database.value(
            "select concat_ws(' ', reason, attempts, last_error) from outrider.dead_letters")
    }

    @Test func aStatementSeesTheMessageAndRunsAsTheStepsRole() async throws {
        let workflow = Self.book(
            "audit: all",
            sql:
                "insert into shop.seen select $1::jsonb, $2, $3, $4, $5, $6, $7, $8::numeric, current_user, current_setting('statement_timeout')",
            args: """

                      - ${ .payload }
                      - ${ .topic }
                      - ${ .key }
                      - ${ .headers["x-a"] }!
                      - ${ .id }
                      - ${ .attempt }
                      - ${ $env.SHOP } and ${ .payload.none }
                      - ${ .payload.big }
                """)
        try await Scene.with(workflows: workflow) { scene in
            try await scene.database.execute(
                """
                create schema shop;
                create table shop.seen (payload jsonb, topic text, key text, header text, id text, attempt text, env text, big numeric,
                    role text, timeout text);
                grant usage on schema shop to outrider_step;
                grant insert on shop.seen to outrider_step;
                """)
            _ = try await scene.command("apply")
            let id: UUID = try await scene.database.value(
                """
                select outrider.publish('order.created', '{"n": 1, "big": 12345678901234567890.5}', key => 'k',
                    headers => '{"x-a": "b"}')
                """)
            let worker = try await scene.worker()
            try await scene.waitUntilDelivered()
            let row: JSON = try await scene.database.value("select to_jsonb(s) from shop.seen s")
            #expect(row["payload"]?["n"] == 1)
            #expect(row["big"]?.text == "12345678901234567890.5")
            #expect(row["topic"] == "order.created")
            #expect(row["key"] == "k")
            #expect(row["header"] == "b!")
            #expect(row["id"]?.string == id.description)
            #expect(row["attempt"] == "1")
            #expect(row["env"]?.string == "\(scene.handler.url) and null")
            #expect(row["role"] == "outrider_step")
            #expect(row["timeout"] == "30s")
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'succeeded' and attempt = 1") == 1)
            #expect(scene.handler.count() == 0)
            _ = worker
        }
    }

    @Test func whatTheServerRefusesIsALetterAtOnceAndNothingOfItHappens() async throws {
        try await playing(Self.book()) { scene in
            let worker = try await scene.worker()
            try await scene.database.query("select outrider.publish('order.created', '{\"n\": 1000}')")
            #expect(try await letter(scene).hasPrefix("refused 1 "))
            #expect(try await scene.database.count("select count(*) from shop.ledger") == 0)
            // Once the reason is gone, it can be sent again.
            try await scene.database.execute(
                """
                alter table shop.ledger drop constraint ledger_n_check;
                select outrider.redrive(id) from outrider.dead_letters;
                """)
            try await eventually("it is booked") {
                try await scene.database.count("select count(*) from shop.ledger") == 1
            }
            _ = worker
        }
    }

    @Test func aConstraintThatIsCheckedAtTheCommitFailsTheDelivery() async throws {
        try await playing(Self.book()) { scene in
            try await scene.database.execute(
                """
                create table shop.known (n int primary key);
                alter table shop.ledger add foreign key (n) references shop.known (n) deferrable initially deferred;
                """)
            let worker = try await scene.worker()
            try await scene.publish()
            #expect(try await letter(scene).hasPrefix("refused 1 "))
            #expect(try await scene.database.count("select count(*) from shop.ledger") == 0)
            _ = worker
        }
    }

    @Test func aStatementThatTakesTooLongIsTriedAgain() async throws {
        let workflow = Self.book(
            "timeout: 200ms\nretry: { attempts: 2, initial: 10ms }", sql: "select pg_sleep(30)", args: "[]")
        try await playing(workflow) { scene in
            let worker = try await scene.worker()
            try await scene.publish()
            #expect(try await letter(scene).hasPrefix("exhausted 2 "))
            _ = worker
        }
    }

    @Test func anArgumentThatFailsIsALetterWithoutAStatement() async throws {
        try await playing(Self.book(args: #"[ "${ .id }", "${ .payload.n | ascii_downcase }" ]"#)) { scene in
            let worker = try await scene.worker()
            try await scene.publish()
            #expect(try await letter(scene).hasPrefix("expression 1 argument: "))
            #expect(try await scene.database.count("select count(*) from shop.ledger") == 0)
            _ = worker
        }
    }

    /// A procedure that commits would acknowledge what it has not done yet.
    @Test func aProcedureCannotEndTheTransaction() async throws {
        try await playing(Self.book(sql: "call shop.sneak()", args: "[]")) { scene in
            try await scene.database.execute(
                "create procedure shop.sneak() language plpgsql as $$ begin commit; end $$")
            let worker = try await scene.worker()
            try await scene.publish()
            #expect(try await letter(scene).hasPrefix("refused 1 "))
            _ = worker
        }
    }

    @Test func whatIsFilteredOrExpiredIsNotRun() async throws {
        try await playing(Self.book("filter: ${ .payload.n > 2 }")) { scene in
            try await scene.publish(3)
            try await scene.database.query(
                "select outrider.publish('order.created', '{\"n\": 9}', expires_at => clock_timestamp() - interval '1 s')"
            )
            let worker = try await scene.worker()
            try await scene.waitUntilDelivered()
            #expect(try await scene.database.count("select sum(n) from shop.ledger") == 3)
            _ = worker
        }
    }

    @Test func anOrderedKeyIsBookedInItsOrder() async throws {
        try await playing(Self.book("ordered: true", args: #"[ "${ .key }", "${ .payload.n }" ]"#)) { scene in
            try await scene.database.query(
                """
                insert into outrider.outbox (topic, key, payload)
                select 'order.created', 'k' || n % 3, jsonb_build_object('n', n) from generate_series(1, 90) n
                """)
            let workers = [try await scene.worker(), try await scene.worker()]
            try await scene.waitUntilDelivered()
            #expect(try await scene.database.count("select count(*) from shop.ledger") == 90)
            #expect(
                try await scene.database.count(
                    """
                    select count(*) from (
                        select n < lag(n) over (partition by message order by id) as is_late from shop.ledger
                    ) l where is_late
                    """) == 0)
            _ = workers
        }
    }

    @Test func slowStatementsHoldUpNoOtherSubscription() async throws {
        let slow = Self.book("concurrency: 2", sql: "select pg_sleep(600)", args: "[]").replacing(
            "subscription: book", with: "subscription: slow")
        try await playing(slow + "\n---\n" + Self.book()) { scene in
            let worker = try await scene.worker(environment: ["OUTRIDER_GRACE": "100ms"])
            try await scene.publish(50)
            try await eventually("all are booked") {
                try await scene.database.count("select count(*) from shop.ledger") == 50
            }
            let sleeping: SQL = """
                select count(*) from pg_stat_activity
                where datname = current_database() and application_name like '% steps' and query like '%pg_sleep%' and state = 'active'
                """
            try await eventually("as many sleep as may") { try await scene.database.count(sleeping) == 2 }
            // After the grace period they end, and count as no try.
            worker.terminate()
            #expect(try await worker.exit(within: .seconds(20)) == .code(0))
            #expect(try await scene.database.count(sleeping) == 0)
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.deliveries where subscription = 'slow' and attempt <= 1 and state <> 'in_flight'"
                )
                    == 50)
            #expect(try await scene.database.count("select count(*) from outrider.delivery_attempts") == 0)
        }
    }

    @Test(arguments: ["killed", "disconnected", "frozen"])
    func eachMessageIsBookedOnceWhateverDies(fault: String) async throws {
        let workflow = Self.book(
            "retry: { attempts: forever, initial: 10ms, max: 100ms }\nconcurrency: 16",
            sql: "insert into shop.ledger (message, n) select $1, $2::int from pg_sleep(0.02)")
        try await playing(workflow) { scene in
            var worker = try await scene.worker()
            var others: [RunningOutrider] = []
            try await scene.publish(300)
            for round in 1...5 {
                try await eventually("it goes on", within: .seconds(60)) {
                    try await scene.database.count("select count(*) from shop.ledger") >= round * 40
                }
                switch fault {
                case "killed":
                    worker.kill9()
                    worker = try await scene.worker()
                case "frozen":
                    worker.freeze()
                    others.append(worker)
                    worker = try await scene.worker()
                default:
                    try await scene.database.query(
                        """
                        select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and application_name like '% steps'
                        """)
                }
            }
            for other in others { other.thaw() }
            try await eventually("all are delivered", within: .seconds(60)) { try await scene.undelivered() == 0 }
            #expect(try await scene.database.count("select count(*) from shop.ledger") == 300)
            #expect(try await scene.database.count("select count(distinct message) from shop.ledger") == 300)
            #expect(try await scene.deadLetters() == 0)
            _ = worker
        }
    }

    @Test func eachMessageIsBookedOnceThoughPostgresIsStoppedInTheMiddle() async throws {
        let postgres = try EmbeddedPostgres.temporary(settings: [("max_connections", "60")])
        let folder = TemporaryFolder()
        folder.write(
            Self.book(
                "retry: { attempts: forever, initial: 10ms, max: 100ms }\nconcurrency: 16",
                sql: "insert into shop.ledger (message, n) select $1, $2::int from pg_sleep(0.02)"), to: "book.yaml")
        let environment = ["OUTRIDER_DATABASE_URL": postgres.url(), "OUTRIDER_WORKFLOWS": folder.path]
        #expect(try await RunningOutrider.run(["migrate"], environment: environment).exit == .code(0))
        let worker = try RunningOutrider(["run"], environment: environment)
        try await worker.waitForLog("worker.ready")
        func count(_ sql: SQL) async throws -> Int {
            let session = Session(postgres.url())
            let count = try await session.run { try Int($0.query(sql)[0].decode(0, as: Int64.self)) }
            await session.close()
            return count
        }
        let session = Session(postgres.url())
        try await session.run { connection in
            try connection.execute(script: Self.ledger)
            try connection.query(
                """
                insert into outrider.outbox (topic, payload)
                select 'order.created', jsonb_build_object('n', n) from generate_series(1, 300) n
                """)
        }
        await session.close()
        for round in 1...3 {
            try await eventually("it goes on", within: .seconds(60)) {
                try await count("select count(*) from shop.ledger") >= round * 60
            }
            if round == 2 { postgres.killServer() } else { postgres.stop(.immediate) }
            try postgres.start()
        }
        try await eventually("all are delivered", within: .seconds(90)) {
            try await count("select count(*) from outrider.deliveries") == 0
        }
        #expect(try await count("select count(*) from shop.ledger") == 300)
        #expect(try await count("select count(distinct message) from shop.ledger") == 300)
        #expect(try await count("select count(*) from outrider.dead_letters") == 0)
        worker.terminate()
        #expect(try await worker.exit() == .code(0))
        postgres.stop()
    }

    /// The server commits and has no time to say so.
    @Test func aConnectionLostAtTheCommitIsAnsweredByTheQueue() async throws {
        let postgres = try EmbeddedPostgres.temporary(
            settings: [("synchronous_standby_names", "nobody"), ("synchronous_commit", "local")])
        let folder = TemporaryFolder()
        folder.write(Self.book(sql: "select shop.book($1, $2)"), to: "book.yaml")
        let environment = ["OUTRIDER_DATABASE_URL": postgres.url(), "OUTRIDER_WORKFLOWS": folder.path]
        #expect(try await RunningOutrider.run(["migrate"], environment: environment).exit == .code(0))
        let worker = try RunningOutrider(["run"], environment: environment)
        try await worker.waitForLog("worker.ready")
        let session = Session(postgres.url())
        // Its commit waits for a standby that is not there.
        try await session.run { connection in
            try connection.execute(
                script: Self.ledger + """
                    create function shop.book(message text, n text) returns void language plpgsql as $$
                    begin
                        perform set_config('synchronous_commit', 'on', true);
                        insert into shop.ledger (message, n) values (message, n::int);
                    end $$;
                    insert into outrider.outbox (topic, payload) values ('order.created', '{"n": 1}');
                    """)
        }
        func count(_ sql: SQL) async throws -> Int {
            try await session.run { try Int($0.query(sql)[0].decode(0, as: Int64.self)) }
        }
        try await eventually("the commit waits") {
            try await count(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'") == 1
        }
        try await eventually("it is delivered") { try await count("select count(*) from outrider.deliveries") == 0 }
        worker.terminate()
        #expect(try await worker.exit() == .code(0))
        #expect(try await count("select count(*) from shop.ledger") == 1)
        #expect(try await count("select count(*) from outrider.delivery_attempts") == 0)
        await session.close()
        postgres.stop()
    }
}
