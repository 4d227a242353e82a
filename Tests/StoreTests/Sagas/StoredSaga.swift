import Delivery
import Expressions
import Postgres
import Primitives
import Sagas
import Store
import TestSupport

/// A saga that a worker of the tests has claimed: its machine is told event by event, and what it decides is written as the
/// engine writes it. Requests go nowhere; their answers are events.
///
///     var saga = try await StoredSaga.claim(by: worker)
///     try await saga.handle(.begin)
///     try await saga.succeed("reserve", ["id": 7])
///     try await saga.rest()
struct StoredSaga {
    let worker: Life
    let id: UUID
    let lane: Int32
    let head: ClaimedSaga.Head
    private(set) var machine: SagaMachine
    private var held: [Int64]
    /// The time that its facts have.
    var now: Timestamp

    var state: SagaState { machine.state }

    // MARK: - Claiming

    /// Takes the saga that comes next in the queue, with its history.
    static func claim(by worker: Life, at now: Timestamp = .now()) async throws -> StoredSaga {
        let claimed = try await worker.claimSagas()
        guard let first = claimed.first, let head = first.head else {
            throw NeverHappened(description: "there is no saga to claim")
        }
        return try await worker.session.run { connection in
            let program = SagaProgram(
                try SagaDefinitions(connection).definition(head.name, hash: head.hash).get())
            let history = try SagaExchange.histories(of: [first.saga], on: connection)[first.saga] ?? []
            return StoredSaga(
                worker: worker, id: first.saga, lane: first.lane, head: head,
                machine: SagaMachine(program, head.saga, history: history),
                held: claimed.filter { $0.saga == first.saga }.map(\.row), now: now)
        }
    }

    // MARK: - Events

    /// Tells the machine, and writes what it decides.
    mutating func handle(_ event: SagaEvent) async throws {
        var commit = decide(event)
        commit.held = held
        try await write(commit)
    }

    mutating func handle(_ events: SagaEvent...) async throws {
        for event in events { try await handle(event) }
    }

    mutating func pass(_ time: Duration) { now = now + time }

    mutating func answer(_ path: String, _ op: Op = .action, _ result: SagaEvent.TryResult) async throws {
        let step = StepPath(path)
        try await handle(.answered(step, op, send: state.effort(step, op)?.sends ?? 1, result))
    }

    mutating func succeed(_ path: String, _ op: Op = .action, _ output: JSON = .null) async throws {
        try await answer(path, op, .succeeded(output))
    }

    mutating func refuse(_ path: String, _ op: Op = .action, type: String = "refused") async throws {
        try await answer(path, op, .refused(TryError(status: 422, type: type, message: "HTTP 422"), isUnknown: false))
    }

    /// A try that may be repeated.
    mutating func fail(
        _ path: String, _ op: Op = .action, _ happened: TryOutcome.Knowledge = .unknown, status: Int? = 503
    ) async throws {
        let error = TryError(status: status, type: "failed", message: status.map { "HTTP \($0)" } ?? "no answer")
        try await answer(path, op, .failed(error, happened: happened, retryAfter: nil))
    }

    /// Reads its mail, as the engine does.
    mutating func readMail() async throws {
        let id = id
        let mail = try await worker.session.run { try SagaExchange.mail(of: [id], on: $0) }
        for letter in mail {
            var commit = letter.event.map { decide($0) } ?? SagaCommit(saga: id, lane: lane)
            commit.readMail = [letter.id]
            commit.held = held
            try await write(commit)
        }
    }

    /// Goes to sleep. Returns whether mail called it back.
    @discardableResult
    func rest(until: Timestamp? = nil) async throws -> Bool {
        var commit = SagaCommit(saga: id, lane: lane)
        commit.held = held
        commit.rest = SagaCommit.Rest(until: until, waitingFor: state.waitingFor)
        return try await write(commit).called == [lane]
    }

    // MARK: - What the engine does

    @discardableResult
    private func write(_ commit: SagaCommit) async throws -> SagaExchange.Outcome {
        let token = worker.token
        return try await worker.session.run { connection in
            var exchange = SagaExchange()
            exchange.commits = [commit]
            return try exchange.run(on: connection, token: token, worker: "w")
        }
    }

    private mutating func decide(_ event: SagaEvent) -> SagaCommit {
        var random = SystemRandomNumberGenerator()
        var commit = SagaCommit(saga: id, lane: lane)
        var waiting = machine.handle(event, at: now, random: &random)[...]
        while let effect = waiting.popFirst() {
            switch effect {
            case .record(let fact): commit.facts.append(fact)
            case .evaluate(let evaluation):
                waiting += machine.handle(
                    .evaluated(id: evaluation.id, Self.values(of: evaluation)), at: now, random: &random)
            case .call(let call):
                guard call.request.isAsync else { break }
                commit.callbacks.append(
                    SagaCommit.CallbackToken(
                        token: "\(id)-\(call.step)-\(call.send)", step: call.step, op: call.op, send: call.send))
            case .query: break
            case .publish(let message): commit.messages.append(message)
            case .startChild(let step, let saga, let input, let key):
                commit.children.append(SagaCommit.Child(step: step, saga: saga, input: input, key: key))
            case .tellChild(let step, let act): commit.childActs.append((step, act))
            case .tellParent(let outcome): if head.hasParent { commit.outcome = outcome }
            case .bury(let letter): commit.letters.append(letter)
            case .settleLetters(let by, let reason): commit.settled = SagaCommit.Settlement(by: by, discarding: reason)
            }
        }
        commit.row = SagaRow(machine.state)
        return commit
    }

    /// Plain paths only.
    private static func values(of evaluation: Effect.Evaluation) -> Result<[JSON], ExpressionError> {
        Result { () throws(ExpressionError) in
            var values: [JSON] = []
            for expression in evaluation.expressions {
                guard let path = expression.path else { throw .failed(message: "\(expression) needs jq") }
                values.append(try path.resolve(in: evaluation.scope, environment: [:]))
            }
            return values
        }
    }
}

extension Life {
    /// Of all types.
    func claimSagas(_ count: Int = 100) async throws -> [ClaimedSaga] {
        let token = token
        return try await session.run { connection in
            var exchange = SagaExchange()
            exchange.requests = try SagaDefinitions(connection).types().map {
                ClaimRequest(subscription: $0.lane, count: count, floor: 0, removes: false)
            }
            return try exchange.run(on: connection, token: token, worker: "w").claimed
        }
    }

    /// Starts sagas from messages of the subscription that starts the only one.
    func startFromMessages(_ count: Int = 100) async throws -> Int {
        let token = token
        return try await session.run { connection in
            var exchange = SagaExchange()
            exchange.starts = try SagaDefinitions(connection).types().compactMap(\.startedBy).map {
                ClaimRequest(subscription: $0, count: count, floor: 0, removes: true)
            }
            return try exchange.run(on: connection, token: token, worker: "w").started.map(\.count).reduce(0, +)
        }
    }
}
