import Expressions
package import Postgres
import Primitives
package import Sagas
package import WorkflowFiles

/// Saga definitions as the database keeps them: every content that was ever applied, by name, version and hash. A running saga
/// is pinned to the one it began with.
package struct SagaDefinitions {
    package struct ContentChanged: Error, CustomStringConvertible {
        package let name: String
        package let version: Int

        package var description: String {
            """
            saga \(name) version \(version) was applied with other content; a version stays as it is, since sagas may be \
            running it: give the changed one version \(version + 1)
            """
        }
    }

    /// What a worker serves under one name.
    package struct SagaType: Sendable {
        package let id: Int32
        package let name: String
        /// The subscription whose messages start it.
        package let startedBy: Int32?
        /// Where the queue has it; see the migration's head.
        package var lane: Int32 { -id }
    }

    private let connection: Connection

    package init(_ connection: Connection) {
        self.connection = connection
    }

    /// - Throws: `ContentChanged`.
    func checkUnchanged(_ saga: SagaDefinition, hash: String) throws {
        let other = try connection.query(
            """
            select from outrider.definition d
            where d.kind = 'saga' and d.name = \(saga.name) and d.version = \(Int32(saga.version)) and d.hash <> \(hash)
            """)
        guard other.isEmpty else { throw ContentChanged(name: saga.name, version: saga.version) }
    }

    /// Makes a definition the one that new sagas run.
    func materialise(_ saga: SagaDefinition, hash: String) throws {
        try connection.query(
            """
            insert into outrider.saga_type as t (name, version, hash, key_parts, reuse_key, retention)
            values (\(saga.name), \(Int32(saga.version)), \(hash), \(saga.key.map(Self.parts)), \(saga.reusesKey),
                \(saga.retention))
            on conflict (name) do update
                set version = excluded.version, hash = excluded.hash, key_parts = excluded.key_parts,
                    reuse_key = excluded.reuse_key, retention = excluded.retention, removed_at = null
            """)
        if let topic = saga.startOn {
            try connection.query(
                """
                with starting as (
                    insert into outrider.subscription as s (name, topics, saga)
                    values ('saga:' || \(saga.name), \([topic]), \(saga.name))
                    on conflict (name) do update set topics = excluded.topics, removed_at = null
                    returning id
                )
                insert into outrider.route (subscription_id, exact_topics)
                select s.id, \([topic]) from starting s
                on conflict (subscription_id) do update set exact_topics = excluded.exact_topics
                """)
        } else {
            try removeStart(saga.name)
        }
    }

    func remove(_ name: String) throws {
        try connection.query("update outrider.saga_type t set removed_at = clock_timestamp() where t.name = \(name)")
        try removeStart(name)
    }

    private func removeStart(_ name: String) throws {
        try connection.query(
            """
            with removed as (
                update outrider.subscription s set removed_at = clock_timestamp()
                where s.saga = \(name) and s.removed_at is null
                returning id
            )
            delete from outrider.route r using removed where r.subscription_id = removed.id
            """)
    }

    /// A plain path, or a text of plain paths, as the function `outrider.saga_key` reads it.
    private static func parts(_ key: Template) -> JSON {
        .array(
            key.parts.map { part in
                switch part {
                case .text(let text): return ["text": .string(text)]
                case .expression(let expression):
                    // The first member is `input`.
                    let segments = (expression.path?.segments ?? []).dropFirst()
                    return [
                        "path": .array(
                            segments.map { segment in
                                switch segment {
                                case .member(let name): .string(name)
                                case .index(let index): .string(String(index))
                                }
                            })
                    ]
                }
            })
    }

    // MARK: - Reading

    /// `names` nil means all. Removed ones among them: what runs goes on.
    package func types(named names: [String]? = nil) throws -> [SagaType] {
        try connection.query(
            """
            select t.id, t.name, s.id from outrider.saga_type t
            left join outrider.subscription s on s.saga = t.name and s.removed_at is null
            where \(names == nil) or t.name = any (\(names ?? []))
            order by t.name
            """
        ).map { row in
            SagaType(
                id: try row.decode(0, as: Int32.self), name: try row.decode(1, as: String.self),
                startedBy: try row.decode(2, as: Int32?.self))
        }
    }

    /// The newest definition of each name, for what a worker needs to serve it.
    package func current(named names: [String]? = nil) throws -> [Result<SagaDefinition, DefinitionError>] {
        try connection.query(
            """
            select d.content from outrider.saga_type t
            join outrider.definition d on d.kind = 'saga' and d.name = t.name and d.hash = t.hash
            where \(names == nil) or t.name = any (\(names ?? []))
            """
        ).map { Self.definition(try $0.decode(0, as: JSON.self)) }
    }

    package func definition(_ name: String, hash: String) throws -> Result<SagaDefinition, DefinitionError> {
        let rows = try connection.query(
            "select d.content from outrider.definition d where d.kind = 'saga' and d.name = \(name) and d.hash = \(hash)"
        )
        guard let row = rows.first else {
            return .failure(DefinitionError(messages: ["the database holds no such definition"]))
        }
        return Self.definition(try row.decode(0, as: JSON.self))
    }

    private static func definition(_ content: JSON) -> Result<SagaDefinition, DefinitionError> {
        Result { () throws(DefinitionError) in
            guard case .saga(let saga) = try Definition(content: content) else {
                throw DefinitionError(messages: ["it is no saga"])
            }
            return saga
        }
    }
}
