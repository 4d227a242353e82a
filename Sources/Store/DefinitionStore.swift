import Delivery
import Expressions
package import Postgres
import Primitives
package import WorkflowFiles

/// What the workflow files declare, as the database keeps it.
package struct DefinitionStore {
    package enum Change: String, Sendable {
        case created
        case changed
        case unchanged
        /// The database holds content that replaced this one later, and a worker does not put the older back.
        case superseded
        case removed
    }

    package struct Applied: Sendable {
        package let kind: String
        package let name: String
        package let change: Change
        /// Deliveries of a removed subscription that became dead letters.
        package var buried = 0
    }

    /// A subscription as a worker serves it.
    package struct Stored: Sendable {
        package let id: Int32
        package let name: String
        package let isPaused: Bool
        package let definition: SubscriptionDefinition
    }

    private let connection: Connection

    package init(_ connection: Connection) {
        self.connection = connection
    }

    // MARK: - Applying

    /// Brings the database to the definitions, all or none.
    ///
    /// - Parameters:
    ///   - by: who applies, for `definitions.applied_by`.
    ///   - restores: whether content that was replaced once may come back. A person's `outrider apply` may; a worker that
    ///     starts with an older folder may not.
    ///   - prunes: removes what the definitions do not name.
    package func apply(_ definitions: [Definition], by: String, restores: Bool, prunes: Bool = false) throws
        -> [Applied]
    {
        try connection.transaction {
            _ = try connection.query("select pg_advisory_xact_lock(\(AdvisoryLock.schema), 1)")
            var applied: [Applied] = []
            for definition in definitions {
                let change = try put(definition, by: by, restores: restores)
                if change == .created || change == .changed { try materialise(definition) }
                applied.append(Applied(kind: definition.kind.rawValue, name: definition.name, change: change))
            }
            if prunes { applied += try prune(keeping: definitions) }
            if applied.contains(where: { $0.change != .unchanged && $0.change != .superseded }) {
                _ = try connection.query("select outrider.announce()")
            }
            return applied
        }
    }

    private func put(_ definition: Definition, by: String, restores: Bool) throws -> Change {
        let kind = definition.kind.rawValue
        let name = definition.name
        let content = definition.content
        let rows = try connection.query(
            """
            select encode(sha256(convert_to(\(content)::jsonb::text, 'UTF8')), 'hex'),
                (select d.hash from outrider.definition d
                    where d.kind = \(kind) and d.name = \(name) and d.replaced_at is null)
            """)
        let hash = try rows[0].decode(0, as: String.self)
        let current = try rows[0].decode(1, as: String?.self)
        if current == hash { return .unchanged }
        if !restores, current != nil {
            let wasReplaced = try !connection.query(
                "select from outrider.definition d where d.kind = \(kind) and d.name = \(name) and d.hash = \(hash)"
            ).isEmpty
            if wasReplaced { return .superseded }
        }
        _ = try connection.query(
            """
            update outrider.definition d set replaced_at = clock_timestamp()
            where d.kind = \(kind) and d.name = \(name) and d.replaced_at is null
            """)
        _ = try connection.query(
            """
            insert into outrider.definition as d (kind, name, hash, content, applied_by)
            values (\(kind), \(name), \(hash), \(content)::jsonb, \(by))
            on conflict (kind, name, hash) do update
                set replaced_at = null, applied_at = clock_timestamp(), applied_by = excluded.applied_by
            """)
        return current == nil ? .created : .changed
    }

    /// Writes what the database itself works with: routes, retention, names.
    private func materialise(_ definition: Definition) throws {
        switch definition {
        case .subscription(let subscription): try materialise(subscription)
        case .topic(let topic):
            _ = try connection.query(
                """
                insert into outrider.topic as t (name, retention, dedupe_window)
                values (\(topic.name), \(topic.retention), \(topic.dedupeWindow ?? .seconds(86_400)))
                on conflict (name) do update
                    set retention = excluded.retention, dedupe_window = excluded.dedupe_window
                """)
        case .endpoint(let endpoint):
            _ = try connection.query(
                """
                insert into outrider.endpoint (name, url) values (\(endpoint.name), \(endpoint.url.template.source))
                on conflict (name) do update set url = excluded.url
                """)
        }
    }

    private func materialise(_ subscription: SubscriptionDefinition) throws {
        let exact = subscription.topics.filter(\.isExact).map(\.text)
        let wild = subscription.topics.filter { !$0.isExact }.map(\.regularExpression)
        let expression: String? = wild.isEmpty ? nil : "^(\(wild.joined(separator: "|")))$"
        let isNew = try connection.query(
            "select from outrider.subscription s where s.name = \(subscription.name)"
        ).isEmpty
        let start: Timestamp? =
            switch subscription.from {
            case .now: nil
            case .earliest: Timestamp(microseconds: 946_684_800_000_000)  // 2000-01-01, before any message
            case .at(let time): time
            }
        if isNew, start != nil {
            // Publishers hold a share of this table until they commit. Waiting for them draws a sharp line: what was
            // published before it is replayed, what comes after it is routed.
            _ = try connection.query("select set_config('lock_timeout', '2s', true)")
            _ = try connection.query("lock table outrider.subscription in access exclusive mode")
        }
        let rows = try connection.query(
            """
            insert into outrider.subscription as s (name, topics, exact_topics, topic_expression)
            values (\(subscription.name), \(subscription.topics.map(\.text)), \(exact), \(expression))
            on conflict (name) do update set topics = excluded.topics, exact_topics = excluded.exact_topics,
                topic_expression = excluded.topic_expression
            returning id
            """)
        if isNew, let start {
            let id = try rows[0].decode(0, as: Int32.self)
            _ = try connection.query(
                """
                insert into outrider.operation (kind, subscription_id, subscription, from_time, to_time)
                values ('replay', \(id), \(subscription.name), \(start), clock_timestamp())
                """)
        }
    }

    // MARK: - Removing

    private func prune(keeping definitions: [Definition]) throws -> [Applied] {
        let kept = definitions.map { "\($0.kind.rawValue) \($0.name)" }
        let rows = try connection.query(
            """
            update outrider.definition d set replaced_at = clock_timestamp()
            where d.replaced_at is null and d.kind in ('subscription', 'topic', 'endpoint')
                and d.kind || ' ' || d.name <> all (\(kept))
            returning d.kind, d.name
            """)
        return try rows.map { row in
            let kind = try row.decode(0, as: String.self)
            let name = try row.decode(1, as: String.self)
            var applied = Applied(kind: kind, name: name, change: .removed)
            switch kind {
            case "subscription": applied.buried = try removeSubscription(name)
            case "topic": _ = try connection.query("delete from outrider.topic where name = \(name)")
            default: _ = try connection.query("delete from outrider.endpoint where name = \(name)")
            }
            return applied
        }
    }

    /// What a removed subscription had still to deliver is kept as dead letters: removing a file loses no message.
    private func removeSubscription(_ name: String) throws -> Int {
        let rows = try connection.query(
            """
            with gone as (
                select s.id from outrider.subscription s where s.name = \(name)
            ), ready as (
                delete from outrider.delivery d using gone where d.subscription_id = gone.id returning d.*
            ), later as (
                delete from outrider.scheduled d using gone where d.subscription_id = gone.id returning d.*
            ), undelivered as (
                select r.subscription_id, r.message_id, r.attempts, r.first_tried_at from ready r
                union all
                select l.subscription_id, l.message_id, l.attempts, l.first_tried_at from later l
            )
            select count(outrider.bury(u.subscription_id, u.message_id, u.attempts, u.first_tried_at, 'removed',
                'the subscription was removed before it was delivered'))
            from undelivered u
            """)
        _ = try connection.query("delete from outrider.subscription where name = \(name)")
        return Int(try rows[0].decode(0, as: Int64.self))
    }

    // MARK: - Reading

    /// The subscriptions in force; `names` nil means all.
    package func subscriptions(named names: [String]? = nil) throws -> [Stored] {
        let rows = try connection.query(
            """
            select s.id, s.name, s.paused_at is not null, d.content
            from outrider.subscription s
            join outrider.definition d on d.kind = 'subscription' and d.name = s.name and d.replaced_at is null
            where \(names == nil) or s.name = any (\(names ?? []))
            order by s.name
            """)
        return try rows.map { row in
            let name = try row.decode(1, as: String.self)
            guard case .subscription(let definition) = try Definition(content: try row.decode(3, as: JSON.self)) else {
                preconditionFailure("the definition of subscription \(name) is of another kind")
            }
            return Stored(
                id: try row.decode(0, as: Int32.self), name: name, isPaused: try row.decode(2, as: Bool.self),
                definition: definition)
        }
    }

    /// The names alone, so that a definition that this version cannot read does not stand in the way of a better one.
    package func endpointNames() throws -> Set<String> {
        Set(try connection.query("select name from outrider.endpoint").map { try $0.decode(0, as: String.self) })
    }

    package func endpoints() throws -> [EndpointDefinition] {
        let rows = try connection.query(
            "select d.content from outrider.definition d where d.kind = 'endpoint' and d.replaced_at is null order by d.name"
        )
        return try rows.compactMap { row in
            guard case .endpoint(let endpoint) = try Definition(content: try row.decode(0, as: JSON.self)) else {
                return nil
            }
            return endpoint
        }
    }
}
