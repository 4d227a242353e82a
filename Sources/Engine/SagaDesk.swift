import Delivery
import Expressions
import HTTPClient
import Primitives
import Sagas
import Store
import Telemetry

/// The sagas that this worker has in memory: tells their machines what happened, and sorts what those want done into what is
/// written and what goes out afterwards. Belongs to the thread of `SagaLoop`; what other threads have for it comes through
/// that one's inbox.
struct SagaDesk {
    /// A call that is with its handler.
    struct Sent {
        let saga: UUID
        let lane: Int32
        let call: Effect.CallEffect
        let policy: RetryPolicy
        let endpoint: ResolvedEndpoint?
        /// Its saga was lost with a session: its answer is late.
        var isOrphan = false
    }

    private(set) var sagas: [UUID: LiveSaga] = [:]
    private var sent: [UInt64: Sent] = [:]
    private var nextRequest: UInt64 = 1
    private var random = SystemRandomNumberGenerator()
    /// Sagas whose machines were told something since the last exchange.
    private var touched: Set<UUID> = []
    /// Of sagas that are not here any more: late answers for their histories, rows to give back.
    private var loose: [SagaCommit] = []
    /// What to add to this machine's clock to get the database's.
    var clockOffset = Duration.zero
    var isDraining = false

    private let exposed: [String: String]
    private let callbackURL: String?
    private let metrics: WorkerMetrics
    private let log: Log
    /// Has expressions evaluated by jq, and brings the answer to the inbox.
    private let evaluate: (UUID, Int32, Effect.Evaluation) -> Void

    init(
        exposed: [String: String], callbackURL: String?, log: Log, metrics: WorkerMetrics,
        evaluate: @escaping (UUID, Int32, Effect.Evaluation) -> Void
    ) {
        self.exposed = exposed
        self.callbackURL = callbackURL
        self.log = log
        self.metrics = metrics
        self.evaluate = evaluate
    }

    /// The time by the database's clock.
    var now: Timestamp { .now() + clockOffset }

    // MARK: - Coming and going

    mutating func take(_ claimed: ClaimedSaga, _ head: ClaimedSaga.Head, _ program: SagaProgram, history: [Fact]) {
        var saga = LiveSaga(claimed, head, program, history: history)
        saga.machine.startsNothing = isDraining
        saga.written.startsNothing = isDraining
        saga.wantsMail = head.hasBegun
        saga.needsRecovery = saga.machine.state.begunAt != nil
        sagas[claimed.saga] = saga
        touched.insert(claimed.saga)
        if saga.machine.state.begunAt == nil { tell(claimed.saga, .begin) }
    }

    /// A claimed saga that cannot be taken up here sleeps for a while.
    mutating func release(_ claimed: ClaimedSaga, for time: Duration) {
        var release = SagaCommit(saga: claimed.saga, lane: claimed.lane)
        release.held = [claimed.row]
        release.rest = SagaCommit.Rest(until: now + time, waitingFor: "a worker that can read its definition")
        loose.append(release)
    }

    /// A further row of the queue speaks of a saga that is here: there is mail for it.
    mutating func hold(_ claimed: ClaimedSaga) -> Bool {
        guard sagas[claimed.saga] != nil else { return false }
        sagas[claimed.saga]!.commit.held.append(claimed.row)
        expectMail(claimed.saga)
        return true
    }

    mutating func expectMail(_ id: UUID) {
        guard sagas[id] != nil else { return }
        sagas[id]!.wantsMail = true
        touched.insert(id)
    }

    /// Those whose mail can be read now.
    var wantingMail: [UUID] { touched.filter { sagas[$0].map { $0.wantsMail && !$0.isBusy } == true } }

    /// All mail of a saga. One that was taken up from its history goes on after it.
    mutating func deliver(_ mail: [SagaMail], to id: UUID) {
        guard sagas[id] != nil else { return }
        let known = Set(sagas[id]!.commit.readMail)
        sagas[id]!.wantsMail = false
        for letter in mail where !known.contains(letter.id) {
            sagas[id]!.commit.readMail.append(letter.id)
            if let event = letter.event { tell(id, event) }
        }
        if sagas[id]!.needsRecovery {
            sagas[id]!.needsRecovery = false
            tell(id, .recovered)
        }
        touched.insert(id)
    }

