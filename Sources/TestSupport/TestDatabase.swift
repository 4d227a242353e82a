package import EmbeddedPostgres
package import Postgres
import Store
import Synchronization

/// One PostgreSQL for all tests of the process, which dies with it.
package enum TestCluster {
    package static let shared: EmbeddedPostgres = {
        do {
            return try EmbeddedPostgres.temporary(
                settings: [
                    ("fsync", "off"), ("max_connections", "300"), ("shared_buffers", "128MB"),
                    ("max_locks_per_transaction", "256"), ("max_prepared_transactions", "8"),
                    ("log_min_messages", "fatal"), ("autovacuum_naptime", "10s"),
                ])
        } catch {
            preconditionFailure("the tests' PostgreSQL does not start: \(error)")
        }
    }()

    /// A database with the schema, which the tests' databases are copies of.
    fileprivate static let template: Task<String, any Error> = Task {
        let admin = Session(shared.url())
        try await admin.run { try $0.execute(script: "create database outrider_template") }
        let session = Session(shared.url(database: "outrider_template"))
        try await session.run { _ = try Migrator().up(on: $0) }
        await session.close()
        await admin.close()
        return "outrider_template"
    }
}

/// A database of one test, dropped after it.
package struct TestDatabase: Sendable {
    package let name: String
    package let url: String
    package let session: Session

    /// - Parameter migrated: whether it begins with Outrider's schema.
    package static func with<T>(migrated: Bool = true, _ body: (TestDatabase) async throws -> T) async throws -> T {
        try await turnstile.pass { try await withOneMore(migrated, body) }
    }

    /// All tests begin at once. If each had its database at once, none would get anywhere in time.
    private static let turnstile = Turnstile(24)

    private static func withOneMore<T>(_ migrated: Bool, _ body: (TestDatabase) async throws -> T) async throws -> T {
        let cluster = TestCluster.shared
        let name = "test_\(numbers.add(1, ordering: .relaxed).newValue)"
        let template = migrated ? try await TestCluster.template.value : "template0"
        let admin = Session(cluster.url())
        try await admin.run { try $0.execute(script: "create database \(name) template \(template)") }
        let database = TestDatabase(
            name: name, url: cluster.url(database: name), session: Session(cluster.url(database: name)))
        let result: Result<T, any Error>
        do { result = .success(try await body(database)) } catch { result = .failure(error) }
        await database.session.close()
        try await admin.run { try $0.execute(script: "drop database \(name) with (force)") }
        await admin.close()
        return try result.get()
    }

    private static let numbers = Atomic(0)

    package func run<T: Sendable>(_ body: @escaping @Sendable (Connection) throws -> T) async throws -> T {
        try await session.run(body)
    }

    package func execute(_ script: String) async throws {
        try await session.run { try $0.execute(script: script) }
    }

    package func query(_ sql: SQL) async throws {
        try await session.run { _ = try $0.query(sql) }
    }

    /// The only value of the only row.
    package func value<Value: PostgresDecodable & Sendable>(_ sql: SQL, as type: Value.Type = Value.self) async throws
        -> Value
    {
        try await session.run { connection in
            let rows = try connection.query(sql)
            guard rows.count == 1 else { throw WrongRowCount(count: rows.count) }
            return try rows[0].decode(0, as: type)
        }
    }

    package func count(_ sql: SQL) async throws -> Int {
        try await Int(value(sql, as: Int64.self))
    }

    package struct WrongRowCount: Error {
        let count: Int
    }
}
