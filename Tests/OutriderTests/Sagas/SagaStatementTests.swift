import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Steps that are SQL statements: exactly once, with the least privilege, holding up nobody.
struct SagaStatementTests {
    static let ledger = """
        create schema shop;
        create table shop.ledger (id int generated always as identity, saga text not null, n int check (n < 100));
        create table shop.closed (n int);
        grant usage on schema shop to outrider_step;
        grant select, insert on shop.ledger to outrider_step;
        """

    static let book = """
        saga: book
        version: 1
        defaults:
          timeout: 30s
          retry: { attempts: 4, initial: 20ms }
        steps:
          - id: book
            call:
              sql: insert into shop.ledger (saga, n) values ($1, $2) returning id, n
              args: [ "${ .saga.id }", "${ .input.n }" ]
            compensate:
              call:
                sql: insert into shop.ledger (saga, n) values ($1, -$2::int)
                args: [ "${ .saga.id }", "${ .input.n }" ]
          - id: next
            if: ${ .input.next != null }
            call:
              sql: select pg_sleep($1::float8), current_user, (select count(*) from shop.ledger where saga = $2)
              args: [ "${ .input.next }", "${ .saga.id }" ]
          - id: last
            if: ${ .input.last == true }
            call: { sql: select * from shop.closed }
        output: { book: "${ .steps.book.output }", next: "${ .steps.next.output? }" }
        """

    @Test func aStatementRunsOnceAsTheStepsRoleAndItsRowsAreTheOutput() async throws {
        try await Scene.playing(Self.book) { scene in
            try await scene.database.execute(Self.ledger)
            let worker = try await scene.worker()
            let id = try await scene.play("book", #"{"n": 7, "next": 0}"#, to: "completed")
            let output: JSON = try await scene.database.value("select output from outrider.sagas where id = \(id)")
            #expect(output["book"]?["n"]?.int == 7)
            #expect(output["next"]?["current_user"]?.string == "outrider_step")
            #expect(output["next"]?["count"]?.int == 1)
            _ = worker
        }
    }

    @Test func whatTheServerRefusesIsFinalAndKnownNotToHaveHappened() async throws {
        try await Scene.playing(Self.book) { scene in
            try await scene.database.execute(Self.ledger)
            let worker = try await scene.worker()
            let violation = try await scene.play("book", #"{"n": 100}"#, to: "failed")
            #expect(try await scene.step("book", of: violation) == "failed 1, not_required 0")
            let privilege = try await scene.play("book", #"{"n": 5, "last": true}"#, to: "compensated")
            #expect(try await scene.step("last", of: privilege) == "failed 1, not_required 0")
            let failure: JSON = try await scene.database.value(
                "select failure from outrider.sagas where id = \(privilege)")
            #expect(failure["type"]?.string == "sql-42501")
            #expect(
                try await scene.database.count("select sum(n) from shop.ledger where saga = \(privilege.description)")
                    == 0)
            _ = worker
        }
    }

    @Test func aConstraintThatIsCheckedAtTheCommitFailsTheStepAsWell() async throws {
        try await Scene.playing(Self.book) { scene in
            try await scene.database.execute(
                Self.ledger + """
                    create table shop.known (n int primary key);
                    alter table shop.ledger add foreign key (n) references shop.known (n) deferrable initially deferred;
                    """)
            let worker = try await scene.worker()
            let id = try await scene.play("book", #"{"n": 5}"#, to: "failed")
            let failure: JSON = try await scene.database.value("select failure from outrider.sagas where id = \(id)")
            #expect(failure["type"]?.string == "sql-23503")
            _ = worker
        }
    }

    @Test func aStatementThatTakesTooLongIsTriedAgainAndItsLocksAsWell() async throws {
        let saga = Self.book.replacing("timeout: 30s", with: "timeout: 200ms").replacing(
            "attempts: 4", with: "attempts: 2")
        try await Scene.playing(saga) { scene in
            try await scene.database.execute(Self.ledger)
            let worker = try await scene.worker()
            let slow = try await scene.play("book", #"{"n": 5, "next": 30}"#, to: "compensated")
            #expect(try await scene.step("next", of: slow) == "failed 2, not_required 0")
            let blocker = Session(scene.database.url)
            try await blocker.run { try $0.execute(script: "begin; lock table shop.ledger in exclusive mode") }
            let locked = try await scene.play("book", #"{"n": 6}"#, to: "failed")
            #expect(try await scene.step("book", of: locked) == "failed 2, not_required 0")
            try await blocker.run { try $0.execute(script: "rollback") }
            await blocker.close()
            _ = worker
        }
    }

    @Test func aSlowStatementHoldsUpNoOtherSaga() async throws {
        try await Scene.playing(Self.book) { scene in
            try await scene.database.execute(Self.ledger)
            let worker = try await scene.worker()
            var slow: [UUID] = []
            for _ in 1...6 { slow.append(try await scene.start("book", #"{"n": 1, "next": 20}"#)) }
            try await eventually("they sleep") {
                try await scene.database.count(
                    "select count(*) from pg_stat_activity where datname = current_database() and query like '%pg_sleep%' and application_name like '% steps'"
                ) == 6
            }
            for _ in 1...20 { _ = try await scene.play("book", #"{"n": 1}"#, to: "completed") }
            for id in slow { #expect(try await scene.status(of: id) == "running") }
            _ = worker
        }
    }

    @Test(arguments: ["killed", "disconnected"])
    func aStatementIsDoneOnceWhateverDies(fault: String) async throws {
        try await Scene.playing(Self.book) { scene in
            try await scene.database.execute(Self.ledger)
            var worker = try await scene.worker()
            for n in 1...60 { _ = try await scene.start("book", #"{"n": \#(n), "next": 0.03}"#) }
            for round in 1...6 {
                try await eventually("it goes on") {
                    try await scene.database.count("select count(*) from shop.ledger") >= round * 8
                }
                if fault == "killed" {
                    worker.kill9()
                    worker = try await scene.worker()
                } else {
                    try await scene.act(
                        """
                        select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and application_name like '% steps'
                        """)
                }
            }
            try await eventually("all are done", within: .seconds(60)) {
                try await scene.database.count("select count(*) from outrider.sagas where finished_at is null") == 0
            }
            #expect(
                try await scene.database.count("select count(*) from outrider.sagas where status <> 'completed'") == 0)
            #expect(try await scene.database.count("select count(*) from shop.ledger") == 60)
            #expect(try await scene.database.count("select count(distinct saga) from shop.ledger") == 60)
            _ = worker
        }
    }
}
