import Postgres
import Primitives
import Store
import TestSupport
import WorkflowFiles

extension TestDatabase {
    /// Applies a subscription, as `outrider apply` does with a file.
    func subscribe(_ name: String, to topics: String..., from: JSON = "now") async throws {
        try await apply(Definition.content(of: name, to: topics, from: from))
    }

    func apply(_ content: JSON..., by: String = "test", prunes: Bool = false) async throws {
        let definitions = try content.map { try Definition(content: $0) }
        try await run {
            _ = try DefinitionStore($0).apply(definitions, by: by, restores: true, prunes: prunes)
        }
    }

    @discardableResult
    func publish(_ topic: String = "order.created", key: String? = nil) async throws -> UUID {
        try await value("select outrider.publish(\(topic), '{}', key => \(key))")
    }

    /// Publishes so many messages in one statement; the payloads are numbered from 1.
    func publish(_ count: Int, topic: String = "order.created") async throws {
        try await query(
            """
            insert into outrider.outbox (topic, key, payload)
            select \(topic), 'k' || n, jsonb_build_object('n', n) from generate_series(1, \(Int32(count))) n
            """)
    }

    /// A dead letter of a message that was published just now.
    func deadLetter(of subscription: String, topic: String = "order.created") async throws -> UUID {
        let message = try await publish(topic)
        return try await value(
            """
            with gone as (
                delete from outrider.delivery d using outrider.subscription s
                where s.id = d.subscription_id and s.name = \(subscription) and d.message_id = \(message) returning d.*
            )
            select outrider.bury(g.subscription_id, g.message_id, 3, now(), 'exhausted', 'HTTP 503') from gone g
            """)
    }

    /// The first column of all rows.
    func values<Value: PostgresDecodable & Sendable>(_ sql: SQL, as type: Value.Type = Value.self) async throws
        -> [Value]
    {
        try await run { try $0.query(sql).map { try $0.decode(0, as: type) } }
    }

    /// A session of a new login that is a member of this role only; called `<database>_<role>`.
    func login(memberOf role: String) async throws -> Session {
        let login = "\(name)_\(role)"
        try await execute("create role \(login) login in role \(role)")
        return Session(url.replacing("postgres@", with: "\(login)@"))
    }

    /// Waits until so many sessions of this database wait for a lock.
    func waitForBlocked(_ count: Int = 1) async throws {
        try await eventually("\(count) sessions wait for a lock") {
            try await self.count(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
                == count
        }
    }
}

extension Definition {
    /// Of a subscription, as a file has it.
    static func content(of name: String, to topics: [String], from: JSON = "now") -> JSON {
        [
            "subscription": JSON(name), "topics": .array(topics.map { JSON($0) }), "from": from,
            "deliver": ["http": "POST http://127.0.0.1:9/\(name)"],
        ]
    }
}

extension Session {
    func execute(_ script: String) async throws {
        try await run { try $0.execute(script: script) }
    }

    func value<Value: PostgresDecodable & Sendable>(_ sql: SQL, as type: Value.Type = Value.self) async throws -> Value
    {
        try await run { try $0.query(sql)[0].decode(0, as: type) }
    }
}

/// How the body fails in the database; nil when it does not.
func failure(_ body: () async throws -> some Any) async throws -> PostgresError? {
    do {
        _ = try await body()
        return nil
    } catch let error as PostgresError {
        return error
    }
}

extension PostgresError {
    var state: String? { sqlState?.rawValue }
}
