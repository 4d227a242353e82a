import Postgres
package import Primitives

/// What a worker carries out step by step: replays, and what is done to all dead letters of a subscription.
extension Operations {
    package struct Replay: Sendable {
        package var subscription: String
        /// Published at or after, and before; until now when nil.
        package var from: Timestamp
        package var to: Timestamp?
        package var key: String?
        package var topic: String?

        package init(_ subscription: String, from: Timestamp) {
            self.subscription = subscription
            self.from = from
        }
    }

    /// An operation that was ordered.
    package struct Ordered: Sendable {
        package let id: UUID
        /// What whoever ordered it should know: that the log does not reach so far.
        package let note: String?
    }

    package func replay(_ replay: Replay) throws -> Ordered {
        try ordered(
            """
            outrider.replay(\(replay.subscription), \(replay.from), coalesce(\(replay.to), clock_timestamp()), \(replay.key),
                \(replay.topic))
            """)
    }

    package func redriveAll(subscription: String, before: Timestamp?) throws -> Ordered {
        try ordered("outrider.redrive_all(\(subscription), \(before))")
    }

    package func discardAll(subscription: String, reason: String, before: Timestamp?) throws -> Ordered {
        try ordered("outrider.discard_all(\(subscription), \(reason), \(before))")
    }

    private func ordered(_ call: SQL) throws -> Ordered {
        let id = try connection.query("select \(call)")[0].decode(0, as: UUID.self)
        return Ordered(
            id: id,
            note: try connection.query("select o.note from outrider.operations o where o.id = \(id)").first?
                .decode(0, as: String?.self))
    }

    package func cancelOperation(_ id: UUID) throws {
        try connection.query("select outrider.cancel_operation(\(id))")
    }

    /// The newest first.
    package func operations(limit: Int) throws -> [JSON] {
        try rows(
            """
            select o.id, o.kind, o.subscription, o.status, o.done, o.total, o.created_at, o.finished_at, o.note
            from outrider.operations o order by o.created_at desc limit \(limit)
            """)
    }

    /// How far one is.
    package struct Progress: Sendable {
        package let kind: String
        package let subscription: String
        /// waiting, running, finished, failed, cancelled
        package let status: String
        package let done: Int64
        /// Of letters: how many there were to do, about.
        package let total: Int64?
        /// Of the log: up to which time of publishing.
        package let reachedAt: Timestamp?
        package let note: String?
        package let error: String?
        /// Whether any worker is connected, to carry it out.
        package let hasWorkers: Bool

        package var isOver: Bool { !["waiting", "running"].contains(status) }
    }

    package func progress(of operation: UUID) throws -> Progress? {
        try connection.query(
            """
            select o.kind, o.subscription, o.status, o.done, o.total, case when isfinite(o.reached_at) then o.reached_at end, o.note,
                coalesce(o.error, 'cancelled by ' || o.cancelled_by), exists (select from outrider.workers w where w.connected)
            from outrider.operations o where o.id = \(operation)
            """
        ).first.map { row in
            Progress(
                kind: try row.decode(0, as: String.self), subscription: try row.decode(1, as: String.self),
                status: try row.decode(2, as: String.self), done: try row.decode(3, as: Int64.self),
                total: try row.decode(4, as: Int64?.self), reachedAt: try row.decode(5, as: Timestamp?.self),
                note: try row.decode(6, as: String?.self), error: try row.decode(7, as: String?.self),
                hasWorkers: try row.decode(8, as: Bool.self))
        }
    }
}
