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

    // MARK: - Subscriptions

    package func subscriptions() throws -> [JSON] {
        try rows(
            """
            select s.name, s.topics, case when s.paused_at is null then 'active' else 'paused' end as state,
                q.ready, q.in_flight, q.scheduled, q.blocked, q.dead, date_trunc('second', q.oldest_age)::text as oldest_age, s.workers
            from outrider.subscriptions s join outrider.queue_depth q on q.subscription = s.name order by s.name
            """)
    }

    package func subscription(_ name: String) throws -> JSON? {
        try rows(
            """
            select s.name, s.topics, s.paused_at, s.paused_by, s.created_at, s.applied_at, s.applied_by, q.ready, q.in_flight,
                q.scheduled, q.blocked, q.dead, q.oldest_age::text as oldest_age, s.workers, s.definition
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
}
