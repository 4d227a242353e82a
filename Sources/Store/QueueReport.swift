package import Postgres

/// The figures of `queue_depth`, how many messages were ever published, and how sagas wait, for metrics.
package struct QueueReport: Sendable {
    package struct Depth: Sendable {
        package let subscription: String
        package let ready: Int64
        package let inFlight: Int64
        package let scheduled: Int64
        package let blocked: Int64
        package let dead: Int64
        package let oldestSeconds: Double
        /// That serve it.
        package let workers: Int64
    }

    package struct Sagas: Sendable {
        package let name: String
        /// Something is to do for them and no worker has taken them up.
        package let ready: Int64
        /// A person must act.
        package let stuck: Int64
    }

    package let depths: [Depth]
    package let sagas: [Sagas]
    /// Rows inserted into the log since the statistics were last reset; counted by PostgreSQL, also for rolled back inserts.
    package let published: Int64

    package static func read(on connection: Connection) throws -> QueueReport {
        let rows = try connection.query(
            """
            select q.subscription, q.ready, q.in_flight, q.scheduled, q.blocked, q.dead,
                coalesce(extract(epoch from q.oldest_age), 0)::float8,
                (select count(*) from outrider.worker w
                    join outrider.subscription s on s.id = any (w.subscriptions) where s.name = q.subscription and not w.draining)
            from outrider.queue_depth q order by q.subscription
            """)
        let sagas = try connection.query(
            """
            select t.name,
                (select count(*) from outrider.delivery d where d.subscription_id = -t.id and d.owner is null),
                coalesce(s.stuck, 0)
            from outrider.saga_type t
            left join (select s.name, count(*) as stuck from outrider.saga s where s.status = 'stuck' group by s.name) s
                on s.name = t.name
            order by t.name
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
                    blocked: try row.decode(4, as: Int64.self), dead: try row.decode(5, as: Int64.self),
                    oldestSeconds: try row.decode(6, as: Double.self), workers: try row.decode(7, as: Int64.self))
            },
            sagas: try sagas.map { row in
                Sagas(
                    name: try row.decode(0, as: String.self), ready: try row.decode(1, as: Int64.self),
                    stuck: try row.decode(2, as: Int64.self))
            },
            published: try published[0].decode(0, as: Int64.self))
    }
}
