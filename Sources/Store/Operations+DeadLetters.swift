import Postgres
package import Primitives

/// Dead letters: finding them among a million, and what becomes of them.
extension Operations {
    package struct DeadLetterFilter: Sendable {
        package var subscription: String?
        package var kind: String?
        package var saga: UUID?
        package var topic: String?
        package var key: String?
        package var reason: String?
        /// Those that died at or after, and before.
        package var since: Timestamp?
        package var until: Timestamp?
        /// Also those that were redriven or discarded.
        package var closedToo = false
        /// Only older ones than that of this id: where the next page begins.
        package var olderThan: UUID?

        package init() {}
    }

    /// The newest first.
    package func deadLetters(_ filter: DeadLetterFilter, limit: Int) throws -> [JSON] {
        try rows(
            """
            select d.id, d.kind, d.subscription, d.topic, s.saga, d.saga_id, d.step, d.key, d.attempts, d.dead_at, d.reason,
                d.last_error, d.redriven_at, d.discarded_at
            from (select * from outrider.dead_letters d where \(filter.condition) order by d.id desc limit \(Int64(limit))) d
            left join outrider.sagas s on s.id = d.saga_id
            order by d.id desc
            """)
    }

    package func deadLetter(_ id: UUID) throws -> JSON? {
        try rows("select * from outrider.dead_letters d where d.id = \(id)").first
    }

    /// The message or the saga that is tried again.
    package enum Redriven: Sendable {
        case message(UUID)
        case saga(UUID)

        package var id: UUID {
            switch self {
            case .message(let id), .saga(let id): id
            }
        }
    }

    /// - Parameter payload: a JSON text that is sent instead of what died; for a saga the input of the step that is stuck.
    package func redrive(_ id: UUID, payload: String? = nil) throws -> Redriven {
        let rows = try connection.query(
            """
            select outrider.redrive(\(id), \(payload)::jsonb), (select d.kind from outrider.dead_letters d where d.id = \(id))
            """)
        let redriven = try rows[0].decode(0, as: UUID.self)
        return try rows[0].decode(1, as: String?.self) == "message" ? .message(redriven) : .saga(redriven)
    }

    package func discard(_ id: UUID, reason: String) throws {
        try connection.query("select outrider.discard(\(id), \(reason))")
    }
}

extension Operations.DeadLetterFilter {
    /// Of the view's row `d`. Ids are made when a message dies: with them the index bounds how far back is looked.
    var condition: SQL {
        var condition: SQL = closedToo ? "true" : "d.redriven_at is null and d.discarded_at is null"
        if let subscription { condition = "\(condition) and d.subscription = \(subscription)" }
        if let kind { condition = "\(condition) and d.kind = \(kind)" }
        if let saga { condition = "\(condition) and d.saga_id = \(saga)" }
        if let topic { condition = "\(condition) and d.topic = \(topic)" }
        if let key { condition = "\(condition) and d.key = \(key)" }
        if let reason { condition = "\(condition) and d.reason = \(reason)" }
        if let since {
            condition = "\(condition) and d.dead_at >= \(since) and d.id > \(UUID.floor(of: since + .seconds(-5)))"
        }
        if let until { condition = "\(condition) and d.dead_at < \(until)" }
        if let olderThan { condition = "\(condition) and d.id < \(olderThan)" }
        return condition
    }
}

extension UUID {
    /// The smallest version 7 UUID of an instant (RFC 9562, section 5.7).
    fileprivate static func floor(of time: Timestamp) -> UUID {
        let milliseconds = UInt64(max(0, min(time.microseconds / 1000, 1 << 48 - 1)))
        return UUID(high: milliseconds << 16 | 0x7000, low: 1 << 63)
    }
}