    /// The session is gone: others may take its sagas up. Answers that are still to come are late.
    mutating func forgetAll() {
        sagas = [:]
        touched = []
        for id in sent.keys { sent[id]!.isOrphan = true }
    }

    mutating func drain() {
        isDraining = true
        for id in sagas.keys {
            sagas[id]!.machine.startsNothing = true
            sagas[id]!.written.startsNothing = true
            touched.insert(id)
        }
    }

    var isIdle: Bool { sagas.isEmpty && sent.isEmpty && loose.isEmpty }

    /// When the next saga's time comes.
    var due: Timestamp? { sagas.values.lazy.compactMap(\.due).min() }

    func active(in lane: Int32) -> Int { sagas.values.count { $0.lane == lane } }

    // MARK: - Events

    mutating func tell(_ id: UUID, _ event: SagaEvent) {
        guard sagas[id] != nil else { return }
        touched.insert(id)
        if sagas[id]!.isBusy {
            if case .evaluated = event {
            } else {
                sagas[id]!.waiting.append(event)
                return
            }
        }
        switch event {
        case .answered, .calledBack:
            if sagas[id]!.wasRescued {
                sagas[id]!.wasRescued = false
                sagas[id]!.commit.clearsRescues = true
            }
        case .begin, .recovered, .tick, .evaluated, .signalled, .childEnded, .asked: break
        }
        sagas[id]!.events.append((event, now))
        handle(id, event, at: now)
    }

    private mutating func handle(_ id: UUID, _ event: SagaEvent, at now: Timestamp) {
        for effect in sagas[id]!.machine.handle(event, at: now, random: &random) { absorb(effect, id) }
    }

    private mutating func absorb(_ effect: Effect, _ id: UUID) {
        guard case .evaluate(let evaluation) = effect else {
            sagas[id]!.absorb(effect)
            return
        }
        if let values = Self.resolve(evaluation, exposed) { return tell(id, .evaluated(id: evaluation.id, values)) }
        sagas[id]!.evaluating += 1
        evaluate(id, sagas[id]!.lane, evaluation)
    }

    /// Nil when one of the expressions needs jq.
    static func resolve(
        _ evaluation: Effect.Evaluation, _ exposed: [String: String]
    ) -> Result<[JSON], ExpressionError>? {
        var values: [JSON] = []
        for expression in evaluation.expressions {
            guard let path = expression.path else { return nil }
            do throws(ExpressionError) {
                values.append(try path.resolve(in: evaluation.scope, environment: exposed))
            } catch {
                return .failure(error)
            }
        }
        return .success(values)
    }

    mutating func evaluated(_ id: UUID, _ evaluation: Int, _ result: Result<[JSON], ExpressionError>) {
        guard sagas[id] != nil else { return }
        sagas[id]!.evaluating -= 1
        tell(id, .evaluated(id: evaluation, result))
        goOn(id)
    }

    /// Tells what came while the machine was busy.
    private mutating func goOn(_ id: UUID) {
        while sagas[id]?.isBusy == false, sagas[id]?.waiting.isEmpty == false {
            tell(id, sagas[id]!.waiting.removeFirst())
        }
    }

    mutating func tick() {
        let now = now
        for (id, saga) in sagas where saga.due.map({ $0 <= now }) == true && !saga.isBusy {
            sagas[id]!.due = nil
            tell(id, .tick)
        }
    }

    // MARK: - Answers

