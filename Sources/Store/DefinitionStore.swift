import Delivery
import Expressions
package import Postgres
import Primitives
import Sagas
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
        /// Paused by an operator, or not open yet.
        package let isPaused: Bool
        /// A failure when another version applied what this one does not understand.
        package let definition: Result<SubscriptionDefinition, DefinitionError>
    }

    let connection: Connection

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
                let change = try put(
                    definition, isNewest: isNewest(definition, among: definitions), by: by, restores: restores)
                applied.append(Applied(kind: definition.kind.rawValue, name: definition.name, change: change))
            }
            if prunes { applied += try prune(keeping: definitions) }
            if applied.contains(where: { $0.change != .unchanged && $0.change != .superseded }) {
                _ = try connection.query("select outrider.announce()")
            }
            return applied
        }
    }

    /// Of several versions of a saga the highest one starts new sagas.
    private func isNewest(_ definition: Definition, among definitions: [Definition]) -> Bool {
        guard case .saga(let saga) = definition else { return true }
        return !definitions.contains { other in
            if case .saga(let other) = other { other.name == saga.name && other.version > saga.version } else { false }
        }
    }

    private func put(_ definition: Definition, isNewest: Bool, by: String, restores: Bool) throws -> Change {
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
        if case .saga(let saga) = definition { try SagaDefinitions(connection).checkUnchanged(saga, hash: hash) }
        if current == hash { return .unchanged }
        if !isNewest {
            return try connection.query(
                """
                insert into outrider.definition (kind, name, hash, content, applied_by, replaced_at)
                values (\(kind), \(name), \(hash), \(content)::jsonb, session_user || ' (' || \(by) || ')', clock_timestamp())
                on conflict (kind, name, hash) do nothing
                """
            ).affected > 0 ? .created : .unchanged
        }
        if !restores {
            // Replaced by other content, or removed.
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
            values (\(kind), \(name), \(hash), \(content)::jsonb, session_user || ' (' || \(by) || ')')
            on conflict (kind, name, hash) do update
                set replaced_at = null, applied_at = clock_timestamp(), applied_by = excluded.applied_by
            """)
        try materialise(definition, hash: hash)
        return current == nil ? .created : .changed
    }

    /// Writes what the database itself works with: routes, retention, names.
    private func materialise(_ definition: Definition, hash: String) throws {
        switch definition {
        case .saga(let saga): try SagaDefinitions(connection).materialise(saga, hash: hash)
        case .subscription(let subscription): try materialise(subscription)
        case .topic(let topic):
            _ = try connection.query(
                """
                insert into outrider.topic as t (name, retention, dedupe_window)
                values (\(topic.name), \(topic.retention), \(topic.dedupeWindow ?? .seconds(86_400)))
                on conflict (name) do update
                    set retention = excluded.retention, dedupe_window = excluded.dedupe_window
                """)
            try setGate(of: topic)
        case .endpoint(let endpoint):
            _ = try connection.query(
                """
                insert into outrider.endpoint (name, url) values (\(endpoint.name), \(endpoint.url.template.source))
                on conflict (name) do update set url = excluded.url
                """)
            // What was found out about the one before says nothing of this one.
            _ = try connection.query("delete from outrider.breaker where endpoint = \(endpoint.name)")
        case .schedule(let schedule): try ScheduleStore(connection).materialise(schedule, hash: hash)
        }
    }

    private func materialise(_ subscription: SubscriptionDefinition) throws {
        let exact = subscription.topics.filter(\.isExact).map(\.text)
        let wild = subscription.topics.filter { !$0.isExact }.map(\.regularExpression)
        let expression: String? = wild.isEmpty ? nil : "^(\(wild.joined(separator: "|")))$"
        let isNew = try connection.query(
            "select from outrider.subscription s where s.name = \(subscription.name) and s.removed_at is null"
        ).isEmpty
        let start: Timestamp? =
            switch subscription.from {
            case .now: nil
            case .earliest: Timestamp(microseconds: 946_684_800_000_000)  // 2000-01-01, before any message
            case .at(let time): time
            }
        let opens = isNew && start != nil
        let id = try connection.query(
            """
            insert into outrider.subscription as s (name, topics, opening, blocks)
            values (\(subscription.name), \(subscription.topics.map(\.text)), \(opens), \(subscription.onExhausted == .block))
            on conflict (name) do update set topics = excluded.topics, opening = s.opening or excluded.opening,
                blocks = excluded.blocks, removed_at = null
            returning id
            """)[0].decode(0, as: Int32.self)
        _ = try connection.query(
            """
            insert into outrider.route as r (subscription_id, exact_topics, topic_expression, per_key, opening)
            values (\(id), \(exact), \(expression), \(subscription.perKey.map(Int32.init)), \(opens))
            on conflict (subscription_id) do update set exact_topics = excluded.exact_topics,
                topic_expression = excluded.topic_expression, per_key = excluded.per_key,
                opening = r.opening or excluded.opening
            """)
        if isNew, let start {
            _ = try connection.query(
                """
                insert into outrider.operation (kind, subscription_id, subscription, from_time, phase)
                values ('open', \(id), \(subscription.name), \(start), 'begin')
                """)
        }
    }

    // MARK: - Removing

    private func prune(keeping definitions: [Definition]) throws -> [Applied] {
        let kept = definitions.map { "\($0.kind.rawValue) \($0.name)" }
        let rows = try connection.query(
            """
            update outrider.definition d set replaced_at = clock_timestamp()
            where d.replaced_at is null and d.kind in ('subscription', 'topic', 'endpoint', 'saga', 'schedule')
                and d.kind || ' ' || d.name <> all (\(kept))
            returning d.kind, d.name
            """)
        return try rows.map { row in
            let kind = try row.decode(0, as: String.self)
            let name = try row.decode(1, as: String.self)
            var applied = Applied(kind: kind, name: name, change: .removed)
            switch kind {
            case "subscription": applied.buried = try removeSubscription(name)
            case "saga": try SagaDefinitions(connection).remove(name)
            case "schedule": try ScheduleStore(connection).remove(name)
            case "topic":
                _ = try connection.query("delete from outrider.topic where name = \(name)")
                try openGate(ofTopic: name)
            default:
                _ = try connection.query("delete from outrider.endpoint where name = \(name)")
                _ = try connection.query("delete from outrider.breaker where endpoint = \(name)")
            }
            return applied
        }
    }

    /// What a removed subscription had still to deliver is kept as dead letters: removing a file loses no message.
    private func removeSubscription(_ name: String) throws -> Int {
        _ = try connection.query(
            """
            with removed as (
                update outrider.subscription set removed_at = clock_timestamp(), paused_at = null, paused_by = null,
                    opening = false
                where name = \(name)
                returning id
            )
            delete from outrider.route r using removed where r.subscription_id = removed.id
            """)
        var total = 0
        while true {
            let buried = try connection.query("select outrider.bury_removed()")[0].decode(0, as: Int32.self)
            if buried == 0 { return total }
            total += Int(buried)
        }
    }

    // MARK: - Reading

    /// The subscriptions in force; `names` nil means all.
    package func subscriptions(named names: [String]? = nil) throws -> [Stored] {
        let rows = try connection.query(
            """
            select s.id, s.name, s.paused_at is not null or s.opening, d.content
            from outrider.subscription s
            join outrider.definition d on d.kind = 'subscription' and d.name = s.name and d.replaced_at is null
            where (\(names == nil) or s.name = any (\(names ?? []))) and s.removed_at is null
            order by s.name
            """)
        return try rows.map { row in
            let name = try row.decode(1, as: String.self)
            return Stored(
                id: try row.decode(0, as: Int32.self), name: name, isPaused: try row.decode(2, as: Bool.self),
                definition: Self.definition(try row.decode(3, as: JSON.self)).map { definition in
                    guard case .subscription(let subscription) = definition else {
                        preconditionFailure("the definition of subscription \(name) is of another kind")
                    }
                    return subscription
                })
        }
    }

    /// What files may refer to though they do not declare it. The names alone, so that a definition that this version cannot
    /// read does not stand in the way of a better one.
    package func knownNames() throws -> WorkflowFolder.KnownNames {
        func names(_ statement: SQL) throws -> Set<String> {
            Set(try connection.query(statement).map { try $0.decode(0, as: String.self) })
        }
        return WorkflowFolder.KnownNames(
            endpoints: try names("select name from outrider.endpoint"),
            sagas: try names("select name from outrider.saga_type where removed_at is null"))
    }

    /// The endpoints in force by name; a failure where another version applied what this one does not understand.
    package func endpoints() throws -> [String: Result<EndpointDefinition, DefinitionError>] {
        let rows = try connection.query(
            "select d.name, d.content from outrider.definition d where d.kind = 'endpoint' and d.replaced_at is null")
        var endpoints: [String: Result<EndpointDefinition, DefinitionError>] = [:]
        for row in rows {
            let name = try row.decode(0, as: String.self)
            endpoints[name] = Self.definition(try row.decode(1, as: JSON.self)).map { definition in
                guard case .endpoint(let endpoint) = definition else {
                    preconditionFailure("the definition of endpoint \(name) is of another kind")
                }
                return endpoint
            }
        }
        return endpoints
    }

    static func definition(_ content: JSON) -> Result<Definition, DefinitionError> {
        Result { () throws(DefinitionError) in try Definition(content: content) }
    }
}
