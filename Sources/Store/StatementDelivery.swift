package import Postgres
import Primitives

/// A delivery whose target is a statement: one transaction takes the message out of the queue and runs the statement, so that
/// both happen or neither, whatever dies.
package struct StatementDelivery: Sendable {
    package enum Outcome: Sendable {
        /// Both are committed; how long the statement took.
        case done(took: Duration)
        /// The delivery is somebody else's by now; nothing has happened here.
        case lost
        /// Nothing has happened: what the server said.
        case refused(PostgresError)
        /// The connection went; only the queue tells, see `isThere`.
        case unclear
    }

    package var delivery: ClaimedDelivery
    package var statement: ForeignStatement
    /// Whether the try is to be seen in `delivery_attempts`, where it succeeds.
    package var isRecorded: Bool
    /// Where what the statement returns is published to.
    package var reply: ReplyAddress?
    /// The worker's name.
    package var worker: String

    package init(
        _ delivery: ClaimedDelivery, _ statement: ForeignStatement, isRecorded: Bool, reply: ReplyAddress?,
        worker: String
    ) {
        self.delivery = delivery
        self.reply = reply
        self.statement = statement
        self.isRecorded = isRecorded
        self.worker = worker
    }

    /// Nil when there is no session any more to begin with.
    package func run(on connection: Connection) -> Outcome? {
        guard (try? connection.execute(script: "begin")) != nil else { return nil }
        do throws(PostgresError) {
            guard let done = try deliver(on: connection) else {
                try? connection.execute(script: "rollback")
                return .lost
            }
            try connection.execute(script: "commit")
            return done
        } catch {
            guard error.sqlState != nil else { return .unclear }
            try? connection.execute(script: "rollback")
            return .refused(error)
        }
    }

    private func deliver(on connection: Connection) throws(PostgresError) -> Outcome? {
        let began = ContinuousClock.now
        // The share of the worker's row keeps others from taking over what it has until this has ended.
        let taken = try connection.pipeline([
            "select outrider.stay_alive(\(delivery.owner))",
            """
            delete from outrider.delivery d
            using (select \(delivery.subscription) as subscription, \(delivery.id) as id) t
            where \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(delivery.owner)
            returning d.subscription_id, d.key, d.place
            """,
            statement.settings,
        ])[1]
        guard let row = taken.first else { return nil }
        let result = try statement.run(on: connection)
        let took = ContinuousClock.now - began
        try connection.execute(script: ForeignStatement.reset)
        try conclude(row, result, took: took, on: connection)
        return .done(took: took)
    }

    /// What else belongs to an acknowledgement.
    private func conclude(_ row: Row, _ result: JSON, took: Duration, on connection: Connection) throws(PostgresError) {
        var statements: [SQL] = []
        if isRecorded {
            statements.append(
                """
                insert into outrider.delivery_attempt (message_id, subscription_id, attempt, at, outcome, duration, worker)
                values (\(delivery.messageID), \(delivery.subscription), \(Int32(delivery.attempts + 1)),
                    clock_timestamp() - \(took), 'succeeded', \(took), \(worker))
                """)
        }
        if let reply {
            // What the log refuses of it undoes the statement, too.
            statements.append(
                """
                select outrider.publish_reply(\(reply.topic), \(delivery.message?.key), \(result),
                    \(reply.headers(inReplyTo: delivery.messageID)))
                """)
        }
        if delivery.isKeyed {
            // The next message of its key takes the place.
            statements.append(
                """
                select outrider.advance(array[\(try row.decode(0, as: Int32.self))], array[\(try row.decode(1, as: Int64?.self))],
                    array[\(try row.decode(2, as: Int64?.self))])
                """)
        }
        _ = try connection.pipeline(statements)
    }

    /// Whether the row is still in the queue, this worker's. Waits for the transaction that may be about to remove it.
    package func isThere(on connection: Connection) throws -> Bool {
        try !connection.query(
            """
            select from outrider.delivery d, (select \(delivery.subscription) as subscription, \(delivery.id) as id) t
            where \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(delivery.owner)
            for update of d
            """
        ).isEmpty
    }
}
