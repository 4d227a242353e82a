import Delivery
import Expressions
import Postgres
import Primitives
import Sagas
import Store
import Synchronization

/// The `sql` steps: each in one transaction with what its saga's machine makes of the outcome, so that it happens exactly
/// once. On connections of their own, so that a statement that takes its time holds up no other saga.
final class SagaQueries: Sendable {
    /// As the statements run: least privilege, and the owner of what they may touch grants it.
    static let role = "outrider_step"
    /// How long a statement waits for a lock.
    private static let lockTimeout = Duration.seconds(5)

    /// What became of a statement.
    enum Outcome: Sendable {
        /// Done or not, the saga's decision about it is written: the saga as it is now, and what was written.
        case decided(LiveSaga, [Fact])
        /// It is known not to have happened, and nothing is written of it.
        case undone(SagaEvent.TryResult)
        /// The history tells: the commit was lost, or somebody else has written there.
        case unclear
    }

    private struct Pool: Sendable {
        var sessions: [Session] = []
        var idle: [Int] = []
        var waiting: [CheckedContinuation<Int, Never>] = []
        /// Of the statements under way.
        var cancellers: [Int: Canceller] = [:]
        var isCancelled = false
    }

    private let pool = Mutex(Pool())
    private let databaseURL: String
    private let options: ConnectionOptions
    private let most: Int
    private let worker: String
    private let exposed: [String: String]

    /// - Parameter connections: statements at once; each connection is made when it is first needed.
    init(databaseURL: String, worker: String, exposed: [String: String], connections: Int = 16) {
        var options = ConnectionOptions()
        options.applicationName = "outrider \(worker) steps"
        options.settings =
            [
                ("jit", "off"), ("client_min_messages", "warning"),
                // The statement of a worker that was killed ends with it, and does not go on holding its locks.
                ("client_connection_check_interval", "1s"),
            ] + ConnectionOptions.sessionOfAWorker
        self.databaseURL = databaseURL
        self.options = options
        most = connections
        self.worker = worker
        self.exposed = exposed
    }

    /// Ends what is under way, and refuses what comes: nothing of it happens.
    func cancelAll() {
        let (cancellers, waiting) = pool.withLock { pool in
            pool.isCancelled = true
            defer { pool.waiting = [] }
            return (Array(pool.cancellers.values), pool.waiting)
        }
        for one in waiting { one.resume(returning: -1) }
        // Where the server cannot be reached there is nothing to cancel.
        for canceller in cancellers { try? canceller.cancel() }
    }

    func close() async {
        cancelAll()
        for session in pool.withLock({ $0.sessions }) { await session.close() }
    }

    /// Runs the statement, tells the machine, and writes its decision.
    func run(
        _ saga: LiveSaga, _ query: Effect.QueryEffect, token: UUID, clock: DatabaseClock,
        evaluate: @escaping @Sendable (Effect.Evaluation) -> Result<[JSON], ExpressionError>
    ) async -> Outcome {
        let number = await enter()
        guard number >= 0, let session = pool.withLock({ $0.isCancelled ? nil : $0.sessions[number] }) else {
            return .undone(Self.failure("the worker stops"))
        }
        defer { leave(number) }
        let transaction = QueryTransaction(
            saga: saga, query: query, token: token, worker: worker, exposed: exposed, clock: clock,
            role: Self.role, lockTimeout: Self.lockTimeout, evaluate: evaluate)
        // Of a session that was lost while it was idle one hears only when it is used.
        for _ in 1...2 {
            do {
                let outcome = try await session.run { [self] connection in
                    pool.withLock { $0.cancellers[number] = connection.canceller() }
                    defer { pool.withLock { $0.cancellers[number] = nil } }
                    return transaction.run(on: connection)
                }
                if let outcome { return outcome }
            } catch {
                return .undone(Self.failure("\(error)"))
            }
        }
        return .undone(Self.failure("the session with the database is lost again and again"))
    }

    private static func failure(_ message: String) -> SagaEvent.TryResult {
        .failed(TryError(type: "database", message: message), happened: .no, retryAfter: nil)
    }

    // MARK: - Connections

    /// The number of a connection that nobody uses; waits while there is none.
    private func enter() async -> Int {
        await withCheckedContinuation { continuation in
            let number: Int? = pool.withLock { pool in
                if pool.isCancelled { return -1 }
                if let idle = pool.idle.popLast() { return idle }
                if pool.sessions.count < most {
                    pool.sessions.append(Session(databaseURL, options: options))
                    return pool.sessions.count - 1
                }
                pool.waiting.append(continuation)
                return nil
            }
            if let number { continuation.resume(returning: number) }
        }
    }

    private func leave(_ number: Int) {
        let next = pool.withLock { pool in
            if pool.waiting.isEmpty {
                pool.idle.append(number)
                return CheckedContinuation<Int, Never>?.none
            }
            return pool.waiting.removeFirst()
        }
        next?.resume(returning: number)
    }
}

/// One statement with its transition.
private struct QueryTransaction: Sendable {
    let saga: LiveSaga
    let query: Effect.QueryEffect
    let token: UUID
    let worker: String
    let exposed: [String: String]
    let clock: DatabaseClock
    let role: String
    let lockTimeout: Duration
    let evaluate: @Sendable (Effect.Evaluation) -> Result<[JSON], ExpressionError>

