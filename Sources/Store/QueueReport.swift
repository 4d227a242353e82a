package import Postgres

/// The figures of `queue_depth`, and how many messages were ever published, for metrics.
package struct QueueReport: Sendable {
    package struct Depth: Sendable {
        package let subscription: String
        package let ready: Int64
        package let inFlight: Int64
        package let scheduled: Int64
        package let dead: Int64
        package let oldestSeconds: Double
    }

    package let depths: [Depth]
    /// Rows inserted into the log since the statistics were last reset; counted by PostgreSQL, also for rolled back inserts.
    package let published: Int64

    package static func read(on connection: Connection) throws -> QueueReport {
        let rows = try connection.query(
            """
            select subscription, ready, in_flight, scheduled, dead, coalesce(extract(epoch from oldest_age), 0)::float8
            from outrider.queue_depth order by subscription
            """)
        let published = try connection.query(
            """
            select coalesce(sum(s.n_tup_ins), 0)::bigint
            from pg_inherits i join pg_stat_all_tables s on s.relid = i.inhrelid
            where i.inhparent = 'outrider.outbox'::regclass
            """)
        return QueueReport(
            depths: try rows.map { row in
                Depth(
                    subscription: try row.decode(0, as: String.self), ready: try row.decode(1, as: Int64.self),
                    inFlight: try row.decode(2, as: Int64.self), scheduled: try row.decode(3, as: Int64.self),
                    dead: try row.decode(4, as: Int64.self), oldestSeconds: try row.decode(5, as: Double.self))
            },
            published: try published[0].decode(0, as: Int64.self))
    }
}
