package import Postgres
package import Primitives

/// One transaction in which a worker changes its shares of limits and what it knows of circuit breakers: no other worker
/// changes any meanwhile. See the head of `Migrations/009_limits.up.sql`.
package struct LimitExchange {
    /// One worker's part of one limit.
    package struct Share: Sendable, Hashable {
        package var name: String
        package var worker: UUID
        /// Requests in flight; of a rate, millionths of one a second.
        package var amount: Int64
        package var granted: Int64
        /// -1 of a worker that stops.
        package var need: Int64

        package init(name: String, worker: UUID, amount: Int64, granted: Int64, need: Int64) {
            self.name = name
            self.worker = worker
            self.amount = amount
            self.granted = granted
            self.need = need
        }
    }

    /// What a worker has found out about an endpoint.
    package enum BreakerChange: Sendable, Hashable {
        /// Too many failures, or the probe failed.
        case opened(for: Duration, failures: Int, error: String)
        /// The probe succeeded.
        case closed
        /// It is time for a probe: whoever asks first has it.
        case askedForProbe
        /// This worker has nothing to send any more.
        case gaveProbeBack
    }

    package struct Breaker: Sendable, Hashable {
        package let retryIn: Duration
        package let failures: Int
        package let error: String?
        package let openedBy: String
        /// The live worker that has the probe.
        package let prober: UUID?
    }

    /// What the database holds, the exchange's own changes of breakers included.
    package struct Book: Sendable {
        /// By the limit's name.
        package let shares: [String: [Share]]
        /// Those that are open, by endpoint.
        package let breakers: [String: Breaker]
        /// By endpoint, of all other workers.
        package let failures: [String: Int]
        /// Grows by one a second.
        package let turn: Int64
    }

    package struct Answer: Sendable {
        package var shares: [Share] = []
        /// Names of limits that the worker takes no part in any more.
        package var left: [String] = []
        /// Failures by endpoint, where the number has changed.
        package var failures: [String: Int] = [:]
        /// Whether other workers are to look at once.
        package var tells = false

        package init() {}
    }

    private let connection: Connection
    private let token: UUID
    private let worker: String

    package init(_ connection: Connection, token: UUID, worker: String) {
        self.connection = connection
        self.token = token
        self.worker = worker
    }

    /// - Parameters:
    ///   - breakers: by endpoint.
    ///   - joins: whether the worker's session is new; then shares of workers that are gone are freed at once.
    ///   - answer: what to write; called once, with the lock held.
    /// - Returns: the digest of what `answer` was told at least, as `Housekeeping.Beat.limits` has it. It was read first: shares of a
    ///   worker that leaves go without the lock, and whatever changed after this reading is to be noticed at the next beat, what this
    ///   exchange wrote included.
    package func run(
        _ breakers: [(endpoint: String, change: BreakerChange)], joins: Bool, _ answer: (Book) throws -> Answer
    ) throws -> String {
        try connection.transaction {
            // A worker that is frozen in here must not keep the others from their shares.
            var statements: [SQL] = [
                """
                select set_config('lock_timeout', '2s', true), set_config('idle_in_transaction_session_timeout', '3s', true)
                """,
                "select pg_advisory_xact_lock(\(AdvisoryLock.limits), 0)",
            ]
            if joins {
                statements.append(
                    """
                    delete from outrider.limit_share s using outrider.worker w
                    where w.token = s.worker and w.token <> \(token)
                        and pg_try_advisory_xact_lock_shared(\(AdvisoryLock.life), w.id)
                    """)
            }
            for (endpoint, change) in breakers { statements.append(statement(endpoint, change)) }
            let reading = statements.count
            statements += Self.readings(token)
            let rows = Array(try connection.pipeline(statements)[reading...])
            let answer = try answer(try Self.book(Array(rows.dropFirst())))
            var writings = writings(answer)
            if answer.tells || !breakers.isEmpty { writings.append("select pg_notify('outrider_wake', 'limits')") }
            _ = try connection.pipeline(writings)
            return try rows[0][0].decode(0, as: String.self)
        }
    }

    // MARK: - Breakers

    private func statement(_ endpoint: String, _ change: BreakerChange) -> SQL {
        switch change {
        case .opened(let time, let failures, let error):
            // One that another worker opened stays as it is, unless this one had its probe.
            """
            insert into outrider.breaker as b (endpoint, retry_at, failures, last_error, opened_by)
            values (\(endpoint), clock_timestamp() + \(time), \(Int32(failures)), \(error), \(worker))
            on conflict (endpoint) do update set retry_at = excluded.retry_at, failures = b.failures + excluded.failures,
                last_error = excluded.last_error, prober = null
            where b.prober = \(token)
            """
        case .closed: "delete from outrider.breaker where endpoint = \(endpoint) and prober = \(token)"
        case .askedForProbe:
            """
            update outrider.breaker b set prober = \(token)
            where b.endpoint = \(endpoint) and b.retry_at <= clock_timestamp()
                and not exists (select from outrider.worker w where w.token = b.prober)
            """
        case .gaveProbeBack:
            "update outrider.breaker set prober = null where endpoint = \(endpoint) and prober = \(token)"
        }
    }

    // MARK: - Reading

    private static func readings(_ token: UUID) -> [SQL] {
        [
            "select outrider.limits_digest()",
            "select s.name, s.worker, s.amount, s.granted, s.need from outrider.limit_share s",
            """
            select b.endpoint, greatest(0, extract(epoch from b.retry_at - clock_timestamp()) * 1000000)::bigint, b.failures,
                b.last_error, b.opened_by, (select w.token from outrider.worker w where w.token = b.prober)
            from outrider.breaker b
            """,
            """
            select f.endpoint, sum(f.failures) from outrider.endpoint_failure f where f.worker <> \(token) group by 1
            """,
            "select extract(epoch from clock_timestamp())::bigint",
        ]
    }

    private static func book(_ rows: [Rows]) throws -> Book {
        let shares = try rows[0].map { row in
            Share(
                name: try row.decode(0, as: String.self), worker: try row.decode(1, as: UUID.self),
                amount: try row.decode(2, as: Int64.self), granted: try row.decode(3, as: Int64.self),
                need: try row.decode(4, as: Int64.self))
        }
        let breakers = try rows[1].map { row in
            (
                try row.decode(0, as: String.self),
                Breaker(
                    retryIn: .microseconds(try row.decode(1, as: Int64.self)),
                    failures: Int(try row.decode(2, as: Int32.self)), error: try row.decode(3, as: String?.self),
                    openedBy: try row.decode(4, as: String.self), prober: try row.decode(5, as: UUID?.self))
            )
        }
        let failures = try rows[2].map {
            (try $0.decode(0, as: String.self), Int(try $0.decode(1, as: Int64.self)))
        }
        return Book(
            shares: Dictionary(grouping: shares, by: \.name), breakers: Dictionary(uniqueKeysWithValues: breakers),
            failures: Dictionary(uniqueKeysWithValues: failures), turn: try rows[3][0].decode(0, as: Int64.self))
    }

    // MARK: - Writing

    /// Nothing of a worker that was given up for dead meanwhile.
    private func writings(_ answer: Answer) -> [SQL] {
        var statements: [SQL] = []
        if !answer.shares.isEmpty {
            let shares = answer.shares
            statements.append(
                """
                insert into outrider.limit_share as s (name, worker, amount, granted, need)
                select t.name, w.token, t.amount, t.granted, t.need
                from unnest(\(shares.map(\.name)), \(shares.map(\.amount)), \(shares.map(\.granted)), \(shares.map(\.need)))
                    t (name, amount, granted, need)
                cross join (select w.token from outrider.worker w where w.token = \(token) for key share) w
                on conflict (name, worker) do update
                    set amount = excluded.amount, granted = excluded.granted, need = excluded.need
                """)
        }
        if !answer.left.isEmpty {
            statements.append(
                "delete from outrider.limit_share s where s.worker = \(token) and s.name = any (\(answer.left))")
        }
        if !answer.failures.isEmpty {
            statements.append(
                """
                insert into outrider.endpoint_failure as f (endpoint, worker, failures)
                select t.endpoint, w.token, t.failures
                from unnest(\(answer.failures.map(\.key)), \(answer.failures.map { Int32($0.value) })) t (endpoint, failures)
                cross join (select w.token from outrider.worker w where w.token = \(token) for key share) w
                on conflict (endpoint, worker) do update set failures = excluded.failures
                """)
        }
        return statements
    }
}
