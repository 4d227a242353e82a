package import Postgres
package import Primitives

/// What the commands ask of the database: the SQL functions and views of the public contract, row by row as JSON.
package struct Operations {
    let connection: Connection

    package init(_ connection: Connection) {
        self.connection = connection
    }

    /// In the order of the columns, which jsonb would not keep.
    func rows(_ statement: SQL) throws -> [JSON] {
        try connection.query("select row_to_json(r) from (\(statement)) r").map { try $0.decode(0, as: JSON.self) }
    }

    // MARK: - Messages

    package struct Publication: Sendable {
        package var topic: String
        package var payload: String
        package var key: String?
        package var headers: JSON?
        package var id: UUID?
        package var deliverAt: Timestamp?
        package var expiresAt: Timestamp?
        package var dedupeKey: String?

        package init(topic: String, payload: String) {
            self.topic = topic
            self.payload = payload
        }
    }

    package func publish(_ message: Publication) throws -> UUID {
        try connection.query(
            """
            select outrider.publish(\(message.topic), \(message.payload)::jsonb, \(message.key), \(message.headers), \(message.id),
                \(message.deliverAt), \(message.expiresAt), \(message.dedupeKey))
            """)[0].decode(0, as: UUID.self)
    }

    // MARK: - Dead letters

    /// The newest first.
    package func deadLetters(subscription: String?, closedToo: Bool, limit: Int) throws -> [JSON] {
        try rows(
            """
            select d.id, d.kind, d.subscription, d.topic, s.saga, d.saga_id, d.step, d.key, d.attempts, d.dead_at, d.reason,
                d.last_error, d.redriven_at, d.discarded_at
            from outrider.dead_letters d left join outrider.sagas s on s.id = d.saga_id
            where (\(subscription)::text is null or d.subscription = \(subscription))
                and (\(closedToo) or (d.redriven_at is null and d.discarded_at is null))
            order by d.dead_at desc limit \(limit)
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

    package func redrive(_ id: UUID) throws -> Redriven {
        let rows = try connection.query(
            "select outrider.redrive(\(id)), (select d.kind from outrider.dead_letters d where d.id = \(id))")
        let redriven = try rows[0].decode(0, as: UUID.self)
        return try rows[0].decode(1, as: String?.self) == "message" ? .message(redriven) : .saga(redriven)
    }

    package func redriveAll(subscription: String, before: Timestamp?) throws -> UUID {
        try connection.query("select outrider.redrive_all(\(subscription), coalesce(\(before), now()))")[0]
            .decode(0, as: UUID.self)
    }

    package func discard(_ id: UUID, reason: String) throws {
        try connection.query("select outrider.discard(\(id), \(reason))")
    }

    // MARK: - Subscriptions

    package func subscriptions() throws -> [JSON] {
        try rows(
            """
            select s.name, s.topics, case when s.paused_at is null then 'active' else 'paused' end as state,
                q.ready, q.in_flight, q.scheduled, q.dead, date_trunc('second', q.oldest_age)::text as oldest_age, s.workers
            from outrider.subscriptions s join outrider.queue_depth q on q.subscription = s.name order by s.name
            """)
    }

    package func subscription(_ name: String) throws -> JSON? {
        try rows(
            """
            select s.name, s.topics, s.paused_at, s.paused_by, s.created_at, s.applied_at, s.applied_by, q.ready, q.in_flight,
                q.scheduled, q.dead, q.oldest_age::text as oldest_age, s.workers, s.definition
            from outrider.subscriptions s join outrider.queue_depth q on q.subscription = s.name where s.name = \(name)
            """
        ).first
    }

    package func pause(_ subscription: String) throws {
        try connection.query("select outrider.pause(\(subscription))")
    }

    package func resume(_ subscription: String) throws {
        try connection.query("select outrider.resume(\(subscription))")
    }

    package func replay(_ subscription: String, from: Timestamp, to: Timestamp, key: String?) throws -> UUID {
        try connection.query("select outrider.replay(\(subscription), \(from), \(to), \(key))")[0].decode(
            0, as: UUID.self)
    }

    package func operations(limit: Int) throws -> [JSON] {
        try rows(
            """
            select o.id, o.kind, o.subscription, o.status, o.done, o.created_at, o.finished_at
            from outrider.operations o order by o.created_at desc limit \(limit)
            """)
    }
}
