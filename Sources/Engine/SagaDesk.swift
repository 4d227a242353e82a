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
        let isProbe: Bool
        /// Of an async call.
        let token: String?
        /// Its saga was lost with a session: its answer is late.
        var isOrphan = false
    }

    /// A suspect that the worker has survived for so long is none any more.
    private static let probation = Duration.seconds(5)

    private(set) var sagas: [UUID: LiveSaga] = [:]
    private var sent: [UInt64: Sent] = [:]
    private var nextRequest: UInt64 = 1
    private var random = SystemRandomNumberGenerator()
    /// Gates where there is room now, and whose turn it is.
    private var freed: [(gate: EndpointGate, next: EndpointGate.Claimant)] = []
    /// Calls that this machine had no means to make, to be made a little later. They count as in flight.
    private var unsent: [(saga: UUID, number: Int, call: Effect.CallEffect, at: Timestamp)] = []
    /// Calls that their endpoints keep back. They count as in flight.
    var heldCalls = HeldCalls()
    /// Sagas whose machines were told something since the last exchange.
    private var touched: Set<UUID> = []
    /// Of sagas that are not here any more: late answers for their histories, rows to give back.
    private var asides: [(commit: SagaCommit, notBefore: Timestamp?)] = []
    /// Numbers sagas that were taken up, and asides.
    private var count = 0
    var clock = DatabaseClock(.now())
    var isDraining = false

    private let exposed: [String: String]
    private let callbackURL: String?
    private let metrics: WorkerMetrics
    private let log: Log
    /// Has expressions evaluated by jq, and brings the answer to the inbox.
    private let evaluate: (LiveSaga, Effect.Evaluation) -> Void

    init(
        exposed: [String: String], callbackURL: String?, log: Log, metrics: WorkerMetrics,
        evaluate: @escaping (LiveSaga, Effect.Evaluation) -> Void
    ) {
        self.exposed = exposed
        self.callbackURL = callbackURL
        self.log = log
        self.metrics = metrics
        self.evaluate = evaluate
    }

    /// The time by the database's clock.
    var now: Timestamp { clock.now }

    // MARK: - Coming and going

    mutating func take(_ claimed: ClaimedSaga, _ head: ClaimedSaga.Head, _ program: SagaProgram, history: [Fact]) {
        // The same claim may bring several rows of a saga.
        guard !hold(claimed) else { return }
        var saga = LiveSaga(claimed, head, program, history: history, number: nextNumber())
        saga.machine.startsNothing = isDraining
        saga.written.startsNothing = isDraining
        saga.wantsMail = head.hasBegun
        saga.needsRecovery = saga.machine.state.begunAt != nil
        if claimed.isSuspect { saga.suspectUntil = now + Self.probation }
        saga.due = saga.nextDue
        sagas[claimed.saga] = saga
        touched.insert(claimed.saga)
        if saga.isFresh, head.saga.startedAt <= now { tell(claimed.saga, .begin) }
    }

    private mutating func nextNumber() -> Int {
        count += 1
        return count
    }

    private mutating func put(aside commit: SagaCommit) {
        var commit = commit
        commit.aside = nextNumber()
        asides.append((commit, nil))
    }

    /// A claimed saga that cannot be taken up here sleeps for a while.
    mutating func release(_ claimed: ClaimedSaga, for time: Duration, because reason: String?) {
        var release = SagaCommit(saga: claimed.saga, lane: claimed.lane)
        release.held = [claimed.row]
        release.rest = SagaCommit.Rest(until: now + time, waitingFor: reason)
        release.rest?.rescues = claimed.rescues
        put(aside: release)
    }

    var hasSuspect: Bool { sagas.values.contains { $0.suspectUntil != nil } }

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
        for (id, saga) in sagas {
            for answer in saga.answers { recordLate(id, saga.lane, answer) }
        }
        sagas = [:]
        touched = []
        unsent = []
        heldCalls = HeldCalls()
        for id in sent.keys { sent[id]!.isOrphan = true }
    }

    private mutating func recordLate(_ id: UUID, _ lane: Int32, _ answer: (step: StepPath, op: Op, attempt: Int)) {
        var commit = SagaCommit(saga: id, lane: lane)
        commit.facts = [
            Fact(
                at: now, step: answer.step, op: answer.op, attempt: answer.attempt,
                .late("answered after the worker had lost the saga"))
        ]
        put(aside: commit)
    }

    mutating func drain() {
        isDraining = true
        for call in heldCalls.removeAll() { postpone(call, for: .zero) }
        for id in sagas.keys {
            sagas[id]!.machine.startsNothing = true
            sagas[id]!.written.startsNothing = true
            touched.insert(id)
        }
    }

    var isIdle: Bool { sagas.isEmpty && sent.isEmpty && asides.isEmpty }

    /// When the next saga's time comes.
    var due: Timestamp? {
        // Of one that is busy its own answer is heard first.
        let idle = sagas.values.lazy.filter { !$0.isBusy }
        let postponed = [
            idle.compactMap(\.postponedUntil).min(), heldCalls.firstPatience,
            sagas.values.lazy.compactMap(\.suspectUntil).min(),
            asides.lazy.compactMap(\.notBefore).min(), unsent.lazy.map(\.at).min(),
        ]
        // A worker that stops begins nothing, whatever comes due.
        let due = isDraining ? nil : idle.compactMap(\.due).min()
        return (postponed + [due]).compactMap(\.self).min()
    }

    /// How many sagas are here, by lane.
    var active: [Int32: Int] {
        sagas.values.reduce(into: [:]) { $0[$1.lane, default: 0] += 1 }
    }

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
            sagas[id]!.acquit()
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
        evaluate(sagas[id]!, evaluation)
    }

    /// Nil when one of the expressions needs jq.
    static func resolve(
        _ evaluation: Effect.Evaluation, _ exposed: [String: String]
    ) -> Result<[JSON], ExpressionError>? {
        var values: [JSON] = []
        for expression in evaluation.expressions {
            guard let path = expression.path else { return nil }
            do throws(ExpressionError) {
                values.append(try storable(try path.resolve(in: evaluation.scope, environment: exposed)))
            } catch {
                return .failure(error)
            }
        }
        return .success(values)
    }

    static func storable(_ value: JSON) throws(ExpressionError) -> JSON {
        guard let storable = value.storable else {
            throw .failed(message: "the value holds a number that PostgreSQL cannot keep")
        }
        return storable
    }

    /// - Parameter number: that of the saga when it asked.
    mutating func evaluated(
        _ id: UUID, number: Int, _ evaluation: Int, _ result: Result<[JSON], ExpressionError>
    ) {
        guard sagas[id]?.number == number else { return }
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
        for (id, saga) in sagas where saga.suspectUntil.map({ $0 <= now }) == true {
            sagas[id]!.acquit()
            touched.insert(id)
        }
        guard !isDraining else { return }
        for (id, saga) in sagas where saga.due.map({ $0 <= now }) == true && !saga.isBusy {
            sagas[id]!.due = nil
            sagas[id]!.tickedAt = now
            tell(id, saga.isFresh ? .begin : .tick)
        }
    }

    // MARK: - Answers

    mutating func answered(_ exchange: HTTPExchange) {
        guard let sent = sent.removeValue(forKey: exchange.id) else { return }
        let call = sent.call
        var result = SagaEvent.TryResult(
            exchange.result, policy: sent.policy, isAsync: call.request.isAsync, now: now,
            redact: { sent.endpoint?.redacted($0) ?? $0 })
        if let gate = sent.endpoint?.gate {
            let ending = gate.ended(exchange.word, isProbe: sent.isProbe, now: .now)
            if ending.isForgiven { result = result.forgiven(policy: sent.policy) }
            if let next = ending.next { freed.append((gate, next)) }
        }
        guard !sent.isOrphan, sagas[sent.saga] != nil else {
            return recordLate(sent.saga, sent.lane, (call.step, call.op, call.attempt))
        }
        if case .failure(let failure) = exchange.result, case .noResources = failure.kind {
            return keep(sent, failure)
        }
        sagas[sent.saga]!.inFlight -= 1
        touched.insert(sent.saga)
        if case .failure(let failure) = exchange.result, failure.isCancelled {
            // The worker stops. What became of it another one cannot know, and takes for unknown.
            sagas[sent.saga]!.isAbandoned = true
            return
        }
        metrics.handlerDuration("saga:\(sagas[sent.saga]!.context.name)").observe(exchange.duration)
        sagas[sent.saga]!.answers.append((call.step, call.op, call.attempt))
        tell(sent.saga, .answered(call.step, call.op, send: call.send, result))
    }

    /// Nothing was sent, and the handler has no part in it.
    private mutating func keep(_ sent: Sent, _ failure: TransportFailure) {
        log.error("http.no_resources", ["error": failure.message], limitPerSecond: 1)
        guard let saga = sagas[sent.saga] else { return }
        let call = sent.call
        if let token = sent.token {
            sagas[sent.saga]!.tokens[LiveSaga.TokenKey(step: call.step, op: call.op, send: call.send)] = token
        }
        unsent.append((sent.saga, saga.number, call, now + .seconds(1)))
    }

    /// Calls that may be possible now.
    mutating func takeUnsent() -> [(UUID, Effect.CallEffect)] {
        guard !unsent.isEmpty else { return [] }
        let now = now
        let due = unsent.filter { $0.at <= now }
        unsent.removeAll { $0.at <= now }
        return due.compactMap { saga, number, call, _ in
            guard sagas[saga]?.number == number else { return nil }
            sagas[saga]!.inFlight -= 1
            touched.insert(saga)
            return (saga, call)
        }
    }

    /// The worker stops: another one makes them.
    mutating func giveUpUnsent() {
        for (saga, number, _, _) in unsent where sagas[saga]?.number == number {
            sagas[saga]!.inFlight -= 1
            sagas[saga]!.isAbandoned = true
            touched.insert(saga)
        }
        unsent = []
    }

    // MARK: - Endpoints

    mutating func takeFreed() -> [(gate: EndpointGate, next: EndpointGate.Claimant)] {
        defer { freed = [] }
        return freed
    }

    /// Its endpoint keeps it back. At half of its patience it is told so, lest it goes out with too little of it left.
    mutating func hold(_ id: UUID, _ call: Effect.CallEffect, at gate: EndpointGate, until: ContinuousClock.Instant?) {
        guard let saga = sagas[id], isWanted(id, call.step, call.op, send: call.send) else { return }
        let now = now
        guard now < call.deadline else { return cannotSend(id, call, "its time was over before it was sent") }
        sagas[id]!.inFlight += 1
        heldCalls.append(
            HeldCalls.Call(
                saga: id, number: saga.number, call: call, patience: now + (call.deadline - now) / 2),
            at: gate.endpoint, until: until)
    }

    /// What was kept back at an endpoint, to be tried again in order; each counts as held no more.
    mutating func takeHeld(at endpoint: String) -> [(UUID, Effect.CallEffect)] {
        heldCalls.remove(at: endpoint).compactMap { held in
            guard sagas[held.saga]?.number == held.number else { return nil }
            sagas[held.saga]!.inFlight -= 1
            touched.insert(held.saga)
            return (held.saga, held.call)
        }
    }

    /// Those that have waited for long go back to their sagas: nothing was sent, and no attempt is used up.
    mutating func releaseImpatient(now: ContinuousClock.Instant) {
        for (call, until) in heldCalls.removeImpatient(self.now) {
            postpone(call, for: max(until.map { $0 - now } ?? .zero, .milliseconds(100)))
        }
    }

    private mutating func postpone(_ held: HeldCalls.Call, for time: Duration) {
        guard sagas[held.saga]?.number == held.number else { return }
        sagas[held.saga]!.inFlight -= 1
        let call = held.call
        let error = TryError(type: "held-back", message: "the endpoint's limits or its breaker keep it back")
        tell(
            held.saga, .answered(call.step, call.op, send: call.send, .postponed(error, happened: .no, after: time)))
    }

    /// A call that this worker cannot make.
    mutating func cannotSend(_ id: UUID, _ call: Effect.CallEffect, _ reason: String) {
        let error = TryError(type: "not-sendable", message: reason)
        tell(id, .answered(call.step, call.op, send: call.send, .failed(error, happened: .no, retryAfter: nil)))
    }

    // MARK: - Exchanging with the database

    /// The decisions that can be written, and who goes to rest with them.
    mutating func commits() -> [SagaCommit] {
        let now = now
        var commits = asides.filter { $0.notBefore.map { $0 <= now } ?? true }.map(\.commit)
        for id in touched {
            guard var saga = sagas[id], !saga.isBusy else { continue }
            if let later = saga.postponedUntil, later > now { continue }
            saga.postponedUntil = nil
            saga.finishCommit()
            saga.commit.rest = nil
            saga.due = saga.nextDue
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
            if saga.hasNews || isToGoOut || saga.commit.rest != nil || saga.commit.clearsRescues {
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
        remove(asides: commits)
        var calls: [(UUID, Effect.CallEffect)] = []
        var queries: [(UUID, Effect.QueryEffect)] = []
        for commit in commits where commit.aside == nil && sagas[commit.saga] != nil {
            if let saga = sagas[commit.saga] { report(commit.facts, of: saga) }
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

    private mutating func remove(asides commits: [SagaCommit]) {
        let written = Set(commits.compactMap(\.aside))
        if !written.isEmpty { asides.removeAll { $0.commit.aside.map(written.contains) == true } }
    }

    /// The database could not write it, which may pass: it is tried again a little later.
    mutating func postpone(_ commit: SagaCommit) {
        let later = now + .seconds(1)
        if commit.aside != nil {
            for index in asides.indices where asides[index].commit.aside == commit.aside {
                asides[index].notBefore = later
            }
        } else {
            sagas[commit.saga]?.postponedUntil = later
        }
    }

    /// The request of a call, now counted as in flight. Nil for one that is not wanted any more, which its machine is told.
    mutating func request(
        _ id: UUID, _ call: Effect.CallEffect, endpoint: ResolvedEndpoint?, isProbe: Bool = false
    ) -> HTTPRequest? {
        guard let saga = sagas[id] else { return nil }
        guard isWanted(id, call.step, call.op, send: call.send) else { return nil }
        let now = now
        guard now < call.deadline else {
            cannotSend(id, call, "its time was over before it was sent")
            return nil
        }
        var call = call
        call.timeout = min(call.timeout, call.deadline - now)
        let number = nextRequest
        nextRequest += 1
        sagas[id]!.inFlight += 1
        let key = LiveSaga.TokenKey(step: call.step, op: call.op, send: call.send)
        let token = sagas[id]!.tokens.removeValue(forKey: key)
        sent[number] = Sent(
            saga: id, lane: saga.lane, call: call, policy: saga.machine.policy(call.step, call.op), endpoint: endpoint,
            isProbe: isProbe, token: token)
        return SagaRequest.make(
            id: number, call, saga.context, endpoint: endpoint, token: token, callbackURL: callbackURL, now: now)
    }

    /// What was decided after a request, in the same commit, may speak against it.
    private mutating func isWanted(_ id: UUID, _ step: StepPath, _ op: Op, send: Int) -> Bool {
        guard sagas[id]?.machine.isWanted(step, op, send: send) == false else { return true }
        let error = TryError(type: "aborted", message: "it was not sent: the saga aborts")
        tell(id, .answered(step, op, send: send, .failed(error, happened: .no, retryAfter: nil)))
        return false
    }

    /// The database refuses a part of this decision: the saga's machine decides again, knowing so. False when that is of no use.
    mutating func refused(_ commit: SagaCommit, _ part: Effect.Message.Origin, _ failure: Failure) -> Bool {
        guard commit.aside == nil, let events = sagas[commit.saga]?.refuse(part, failure) else { return false }
        for (event, at) in events {
            // Evaluations of the new decision may be under way.
            guard sagas[commit.saga]?.isBusy == false else {
                sagas[commit.saga]!.waiting.append(event)
                continue
            }
            sagas[commit.saga]!.events.append((event, at))
            handle(commit.saga, event, at: at)
        }
        sagas[commit.saga]?.finishCommit()
        return true
    }

    /// The database will never write this.
    mutating func giveUp(_ commit: SagaCommit) {
        if commit.aside != nil { remove(asides: [commit]) } else { drop(commit.saga, for: .seconds(60)) }
    }

    /// What is in memory is not what the database has: it is given back, to be taken up from its history.
    mutating func drop(_ id: UUID, for time: Duration) {
        guard let saga = sagas.removeValue(forKey: id) else { return }
        touched.remove(id)
        for answer in saga.answers { recordLate(id, saga.lane, answer) }
        var release = SagaCommit(saga: id, lane: saga.lane)
        release.held = saga.commit.held
        release.rest = SagaCommit.Rest(until: now + time, waitingFor: nil)
        put(aside: release)
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

    /// - Parameter number: that of the saga when the statement began.
    mutating func queryEnded(
        _ id: UUID, number: Int, _ query: Effect.QueryEffect, _ outcome: SagaQueries.Outcome
    ) {
        guard let before = sagas[id], before.number == number else { return }
        switch outcome {
        case .unclear: return drop(id, for: .seconds(1))
        case .undone(let result):
            sagas[id]!.isQuerying = false
            tell(id, .answered(query.step, query.op, send: query.send, result))
        case .decided(var saga, let facts):
            report(facts, of: saga)
            saga.isQuerying = false
            saga.waiting = before.waiting
            saga.answers = before.answers
            saga.wantsMail = before.wantsMail
            saga.inFlight = before.inFlight
            saga.isAbandoned = before.isAbandoned
            saga.queries += before.queries
            saga.commit.held = before.commit.held
            saga.acquit()
            saga.machine.startsNothing = isDraining
            saga.written.startsNothing = isDraining
            sagas[id] = saga
        }
        touched.insert(id)
        goOn(id)
    }

    // MARK: - Telling

    private func report(_ facts: [Fact], of saga: LiveSaga) {
        let (name, id) = (saga.context.name, saga.context.saga)
        for fact in facts {
            switch fact.kind {
            case .completed, .compensated, .failed, .terminated:
                metrics.sagas(name, fact.event).increment()
                log.debug("saga.\(fact.event)", ["saga": name, "id": "\(id)"])
            case .stuck(let trouble):
                metrics.sagas(name, "stuck").increment()
                log.error(
                    "saga.stuck",
                    [
                        "saga": name, "id": "\(id)", "reason": trouble.reason.rawValue,
                        "step": trouble.step?.text, "hint": "outrider saga show \(id)",
                    ], limitPerSecond: 20)
            case .aborting(let failure):
                log.warning(
                    "saga.aborting",
                    ["saga": name, "id": "\(id)", "type": failure.type, "step": failure.step?.text],
                    limitPerSecond: 20)
            case .tryFailed(let failure, _, let next):
                log.warning(
                    "saga.try_failed",
                    [
                        "saga": name, "id": "\(id)", "step": fact.step?.text, "op": fact.op?.rawValue,
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
