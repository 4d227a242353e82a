import Delivery
import Expressions
import Postgres
import Primitives
import Sagas
import Store

/// The `sql` steps: each in one transaction with what its saga's machine makes of the outcome, so that it happens exactly
/// once. On connections of their own, so that a statement that takes its time holds up no other saga.
final class SagaQueries: Sendable {
    /// As the statements run: least privilege, and the owner of what they may touch grants it.
    static let role = "outrider_step"
    /// How long a statement waits for a lock.
    private static let lockTimeout = Duration.seconds(5)

    private let sessions: [Session]
    private let worker: String
    private let exposed: [String: String]

    /// - Parameter connections: statements at once; each connection is made when it is first needed.
    init(databaseURL: String, worker: String, exposed: [String: String], connections: Int = 4) {
        var options = ConnectionOptions()
        options.applicationName = "outrider \(worker) steps"
        options.settings = [("jit", "off"), ("client_min_messages", "warning")] + ConnectionOptions.sessionOfAWorker
        sessions = (0..<connections).map { _ in Session(databaseURL, options: options) }
        self.worker = worker
        self.exposed = exposed
    }

    func close() async {
        for session in sessions { await session.close() }
    }

    /// Runs the statement, tells the machine, and writes its decision; nil when the saga has to be taken up again from its
    /// history: its facts there are not those that this worker knows.
    func run(
        _ saga: LiveSaga, _ query: Effect.QueryEffect, token: UUID, clockOffset: Duration, number: Int,
        evaluate: @escaping @Sendable (Effect.Evaluation) -> Result<[JSON], ExpressionError>
    ) async -> LiveSaga? {
        let (worker, exposed) = (worker, exposed)
        let transaction = QueryTransaction(
            saga: saga, query: query, token: token, worker: worker, exposed: exposed, clockOffset: clockOffset,
            role: Self.role, lockTimeout: Self.lockTimeout, evaluate: evaluate)
        do {
            return try await sessions[number % sessions.count].run { connection in
                try connection.transaction { try transaction.run(on: connection) }
            }
        } catch {
            // Lost at the commit, or refused: the history tells.
            return nil
        }
    }
}

/// One statement with its transition.
private struct QueryTransaction: Sendable {
    let saga: LiveSaga
    let query: Effect.QueryEffect
    let token: UUID
    let worker: String
    let exposed: [String: String]
    let clockOffset: Duration
    let role: String
    let lockTimeout: Duration
    let evaluate: @Sendable (Effect.Evaluation) -> Result<[JSON], ExpressionError>

    func run(on connection: Connection) throws -> LiveSaga? {
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
        tell(.answered(query.step, query.op, send: query.send, outcome), at: .now() + clockOffset, &saga)
        try write(&saga, on: connection)
        saga.isCommitted()
        return saga
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
                guard let events = saga.refuse(Failure(error)) else { throw error }
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
            try connection.execute(
                script: "reset role; reset statement_timeout; reset lock_timeout; release savepoint step")
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

    private func outcome(of error: PostgresError) -> SagaEvent.TryResult {
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
