import Postgres

extension Housekeeping {
    /// What a reading of the topics' backlogs has changed.
    package struct GateEvent: Sendable {
        package enum Kind: String, Sendable {
            /// The subscription's backlog has reached the limit of the topic.
            case full
            /// It is below it again.
            case open
            /// Its oldest messages were given up.
            case dropped
        }

        package let kind: Kind
        package let topic: String
        package let subscription: String
        package let overflow: String
        /// Of one that is full.
        package let depth: Int64?
        /// How many were dropped.
        package let count: Int
    }

    /// See the function `outrider.tend_gates`.
    ///
    /// - Parameter most: how many messages are dropped at once, for each topic and subscription.
    package func tendGates(most: Int) throws -> [GateEvent] {
        try connection.query(
            "select event, topic, subscription, overflow, depth, count from outrider.tend_gates(\(Int32(most)))"
        ).compactMap { row in
            guard let kind = GateEvent.Kind(rawValue: try row.decode(0, as: String.self)) else { return nil }
            return GateEvent(
                kind: kind, topic: try row.decode(1, as: String.self), subscription: try row.decode(2, as: String.self),
                overflow: try row.decode(3, as: String.self), depth: try row.decode(4, as: Int64?.self),
                count: Int(try row.decode(5, as: Int32.self)))
        }
    }
}
