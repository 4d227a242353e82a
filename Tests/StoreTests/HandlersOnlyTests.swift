import EmbeddedPostgres
import Migrations
import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// What handlers need, in a database of their own.
struct HandlersOnlyTests {
    private static let all = Migration.all.map(\.version)
    private static let calls = """
        select outrider.inbox_accept('billing', 'm1'), outrider.inbox_accept('billing', 'm1'),
            outrider.barrier('8f3e2d1c-0000-4000-8000-000000000001', 'charge', 'action'),
            outrider.barrier('8f3e2d1c-0000-4000-8000-000000000001', 'charge', 'compensate')
        """

    /// On a server that has never heard of Outrider's roles, by somebody who may not create any.
    @Test func itNeedsNoRolesAndAnyRoleCallsIt() async throws {
        let server = try EmbeddedPostgres.temporary()
        let admin = Session(server.url())
        try await admin.execute("create role shop login; create role billing login")
        try await admin.execute("create database shop owner shop")
        let owner = Session(server.url(database: "shop").replacing("postgres@", with: "shop@"))
        for expected in [[5], []] {
            #expect(try await owner.run { try Migrator().up(on: $0, handlersOnly: true).map(\.version) } == expected)
        }
        let status = try await owner.run { try Migrator().status(on: $0) }
        #expect(status.isForHandlersOnly)
        #expect(status.applied.map(\.version) == [5])
        #expect(status.pending.map(\.version) == Self.all.filter { $0 != 5 })
        #expect(
            try await owner.run { try Migrator().mismatch(on: $0) }?.contains("only what handlers need") == true)

        let handler = Session(server.url(database: "shop").replacing("postgres@", with: "billing@"))
        let answers = try await handler.run { connection in
            let row = try connection.query("\(unsafeSQL: Self.calls)")[0]
            return try (0..<4).map { try row.decode($0, as: Bool.self) }
        }
        #expect(answers == [true, false, true, true])
        let reading = try await failure { try await handler.execute("select * from outrider.inbox") }
        #expect(reading?.state == "42501")
        #expect(
            try await admin.value("select count(*) from pg_roles where rolname ~ '^outrider'", as: Int64.self) == 0)

        #expect(try await owner.run { try Migrator().down(to: 4, on: $0).map(\.version) } == [5])
        #expect(
            try await owner.value(
                "select count(*) from pg_proc where pronamespace = 'outrider'::regnamespace", as: Int64.self) == 0)
        #expect(
            try await owner.value("select has_schema_privilege('billing', 'outrider', 'usage')", as: Bool.self) == false
        )
        for session in [owner, handler, admin] { await session.close() }
        server.stop()
    }

    @Test func theWholeSchemaMayFollowAndTheHandlersGoOn() async throws {
        try await TestDatabase.with(migrated: false) { database in
            _ = try await database.run { try Migrator().up(on: $0, handlersOnly: true) }
            try await database.execute("create role \(database.name)_billing login")
            let handler = Session(database.url.replacing("postgres@", with: "\(database.name)_billing@"))
            try await handler.execute(Self.calls)
            #expect(
                try await database.run { try Migrator().up(on: $0).map(\.version) } == Self.all.filter { $0 != 5 })
            #expect(try await database.run { try Migrator().mismatch(on: $0) } == nil)
            try await handler.execute(Self.calls)
            let publishing = try await failure { try await handler.execute("select outrider.publish('a', '{}')") }
            #expect(publishing?.state == "42501")
            #expect(
                try await database.values(
                    """
                    select p.proname::text
                    from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                    where p.pronamespace = 'outrider'::regnamespace and a.grantee = 0 order by 1
                    """, as: String.self) == ["barrier", "inbox_accept"])
            await handler.close()
            #expect(try await database.run { try Migrator().down(to: 0, on: $0).count } == Self.all.count)
            #expect(try await database.run { try Migrator().up(on: $0).map(\.version) } == Self.all)
        }
    }

    @Test func aDatabaseThatHasEverythingIsLeftAsItIs() async throws {
        try await TestDatabase.with { database in
            let applied = try await database.run { try Migrator().up(on: $0, handlersOnly: true).map(\.version) }
            #expect(applied == [])
            let status = try await database.run { try Migrator().status(on: $0) }
            #expect(!status.isForHandlersOnly)
        }
    }

    @Test func anOlderSchemaOfOutriderIsNotMadeHalfOfANewerOne() async throws {
        try await TestDatabase.with { database in
            _ = try await database.run { try Migrator().down(to: 3, on: $0) }
            let error = await #expect(throws: MigrationError.self) {
                try await database.run { _ = try Migrator().up(on: $0, handlersOnly: true) }
            }
            #expect(error?.description.contains("Outrider's own schema, at version 3: run `outrider migrate`") == true)
        }
    }
}
