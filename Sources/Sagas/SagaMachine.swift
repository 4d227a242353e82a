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
    /// After the decision to abort a callback is awaited this long at most.
    package static let abortWait = Duration.seconds(30)

    package let program: SagaProgram
    package let head: SagaHead
    package private(set) var state = SagaState()

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

    // Not part of the state: gone once the event is handled, or done again after a crash.
    var evaluations: [Int: Purpose] = [:]
    private var evaluationCount = 0
    /// Steps whose `if` was true.
    var passed: Set<StepPath> = []
    var effects: [Effect] = []
    var now = Timestamp(microseconds: 0)
    /// Uniform in 0..<1, for the next jitter.
    var chance = 0.0
    /// What the database refused, and why; see `refuse`.
    var refused: [Effect.Message.Origin: Failure] = [:]

    package init(_ program: SagaProgram, _ head: SagaHead, history: some Sequence<Fact> = []) {
        self.program = program
        self.head = head
        for fact in history { state.apply(fact, to: program) }
    }

    package mutating func handle(
        _ event: SagaEvent, at now: Timestamp, random: inout some RandomNumberGenerator
    ) -> [Effect] {
        self.now = now
        chance = Double.random(in: 0..<1, using: &random)
        receive(event)
        advance()
        defer { effects = [] }
        return effects
    }

    /// The database refuses the message or the sub-saga of a step or hook, which was found out when the facts were to be
    /// written. The machine that wanted it is given up, and this one, the value from before, handles the same event again.
    package mutating func refuse(_ message: Effect.Message.Origin, _ failure: Failure) {
        refused[message] = failure
    }

    // MARK: - Events

    private mutating func receive(_ event: SagaEvent) {
        switch event {
        case .begin: begin()
        case .recovered: recover()
        case .tick: tick()
        case .evaluated(let id, let result):
            // After an abort nobody wants the answer any more.
            if let purpose = evaluations.removeValue(forKey: id) { evaluated(purpose, result) }
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
        guard state.begunAt == nil else { return }
        record(.begun(deadline: program.definition.timeout.map { now + $0 }))
        if let wrong = program.definition.inputSchema?.mismatch(head.input) {
            record(.aborting(Failure(type: "invalid-input", detail: wrong)))
        }
    }

    /// What was in flight when the worker died may have arrived.
    private mutating func recover() {
        for path in state.starts {
            for op in [Op.action, .compensate] {
                guard case .trying? = state.effort(path, op)?.phase else { continue }
                record(.lost, path, op, attempt: state.effort(path, op)?.attempts)
            }
        }
        tick()
    }

    // MARK: - Going on

    /// Does all that can be done now.
    mutating func advance() {
        guard state.begunAt != nil, state.suspendedAt == nil, !startsNothing else { return }
        switch state.status {
        case .running: goForward()
        case .compensating: settle()
        case .stuck, .completed, .compensated, .failed, .terminated: break
        }
    }

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

    func isEvaluating(_ path: StepPath) -> Bool {
        !evaluations.isEmpty
            && evaluations.values.contains { purpose in
                switch purpose {
                case .condition(let other), .choice(let other, _), .start(let other), .output(let other, _),
                    .compensation(let other):
                    other == path
                case .ending, .hook: false
                }
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