    /// Nil when there is no session any more to begin with.
    func run(on connection: Connection) -> SagaQueries.Outcome? {
        guard (try? connection.execute(script: "begin")) != nil else { return nil }
        let decided: (LiveSaga, [Fact])?
        do {
            decided = try decide(on: connection)
        } catch {
            // Nothing was committed: it is rolled back, if not here then with the session.
            try? connection.execute(script: "rollback")
            return .undone(outcome(of: error))
        }
        guard let decided else {
            try? connection.execute(script: "rollback")
            return .unclear
        }
        do {
            try connection.execute(script: "commit")
            return .decided(decided.0, decided.1)
        } catch {
            return error.sqlState == nil ? .unclear : .undone(outcome(of: error))
        }
    }

    /// Nil when the history is not the one that this worker knows.
    private func decide(on connection: Connection) throws -> (LiveSaga, [Fact])? {
        var saga = saga
        try connection.query("select outrider.stay_alive(\(token))")
        // A transaction of the same step whose connection was lost may still be about to commit: this waits for it.
        try connection.query("select from outrider.saga s where s.id = \(saga.context.saga) for no key update")
        let count = try connection.query(
            """
            select count(*) from outrider.saga_fact f
            where f.saga_id = \(saga.context.saga) and f.event <> 'late'
            """)[0].decode(0, as: Int64.self)
        guard Int(count) == saga.factCount else { return nil }
        let outcome = try execute(on: connection)
        tell(.answered(query.step, query.op, send: query.send, outcome), at: clock.now, &saga)
        try write(&saga, on: connection)
        let facts = saga.commit.facts
        saga.isCommitted()
        return (saga, facts)
    }

    /// What the database refuses of the decision, and not of the statement, is decided again.
    private func write(_ saga: inout LiveSaga, on connection: Connection) throws {
        while true {
            saga.finishCommit()
            try connection.execute(script: "savepoint decision")
            do {
                return try SagaExchange.write(saga.commit, on: connection, token: token, worker: worker)
            } catch let error as PostgresError where error.isAboutContent {
                try connection.execute(script: "rollback to savepoint decision")
                let refused = try SagaExchange.refusedPart(of: saga.commit, on: connection)
                guard let refused, let events = saga.refuse(refused, Failure(error)) else { throw error }
                for (event, at) in events { tell(event, at: at, &saga) }
            }
        }
    }

    private func execute(on connection: Connection) throws -> SagaEvent.TryResult {
        try connection.execute(script: "savepoint step")
        do throws(PostgresError) {
            try connection.query(
                """
                select set_config('role', \(role), true), set_config('statement_timeout', \(milliseconds(query.timeout)), true),
                    set_config('lock_timeout', \(milliseconds(min(lockTimeout, query.timeout))), true)
                """)
            let rows = try connection.run(foreign: query.statement, query.arguments.map(Self.text))
            // What would be checked at the commit only is the statement's affair, too.
            try connection.execute(
                script: """
                    set constraints all immediate;
                    reset role; reset statement_timeout; reset lock_timeout; release savepoint step
                    """)
            return .succeeded((rows.count == 1 ? rows[0] : rows.isEmpty ? .null : .array(rows)).storable ?? .null)
        } catch {
            guard error.sqlState != nil else { throw error }
            try connection.execute(
                script: "rollback to savepoint step; reset role; reset statement_timeout; reset lock_timeout")
            return outcome(of: error)
        }
    }

    private func milliseconds(_ duration: Duration) -> String { String(max(1, duration.milliseconds)) }

    private static func text(_ argument: JSON) -> String? {
        argument.isNull ? nil : argument.string ?? argument.text
    }

    private func outcome(of error: any Error) -> SagaEvent.TryResult {
        guard let error = error as? PostgresError, error.sqlState != nil else {
            return .failed(TryError(type: "database", message: "\(error)"), happened: .no, retryAfter: nil)
        }
        let policy = saga.machine.policy(query.step, query.op)
        switch TryOutcome(sqlState: error.sqlState?.rawValue ?? "", message: error.description, policy: policy) {
        case .failed(let error, let happened, let retryAfter):
            return .failed(error, happened: happened, retryAfter: retryAfter)
        case .refused(let error): return .refused(error, isUnknown: false)
        case .succeeded, .ongoing: preconditionFailure("a failed statement has failed")
        }
    }

    private func tell(_ event: SagaEvent, at now: Timestamp, _ saga: inout LiveSaga) {
        var random = SystemRandomNumberGenerator()
        saga.events.append((event, now))
        for effect in saga.machine.handle(event, at: now, random: &random) {
            guard case .evaluate(let evaluation) = effect else {
                saga.absorb(effect)
                continue
            }
            let values = SagaDesk.resolve(evaluation, exposed) ?? evaluate(evaluation)
            tell(.evaluated(id: evaluation.id, values), at: now, &saga)
        }
    }
}

extension PostgresError {
    /// The server refuses this very content, and would refuse it again: our own errors, data exceptions, violated
    /// constraints, what a trigger raises, limits.
    var isAboutContent: Bool {
        guard let state = sqlState else { return false }
        return ["OR", "22", "23", "P0", "54"].contains(String(state.errorClass))
    }
}

extension Failure {
    init(_ error: PostgresError) {
        self.init(type: error.sqlState.map { "sql-\($0)" } ?? "database", detail: error.description)
    }
}
