package import Postgres
package import Primitives

/// A worker's life in the database: a row, and an advisory lock that its session holds.
package struct WorkerRegistry {
    private let connection: Connection

    package init(_ connection: Connection) {
        self.connection = connection
    }

    /// Begins a life on this connection. The lock and the row become visible together.
    package func register(token: UUID, name: String, version: String, lease: Duration) throws {
        _ = try connection.query(
            """
            insert into outrider.worker (token, name, version, lease)
            values (\(token), \(name), \(version), \(lease))
            returning pg_advisory_lock(\(AdvisoryLock.life), id)
            """)
    }

    /// Ends it in good order: nothing is left for others to take over.
    package func unregister(token: UUID) throws {
        _ = try connection.query(
            """
            with gone as (delete from outrider.worker where token = \(token) returning 1)
            select pg_notify('outrider_wake', 'limits') from gone
            """)
    }

    /// Gives back what was claimed and not sent, at the end of the queue.
    package func release(_ deliveries: [ClaimedDelivery], token: UUID) throws {
        _ = try connection.query(
            """
            with released as (
                delete from outrider.delivery d
                using unnest(\(deliveries.map(\.subscription)), \(deliveries.map(\.id))) t (subscription, id)
                where \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(token)
                returning d.*
            ), again as (
                insert into outrider.delivery
                    (subscription_id, attempts, rescues, replay, redriven, message_id, first_tried_at, key, place)
                select r.subscription_id, r.attempts, r.rescues, r.replay, r.redriven, r.message_id, r.first_tried_at,
                    r.key, r.place
                from released r order by r.id
            )
            select outrider.wake(array(select distinct r.subscription_id from released r))
            """)
    }

    /// What keeps a worker from working here at all, or nil: the other side of "needs nothing but PostgreSQL".
    package func unsuitability() throws -> String? {
        let rows = try connection.query(
            "select pg_is_in_recovery(), pg_backend_pid(), current_setting('server_version_num')::int")
        if try rows[0].decode(0, as: Bool.self) {
            return """
                the server is a hot standby, which takes no writes: point the worker at the primary \
                (several hosts and target_session_attrs=read-write find it)
                """
        }
        if try rows[0].decode(1, as: Int32.self) != connection.backendPID {
            return """
                a connection pooler is in between: the worker's life is a session of its own, with locks and LISTEN; \
                give it a direct connection (applications may go on using the pooler)
                """
        }
        let version = try rows[0].decode(2, as: Int32.self)
        if version < 150_000 {
            return "the server is PostgreSQL \(version / 10000), Outrider needs 15 or later"
        }
        return nil
    }
}
