package import Migrations
package import Postgres
package import Primitives

/// Brings the schema to the version that this binary knows. Safe from many places at once: one migrates, the others wait and find
/// nothing left to do.
package struct Migrator: Sendable {
    /// A step that is in force.
    package struct Applied: Sendable {
        package let version: Int
        package let name: String
        package let checksum: String
        package let appliedAt: Timestamp
        package let appliedBy: String
    }

    package struct Status: Sendable {
        package let applied: [Applied]
        package let pending: [Migration]
        /// Steps in the database that this binary does not know: it is older than the schema.
        package let unknown: [Applied]
        /// A handler's own database: it has what handlers need, and nothing else.
        package let isForHandlersOnly: Bool
    }

    private let migrations: [Migration]

    package init(migrations: [Migration] = Migration.all) {
        self.migrations = migrations
    }

    package func status(on connection: Connection) throws -> Status {
        let applied = try appliedSteps(on: connection)
        let known = Set(migrations.map(\.version))
        let done = Set(applied.map(\.version))
        let forHandlers = Set(migrations.filter(\.isForHandlers).map(\.version))
        return Status(
            applied: applied,
            pending: migrations.filter { !done.contains($0.version) },
            unknown: applied.filter { !known.contains($0.version) },
            isForHandlersOnly: !done.isEmpty && done.isSubset(of: forHandlers))
    }

    /// Applies what is pending, each step in its own transaction, and returns it.
    ///
    /// - Parameter handlersOnly: only what handlers need, in their own database.
    /// - Throws: `MigrationError` when the schema is newer than this binary, an applied step's SQL has changed, or what is to be a
    ///   handler's database has more than that, and less than all.
    package func up(on connection: Connection, handlersOnly: Bool = false) throws -> [Migration] {
        try exclusively(on: connection) {
            try connection.execute(script: Self.bookkeeping)
            let status = try status(on: connection)
            try check(status, on: connection)
            let wanted = handlersOnly ? status.pending.filter(\.isForHandlers) : status.pending
            if handlersOnly, !wanted.isEmpty, let newest = status.applied.last, !status.isForHandlersOnly {
                throw MigrationError.notForHandlersOnly(version: newest.version)
            }
            for migration in wanted {
                try connection.transaction {
                    try connection.execute(script: migration.up)
                    try record(migration, "up", on: connection)
                }
            }
            return wanted
        }
    }

    /// Takes steps back, the newest first, until `version` is the newest in force; 0 takes back all.
    package func down(to version: Int, on connection: Connection) throws -> [Migration] {
        try exclusively(on: connection) {
            let status = try status(on: connection)
            try check(status, on: connection)
            let undone = migrations.filter { step in
                step.version > version && status.applied.contains { $0.version == step.version }
            }.reversed()
            for migration in undone {
                try connection.transaction {
                    try connection.execute(script: migration.down)
                    try record(migration, "down", on: connection)
                }
            }
            return Array(undone)
        }
    }

    /// Nil when the schema is what this binary works with; else what is wrong, in one sentence that says what to do.
    package func mismatch(on connection: Connection) throws -> String? {
        let status = try status(on: connection)
        if let newer = status.unknown.last {
            return MigrationError.newerSchema(version: newer.version, name: newer.name, known: newest).description
        }
        if status.isForHandlersOnly {
            return "this database has only what handlers need: use Outrider's own, or run `outrider migrate` here"
        }
        if let missing = status.pending.first {
            return "the schema lacks migration \(missing.version) (\(missing.name)): run `outrider migrate`"
        }
        return nil
    }

    private var newest: Int { migrations.last?.version ?? 0 }

    private static let bookkeeping = """
        create schema if not exists outrider;
        create table if not exists outrider.migration (
            version int not null,
            name text not null,
            direction text not null,
            checksum text not null,
            at timestamptz not null default clock_timestamp(),
            by text not null default current_user
        );
        """

    /// The newest entry of each version tells whether it is in force: the table keeps what ran, both ways.
    private func appliedSteps(on connection: Connection) throws -> [Applied] {
        guard try connection.query("select to_regclass('outrider.migration') is not null")[0].decode(0, as: Bool.self)
        else { return [] }
        let rows = try connection.query(
            """
            select version, name, checksum, at, by from (
                select distinct on (version) * from outrider.migration order by version, at desc, ctid desc
            ) newest where direction = 'up' order by version
            """)
        return try rows.map { row in
            Applied(
                version: Int(try row.decode(0, as: Int32.self)), name: try row.decode(1, as: String.self),
                checksum: try row.decode(2, as: String.self), appliedAt: try row.decode(3, as: Timestamp.self),
                appliedBy: try row.decode(4, as: String.self))
        }
    }

    private func check(_ status: Status, on connection: Connection) throws {
        if let newer = status.unknown.last {
            throw MigrationError.newerSchema(version: newer.version, name: newer.name, known: newest)
        }
        for step in status.applied {
            guard let migration = migrations.first(where: { $0.version == step.version }) else { continue }
            guard try checksum(of: migration.up, on: connection) == step.checksum else {
                throw MigrationError.changed(version: step.version, name: step.name, appliedAt: step.appliedAt)
            }
        }
    }

    private func record(_ migration: Migration, _ direction: String, on connection: Connection) throws {
        let checksum = try checksum(of: migration.up, on: connection)
        _ = try connection.query(
            """
            insert into outrider.migration (version, name, direction, checksum)
            values (\(Int32(migration.version)), \(migration.name), \(direction), \(checksum))
            """)
    }

    private func checksum(of sql: String, on connection: Connection) throws -> String {
        try connection.query("select encode(sha256(convert_to(\(sql), 'UTF8')), 'hex')")[0].decode(0, as: String.self)
    }

    private func exclusively<T>(on connection: Connection, _ body: () throws -> T) throws -> T {
        _ = try connection.query("select pg_advisory_lock(\(AdvisoryLock.schema), 0)")
        // The lock goes with the session if unlocking fails.
        defer { _ = try? connection.query("select pg_advisory_unlock(\(AdvisoryLock.schema), 0)") }
        return try body()
    }
}

package enum MigrationError: Error, Sendable, CustomStringConvertible {
    case newerSchema(version: Int, name: String, known: Int)
    case changed(version: Int, name: String, appliedAt: Timestamp)
    case notForHandlersOnly(version: Int)

    package var description: String {
        switch self {
        case .newerSchema(let version, let name, let known):
            """
            the schema has migration \(version) (\(name)), this outrider knows up to \(known): \
            run the newer outrider, or take its migrations back with it first
            """
        case .changed(let version, let name, let appliedAt):
            """
            migration \(version) (\(name)), applied at \(appliedAt.rfc3339), has another content than in this outrider: \
            this is a different build of the same version; run the one that migrated this database
            """
        case .notForHandlersOnly(let version):
            """
            this database has Outrider's own schema, at version \(version): run `outrider migrate`, which brings what handlers \
            need with it
            """
        }
    }
}