    mutating func answered(_ exchange: HTTPExchange) {
        guard let sent = sent.removeValue(forKey: exchange.id) else { return }
        let call = sent.call
        let result = SagaEvent.TryResult(
            exchange.result, policy: sent.policy, isAsync: call.request.isAsync, now: now,
            redact: { sent.endpoint?.redacted($0) ?? $0 })
        guard !sent.isOrphan, sagas[sent.saga] != nil else {
            var commit = SagaCommit(saga: sent.saga, lane: sent.lane)
            commit.facts = [
                Fact(
                    at: now, step: call.step, op: call.op, attempt: call.attempt,
                    .late("answered after the worker had lost the saga"))
            ]
            loose.append(commit)
            return
        }
        sagas[sent.saga]!.inFlight -= 1
        touched.insert(sent.saga)
        if case .failure(let failure) = exchange.result, failure.isCancelled {
            // The worker stops. What became of it another one cannot know, and takes for unknown.
            sagas[sent.saga]!.isAbandoned = true
            return
        }
        metrics.handlerDuration("saga:\(sagas[sent.saga]!.context.name)").observe(exchange.duration)
        tell(sent.saga, .answered(call.step, call.op, send: call.send, result))
    }

    // MARK: - Exchanging with the database

    /// The decisions that can be written, and who goes to rest with them.
    mutating func commits() -> [SagaCommit] {
        var commits = loose
        let now = now
        for id in touched {
            guard var saga = sagas[id], !saga.isBusy else { continue }
            saga.finishCommit()
            saga.commit.rest = nil
            saga.due = saga.machine.nextDue
            if saga.isAtRest || saga.isAbandoned && saga.inFlight == 0 {
                if isDraining || saga.isAbandoned {
                    saga.commit.rest = SagaCommit.Rest(
                        until: saga.machine.state.status.hasEnded ? nil : now, waitingFor: saga.machine.state.waitingFor
                    )
                } else if saga.due.map({ $0 - now > .seconds(1) }) ?? true {
                    saga.commit.rest = SagaCommit.Rest(until: saga.due, waitingFor: saga.machine.state.waitingFor)
                }
            }
            sagas[id] = saga
            let isToGoOut = !saga.calls.isEmpty || !saga.queries.isEmpty
            if saga.hasNews || isToGoOut || saga.commit.rest != nil {
                commits.append(saga.commit)
            } else {
                touched.remove(id)
            }
        }
        return commits
    }

    /// The commits are durable. What they allow goes out.
    mutating func committed(_ commits: [SagaCommit]) -> (
        calls: [(UUID, Effect.CallEffect)], queries: [(UUID, Effect.QueryEffect)]
    ) {
        let written = Set(commits.map(\.saga))
        loose.removeAll { written.contains($0.saga) }
        var calls: [(UUID, Effect.CallEffect)] = []
        var queries: [(UUID, Effect.QueryEffect)] = []
        for commit in commits where sagas[commit.saga] != nil {
            report(commit)
            guard commit.rest == nil else {
                sagas[commit.saga] = nil
                touched.remove(commit.saga)
                continue
            }
            sagas[commit.saga]!.isCommitted()
            calls += sagas[commit.saga]!.calls.map { (commit.saga, $0) }
            queries += sagas[commit.saga]!.queries.map { (commit.saga, $0) }
            sagas[commit.saga]!.calls = []
            sagas[commit.saga]!.queries = []
        }
        return (calls, queries)
    }

    /// The request of a call, now counted as in flight. Nil for one that is not wanted any more, which its machine is told.
    mutating func request(
        _ id: UUID, _ call: Effect.CallEffect, endpoint: ResolvedEndpoint?
    ) -> HTTPRequest? {
        guard let saga = sagas[id] else { return nil }
        guard isWanted(id, call.step, call.op, send: call.send) else { return nil }
        let number = nextRequest
        nextRequest += 1
        sagas[id]!.inFlight += 1
        let key = LiveSaga.TokenKey(step: call.step, op: call.op, send: call.send)
        sent[number] = Sent(
            saga: id, lane: saga.lane, call: call, policy: saga.machine.policy(call.step, call.op), endpoint: endpoint)
        return SagaRequest.make(
            id: number, call, saga.context, endpoint: endpoint, token: sagas[id]!.tokens.removeValue(forKey: key),
            callbackURL: callbackURL, now: now)
    }

