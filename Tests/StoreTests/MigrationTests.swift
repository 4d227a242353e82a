import Migrations
import Postgres
import Primitives
import Store
import TestSupport
import Testing

struct MigrationTests {
    @Test func upAppliesAllAndTheSecondTimeNothing() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let first = try await database.run { try Migrator().up(on: $0).map(\.version) }
            let second = try await database.run { try Migrator().up(on: $0).map(\.version) }
            #expect(first == Migration.all.map(\.version))
            #expect(second == [])
            #expect(try await database.run { try Migrator().mismatch(on: $0) } == nil)
        }
    }

    @Test func eightAtOnceApplyEachStepOnce() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let applied = try await withThrowingTaskGroup(of: [Int].self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let session = Session(database.url)
                        let versions = try await session.run { try Migrator().up(on: $0).map(\.version) }
                        await session.close()
                        return versions
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(applied.sorted() == Migration.all.map(\.version))
        }
    }

    @Test func downToNothingAndUpAgainLeavesAnEqualSchema() async throws {
        try await TestDatabase.with { database in
            let before = try await database.values(Self.schema, as: String.self)
            let undone = try await database.run { try Migrator().down(to: 0, on: $0).map(\.version) }
            #expect(undone == Migration.all.map(\.version).reversed())
            #expect(
                try await database.values(
                    "select relname::text from pg_class where relnamespace = 'outrider'::regnamespace", as: String.self)
                    == ["migration"])
            #expect(
                try await database.count(
                    "select count(*) from pg_proc where pronamespace = 'outrider'::regnamespace") == 0)
            _ = try await database.run { try Migrator().up(on: $0) }
            let after = try await database.values(Self.schema, as: String.self)
            #expect(before.count > 100)
            #expect(Set(before).symmetricDifference(after) == [])
        }
    }

    @Test func downStopsAtTheVersionThatIsGiven() async throws {
        try await TestDatabase.with { database in
            let undone = try await database.run { try Migrator().down(to: 2, on: $0).map(\.version) }
            #expect(undone == Migration.all.map(\.version).filter { $0 > 2 }.reversed())
            let status = try await database.run { try Migrator().status(on: $0) }
            #expect(status.applied.map(\.version) == [1, 2])
            #expect(status.pending.map(\.version) == Migration.all.map(\.version).filter { $0 > 2 })
            let mismatch = try await database.run { try Migrator().mismatch(on: $0) }
            #expect(mismatch?.contains("lacks migration 3 (operators): run `outrider migrate`") == true)
        }
    }

    @Test func aNewerSchemaIsRefusedBothWays() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let future = Migration(version: 99, name: "future", up: "create table later ()", down: "drop table later")
            _ = try await database.run { try Migrator(migrations: [future]).up(on: $0) }
            for migrate in [Self.up, Self.downToNothing] {
                do {
                    try await database.run { try migrate(Migrator(), $0) }
                    Issue.record("it migrated a schema that is newer than itself")
                } catch let error as MigrationError {
                    #expect(error.description.contains("migration 99 (future)"))
                    #expect(error.description.contains("run the newer outrider"))
                }
            }
            #expect(try await database.count("select count(*) from pg_class where relname = 'later'") == 1)
        }
    }

    @Test func anAppliedStepWithOtherContentIsRefused() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let old = Migration(version: 1, name: "one", up: "create table one ()", down: "drop table one")
            let changed = Migration(version: 1, name: "one", up: "create table one (id int)", down: "drop table one")
            _ = try await database.run { try Migrator(migrations: [old]).up(on: $0) }
            for migrate in [Self.up, Self.downToNothing] {
                await #expect(throws: MigrationError.self) {
                    try await database.run { try migrate(Migrator(migrations: [changed]), $0) }
                }
            }
        }
    }

    @Test func aFailingStepIsRolledBackAsAWholeAndThoseBeforeItStay() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let good = Migration(version: 1, name: "good", up: "create table good ()", down: "drop table good")
            let bad = Migration(
                version: 2, name: "bad", up: "create table half (); select 1 / 0; create table rest ()", down: "")
            let error = try await failure {
                try await database.run { _ = try Migrator(migrations: [good, bad]).up(on: $0) }
            }
            #expect(error?.state == "22012")
            #expect(
                try await database.values(
                    "select relname::text from pg_class where relname in ('good', 'half', 'rest')", as: String.self)
                    == ["good"])
            let status = try await database.run { try Migrator(migrations: [good, bad]).status(on: $0) }
            #expect(status.applied.map(\.version) == [1])
            #expect(status.pending.map(\.version) == [2])
        }
    }

    @Test func everyRunIsRecordedBothWays() async throws {
        try await TestDatabase.with { database in
            _ = try await database.run { try Migrator().down(to: 3, on: $0) }
            _ = try await database.run { try Migrator().up(on: $0) }
            let rows = try await database.values(
                "select format('%s %s %s', version, direction, by) from outrider.migration order by at", as: String.self
            )
            let all = Migration.all.map(\.version)
            #expect(
                rows == all.map { "\($0) up postgres" } + all.filter { $0 > 3 }.reversed().map { "\($0) down postgres" }
                    + all.filter { $0 > 3 }.map { "\($0) up postgres" })
        }
    }

    /// For handlers in a database of their own.
    @Test func theHandlersStepNeedsNoneOfTheOthers() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let handlers = try #require(Migration.all.first { $0.name == "handlers" })
            _ = try await database.run { try Migrator(migrations: [handlers]).up(on: $0) }
            let answers = try await database.value(
                """
                select array[outrider.inbox_accept('billing', 'a'), outrider.inbox_accept('billing', 'a'),
                    outrider.barrier(gen_random_uuid(), 'charge', 'action')]
                """, as: [Bool].self)
            #expect(answers == [true, false, true])
            _ = try await database.run { try Migrator(migrations: [handlers]).down(to: 0, on: $0) }
            #expect(
                try await database.count("select count(*) from pg_proc where pronamespace = 'outrider'::regnamespace")
                    == 0)
        }
    }

    @Test func whatSagasHadIsGoneWithTheirMigrationAndTheRestStays() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder(["start_on": "order.placed"])
            try await database.subscribe("mail", to: "order.placed")
            try await database.start()
            try await database.publish("order.placed")
            _ = try await database.run { try Migrator().down(to: 3, on: $0) }
            #expect(try await database.run { try Housekeeping($0).buryRemoved(most: 10) } == 1)
            #expect(
                try await database.values("select subscription from outrider.deliveries", as: String.self) == ["mail"])
            _ = try await database.run { try Migrator().up(on: $0) }
            #expect(try await database.count("select count(*) from outrider.sagas") == 0)
            try await database.placeOrder(["start_on": "order.placed"])
            try await database.start()
        }
    }

    @Test func anOwnerWhoMayNotCreateRolesMigratesWhereTheRolesExist() async throws {
        try await TestDatabase.with { other in  // its template made the roles
            try await other.execute("create role \(other.name)_owner login")
            try await TestDatabase.with(migrated: false) { database in
                try await database.execute("alter database \(database.name) owner to \(other.name)_owner")
                let owner = Session(database.url.replacing("postgres@", with: "\(other.name)_owner@"))
                _ = try await owner.run { try Migrator().up(on: $0) }
                await owner.close()
            }
        }
    }

    // MARK: -

    private static let up: @Sendable (Migrator, Connection) throws -> Void = { _ = try $0.up(on: $1) }
    private static let downToNothing: @Sendable (Migrator, Connection) throws -> Void = {
        _ = try $0.down(to: 0, on: $1)
    }

    /// Everything that the schema consists of, a line each.
    private static let schema: SQL = """
        select format('column %s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            pg_get_expr(d.adbin, d.adrelid)) || coalesce(a.attacl::text, '')
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace = 'outrider'::regnamespace
        union all
        select format('relation %s %s %s %s', relname, relkind, reloptions, relacl)
        from pg_class where relnamespace = 'outrider'::regnamespace
        union all
        select format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid))
        from pg_constraint where connamespace = 'outrider'::regnamespace
        union all
        select indexdef from pg_indexes where schemaname = 'outrider'
        union all
        select pg_get_functiondef(oid) || coalesce(proacl::text, '') from pg_proc where pronamespace = 'outrider'::regnamespace
        union all
        select viewname || definition from pg_views where schemaname = 'outrider'
        union all
        select pg_get_triggerdef(t.oid)
        from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = 'outrider'::regnamespace
        """
}
