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
    /// What became of a statement.
    enum Outcome: Sendable {
        /// Done or not, the saga's decision about it is written: the saga as it is now, and what was written.
        case decided(LiveSaga, [Fact])
        /// It is known not to have happened, and nothing is written of it.
        case undone(SagaEvent.TryResult)
        /// The history tells: the commit was lost, or somebody else has written there.
        case unclear
    }

    private let pool: StatementPool
    private let worker: String
    private let exposed: [String: String]

    /// - Parameter connections: statements at once.
    init(databaseURL: String, worker: String, exposed: [String: String], connections: Int = 16) {
        pool = StatementPool(databaseURL: databaseURL, worker: worker, connections: connections)
        self.worker = worker
        self.exposed = exposed
    }

    /// Ends what is under way, and refuses what comes: nothing of it happens.
    func cancelAll() { pool.cancelAll() }

    func close() async { await pool.close() }

    /// Runs the statement, tells the machine, and writes its decision.
    func run(
        _ saga: LiveSaga, _ query: Effect.QueryEffect, token: UUID, clock: DatabaseClock,
        evaluate: @escaping @Sendable (Effect.Evaluation) -> Result<[JSON], ExpressionError>
    ) async -> Outcome {
        let transaction = QueryTransaction(
            saga: saga, query: query, token: token, worker: worker, exposed: exposed, clock: clock, evaluate: evaluate)
        switch await pool.lend({ transaction.run(on: $0) }) {
        case .value(let outcome): return outcome
        case .stopped: return .undone(Self.failure("the worker stops"))
        case .failed(let reason): return .undone(Self.failure(reason))
        }
    }

    private static func failure(_ message: String) -> SagaEvent.TryResult {
        .failed(TryError(type: "database", message: message), happened: .no, retryAfter: nil)
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
        let statement = ForeignStatement(query.statement, arguments: query.arguments, timeout: query.timeout)
        do throws(PostgresError) {
            try connection.query(statement.settings)
            let output = try statement.run(on: connection)
            try connection.execute(script: "\(ForeignStatement.reset); release savepoint step")
            return .succeeded(output.storable ?? .null)
        } catch {
            guard error.sqlState != nil else { throw error }
            try connection.execute(
                script: "rollback to savepoint step; reset role; reset statement_timeout; reset lock_timeout")
            return outcome(of: error)
        }
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