    /// What was decided after a request, in the same commit, may speak against it.
    private mutating func isWanted(_ id: UUID, _ step: StepPath, _ op: Op, send: Int) -> Bool {
        guard sagas[id]?.machine.isWanted(step, op, send: send) == false else { return true }
        let error = TryError(type: "aborted", message: "it was not sent: the saga aborts")
        tell(id, .answered(step, op, send: send, .failed(error, happened: .no, retryAfter: nil)))
        return false
    }

    /// The database refuses something of this saga's decision: its machine decides again, knowing so. False when nothing is
    /// left that could be refused.
    mutating func refused(_ id: UUID, _ failure: Failure) -> Bool {
        guard let events = sagas[id]?.refuse(failure) else { return false }
        for (event, at) in events {
            sagas[id]!.events.append((event, at))
            handle(id, event, at: at)
        }
        sagas[id]?.finishCommit()
        return true
    }

    /// What is in memory is not what the database has: it is given back, to be taken up from its history.
    mutating func drop(_ id: UUID) {
        loose.removeAll { $0.saga == id }
        guard let saga = sagas.removeValue(forKey: id) else { return }
        touched.remove(id)
        var release = SagaCommit(saga: id, lane: saga.lane)
        release.held = saga.commit.held
        release.rest = SagaCommit.Rest(until: now, waitingFor: nil)
        loose.append(release)
        for (number, sent) in sent where sent.saga == id { self.sent[number]!.isOrphan = true }
    }

    // MARK: - Statements of their own transactions

    /// The saga, for its transaction; nil when the statement is not wanted any more. One at a time: a further one waits.
    mutating func queryBegins(_ id: UUID, _ query: Effect.QueryEffect) -> LiveSaga? {
        guard let saga = sagas[id], isWanted(id, query.step, query.op, send: query.send) else { return nil }
        guard !saga.isBusy else {
            sagas[id]!.queries.append(query)
            return nil
        }
        sagas[id]!.isQuerying = true
        return sagas[id]
    }

    /// - Parameter saga: as its transaction left it; nil when it is to be taken up from its history again.
    mutating func queryEnded(_ id: UUID, _ saga: LiveSaga?) {
        guard sagas[id] != nil else { return }
        guard var saga else { return drop(id) }
        saga.isQuerying = false
        saga.waiting = sagas[id]!.waiting
        saga.wantsMail = sagas[id]!.wantsMail
        saga.inFlight = sagas[id]!.inFlight
        saga.queries += sagas[id]!.queries
        saga.commit.held = sagas[id]!.commit.held
        saga.machine.startsNothing = isDraining
        saga.written.startsNothing = isDraining
        sagas[id] = saga
        touched.insert(id)
        goOn(id)
    }

    // MARK: - Telling

    private func report(_ commit: SagaCommit) {
        guard let saga = sagas[commit.saga] else { return }
        let name = saga.context.name
        for fact in commit.facts {
            switch fact.kind {
            case .completed, .compensated, .failed, .terminated:
                metrics.sagas(name, fact.event).increment()
                log.debug("saga.\(fact.event)", ["saga": name, "id": "\(commit.saga)"])
            case .stuck(let trouble):
                metrics.sagas(name, "stuck").increment()
                log.error(
                    "saga.stuck",
                    [
                        "saga": name, "id": "\(commit.saga)", "reason": trouble.reason.rawValue,
                        "step": trouble.step?.text, "hint": "outrider saga show \(commit.saga)",
                    ], limitPerSecond: 20)
            case .aborting(let failure):
                log.warning(
                    "saga.aborting",
                    ["saga": name, "id": "\(commit.saga)", "type": failure.type, "step": failure.step?.text],
                    limitPerSecond: 20)
            case .tryFailed(let failure, _, let next):
                log.warning(
                    "saga.try_failed",
                    [
                        "saga": name, "id": "\(commit.saga)", "step": fact.step?.text, "op": fact.op?.rawValue,
                        "attempt": fact.attempt, "status": failure.status, "type": failure.type,
                        "retry_in": next - fact.at,
                    ], limitPerSecond: 20)
            default: break
            }
        }
    }
}

extension TransportFailure {
    fileprivate var isCancelled: Bool {
        if case .cancelled = kind { true } else { false }
    }
}
