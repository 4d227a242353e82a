import Delivery
import Expressions
package import Primitives

/// The state machine of one saga: a pure value. It is told what happened and says what to do; it knows no clock, no
/// database and no network, and takes its randomness from the caller.
///
/// Every change of its state is a fact. `handle` records facts and applies each at once, so that a machine that is made from
/// a saga's history stands where the one that wrote it stood.
///
///     handle(event) ─▶ the event's own facts ─▶ advance() ─▶ run()     forward: walks the steps, begins what can begin
///                                                         ─▶ settle()  aborting: awaits what is in flight
///                                                         ─▶ undo()    then undoes, the last started first
///
/// The states of a saga, of a step and of its tries are documented at `SagaState.Status`, `StepState.Status` and
/// `Effort.Phase`.
package struct SagaMachine: Sendable {
    package let program: SagaProgram
    package let head: SagaHead
    package private(set) var state: SagaState

    /// What an evaluation that was asked for is needed for.
    enum Purpose: Hashable {
        case condition(StepPath)
        case choice(StepPath, Int)
        case start(StepPath)
        case output(StepPath, raw: JSON)
        case compensation(StepPath)
        case ending
        case hook(SagaDefinition.Hook)
    }

    /// What comes in is taken note of and nothing new begins: a worker that stops. Not part of the state.
    package var startsNothing = false

    /// Tries that were in flight at the end of the history that this machine was made of. Not part of the state.
    private let inherited: [(step: StepPath, op: Op, send: Int)]

    // Not part of the state: gone once the event is handled, or done again after a crash.
    private var evaluations: [Int: Purpose] = [:]
    private var evaluating: Set<StepPath> = []
    private var evaluationCount = 0
    /// The outputs of each loop's first iterations that have ended, up to the first that has not: they stay as they are, and
    /// are not walked again.
    var endedIterations: [StepPath: [JSON]] = [:]
    var effects: [Effect] = []
    var now = Timestamp(microseconds: 0)
    /// Uniform in 0..<1, for the next jitter.
    var chance = 0.0
    /// Messages and sub-sagas that the database refused, and why; see `refuse`.
    var refusedMessages: [Effect.Message.Origin: Failure] = [:]

    package init(_ program: SagaProgram, _ head: SagaHead, history: some Sequence<Fact> = []) {
        self.program = program
        self.head = head
        var state = SagaState()
        for fact in history { state.apply(fact, to: program) }
        self.state = state
        inherited = state.starts.flatMap { path in
            [Op.action, .compensate].compactMap { op in
                guard let effort = state.effort(path, op), case .trying = effort.phase else { return nil }
                return (path, op, effort.sends)
            }
        }
    }

    package mutating func handle(
        _ event: SagaEvent, at now: Timestamp, random: inout some RandomNumberGenerator
    ) -> [Effect] {
        self.now = now
        chance = Double.random(in: 0..<1, using: &random)
        receive(event)
        // It goes on when all that was asked for is answered.
        if case .evaluated = event, !evaluations.isEmpty {} else { advance() }
        defer { effects = [] }
        return effects
    }

    /// Whether a request that was asked for is still to go out. What was decided after it, in the same commit, may speak
    /// against it: no action is sent after the decision to abort. One that does not go out is answered by a failure that is
    /// known not to have happened.
    package func isWanted(_ path: StepPath, _ op: Op, send: Int) -> Bool {
        guard let effort = state.effort(path, op), effort.sends == send, case .trying = effort.phase else {
            return false
        }
        return switch state.status {
        case .running, .stuck: true
        case .compensating: op == .compensate
        case .completed, .compensated, .failed, .terminated: false
        }
    }

    /// The database refuses the message or the sub-saga of a step or hook, which was found out when the facts were to be
    /// written. The machine that wanted it is given up, and this one, the value from before, handles the same event again.
    package mutating func refuse(_ message: Effect.Message.Origin, _ failure: Failure) {
        refusedMessages[message] = failure
    }

    // MARK: - Events

    private mutating func receive(_ event: SagaEvent) {
        switch event {
        case .begin: begin()
        case .recovered: recover()
        case .tick: tick()
        case .evaluated(let id, let result):
            // After an abort nobody wants the answer any more.
            if let purpose = evaluations.removeValue(forKey: id) {
                if let path = purpose.path { evaluating.remove(path) }
                evaluated(purpose, result)
            }
        case .answered(let path, let op, let send, let result): answered(path, op, send: send, result)
        case .calledBack(let path, let op, let send, let callback): calledBack(path, op, send: send, callback)
        case .signalled(let event, let payload, let by):
            guard !state.status.hasEnded else {
                return record(.refused(act: "signal \(event)", reason: "the saga has ended", by: by))
            }
            record(.signalled(event: event, payload: payload, by: by))
        case .childEnded(let path, let outcome): childEnded(path, outcome)
        case .asked(let act, let by): asked(act, by: by)
        }
    }

    private mutating func begin() {
        guard state.begunAt == nil, !state.status.hasEnded else { return }
        record(.begun(deadline: program.definition.timeout.map { countedNow.adding($0) }))
        if let wrong = program.definition.inputSchema?.mismatch(head.input) {
            record(.aborting(Failure(type: "invalid-input", detail: wrong)))
        }
    }

    /// What was in flight when the worker died may have arrived. What was sent since, by news that came before this event,
    /// is this machine's own.
    private mutating func recover() {
        guard state.begunAt != nil else { return begin() }
        guard !state.status.hasEnded else { return }
        for (path, op, send) in inherited {
            guard let effort = state.effort(path, op), effort.sends == send, case .trying = effort.phase else {
                continue
            }
            record(.lost, path, op, attempt: effort.attempts)
        }
        tick()
    }

    // MARK: - Going on

    /// Does all that can be done now.
    private mutating func advance() {
        guard state.begunAt != nil, state.suspendedAt == nil, !startsNothing else { return }
        if state.status == .running { goForward() }
        if state.status == .compensating { settle() }
        sendWhatIsDue()
    }

    /// The time that deadlines are counted from: it stands still while the saga is suspended.
    var countedNow: Timestamp { state.counted(now) }

    // MARK: - Facts

    mutating func record(_ kind: Fact.Kind, _ step: StepPath? = nil, _ op: Op? = nil, attempt: Int? = nil) {
        let fact = Fact(at: now, step: step, op: op, attempt: attempt, kind)
        state.apply(fact, to: program)
        effects.append(.record(fact))
    }

    // MARK: - Evaluations

    /// Asks for the values; with nothing to evaluate it goes on at once.
    mutating func evaluate(_ expressions: [Expression], scope: JSON, for purpose: Purpose) {
        guard !expressions.isEmpty else { return evaluated(purpose, .success([])) }
        evaluationCount += 1
        evaluations[evaluationCount] = purpose
        if let path = purpose.path { evaluating.insert(path) }
        effects.append(
            .evaluate(Effect.Evaluation(id: evaluationCount, expressions: expressions, scope: scope)))
    }

    private mutating func evaluated(_ purpose: Purpose, _ result: Result<[JSON], ExpressionError>) {
        switch purpose {
        case .condition(let path): decideCondition(path, result)
        case .choice(let path, let index): decideChoice(path, index, result)
        case .start(let path): start(path, result)
        case .output(let path, let raw): reshape(path, raw, result)
        case .compensation(let path): startCompensation(path, result)
        case .ending: end(result)
        case .hook(let hook): publish(hook, result)
        }
    }

    /// Whether an answer is awaited that the step needs to go on: never more than one.
    func isEvaluating(_ path: StepPath) -> Bool { evaluating.contains(path) }

    var isEnding: Bool { !evaluations.isEmpty && evaluations.values.contains(.ending) }

    /// Forgets what was asked for to go forward. What has happened is still recorded.
    mutating func dropForwardEvaluations() {
        evaluations = evaluations.filter { _, purpose in
            switch purpose {
            case .output, .hook: true
            case .condition, .choice, .start, .compensation, .ending: false
            }
        }
        evaluating = Set(evaluations.values.compactMap(\.path))
    }

    mutating func dropEvaluations() {
        evaluations = [:]
        evaluating = []
    }
}

extension SagaMachine.Purpose {
    fileprivate var path: StepPath? {
        switch self {
        case .condition(let path), .choice(let path, _), .start(let path), .output(let path, _),
            .compensation(let path):
            path
        case .ending, .hook: nil
        }
    }
}

/// What of a saga never changes.
package struct SagaHead: Sendable, Hashable {
    package var id: UUID
    package var key: String?
    package var input: JSON
    package var startedAt: Timestamp

    package init(id: UUID, key: String?, input: JSON, startedAt: Timestamp) {
        self.id = id
        self.key = key
        self.input = input
        self.startedAt = startedAt
    }
}

/// A definition with its steps at hand by their ids. Made once, shared by all sagas that run it.
package final class SagaProgram: Sendable {
    package let definition: SagaDefinition
    private let steps: [String: Step]

    package init(_ definition: SagaDefinition) {
        self.definition = definition
        steps = Dictionary(definition.allSteps.map { ($0.id, $0) }) { first, _ in first }
    }

    /// Nil for a branch, which is no step.
    package func step(_ path: StepPath) -> Step? { steps[path.stepID] }
}
