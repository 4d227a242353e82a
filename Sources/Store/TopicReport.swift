package import Postgres

/// How the topics with limits fare, for metrics.
package struct TopicReport: Sendable {
    package struct Topic: Sendable {
        package let name: String
        /// Of its deepest subscription.
        package let backlog: Int64
        package let isFull: Bool
    }

    package struct Dropped: Sendable {
        package let subscription: String
        package let reason: String
        /// Since ever.
        package let count: Int64
    }

    package let topics: [Topic]
    package let dropped: [Dropped]

    package static func read(on connection: Connection) throws -> TopicReport {
        let topics = try connection.query("select topic, backlog, is_full from outrider.topic_limits order by topic")
        let dropped = try connection.query(
            """
            select subscription, reason, sum(count)::bigint from outrider.dropped
            group by subscription, reason order by subscription, reason
            """)
        return TopicReport(
            topics: try topics.map { row in
                Topic(
                    name: try row.decode(0, as: String.self), backlog: try row.decode(1, as: Int64.self),
                    isFull: try row.decode(2, as: Bool.self))
            },
            dropped: try dropped.map { row in
                Dropped(
                    subscription: try row.decode(0, as: String.self), reason: try row.decode(1, as: String.self),
                    count: try row.decode(2, as: Int64.self))
            })
    }
}
