import Delivery
import Expressions
import Primitives
import Sagas
import Testing

/// One saga's machine in virtual time, driven event by event. Each event answers with what the machine wants done, in
/// lines (see `line(of:)`), so that a test reads as events and expected effects, from top to bottom:
///
///     var saga = SagaRun(.call("reserve").undone(), .call("charge"))
///     #expect(saga.begin() == ["call reserve"])
///     #expect(saga.succeed("reserve") == ["call charge"])
///     #expect(saga.refuse("charge") == ["undo reserve"])
///
/// After every event the facts are written down and read again as the store would, and must give the same state.
struct SagaRun {
    let program: SagaProgram
    let head: SagaHead
    private(set) var machine: SagaMachine
    private(set) var now: Timestamp
    private(set) var facts: [Fact] = []
    /// Of the latest event, all but records and evaluations.
    private(set) var effects: [Effect] = []
    /// What expressions that need jq are to give, by their sources; all others are plain paths.
    var results: [String: Result<JSON, ExpressionError>] = [:]
    private var random = SeededGenerator(seed: 1)

    static let start = Timestamp(microseconds: 1_800_000_000_000_000)
    static let id = UUID(high: 0x0192_0000_0000_7000, low: 0x8000_0000_0000_0001)

    init(_ definition: SagaDefinition, input: JSON = [:]) {
        program = SagaProgram(definition)
        head = SagaHead(id: Self.id, key: "k", input: input, startedAt: Self.start)
        machine = SagaMachine(program, head)
        now = Self.start
    }

    init(_ steps: Step..., input: JSON = [:], change: (inout SagaDefinition) -> Void = { _ in }) {
        var definition = SagaDefinition(name: "test", version: 1, steps: steps, content: .null)
        change(&definition)
        self.init(definition, input: input)
    }

    var state: SagaState { machine.state }
    var status: SagaState.Status { machine.state.status }

    func step(_ path: String) -> StepState { machine.state.steps[StepPath(path)] ?? StepState() }

    /// The next tick, counted from the start.
    var due: Duration? { machine.nextDue.map { $0 - Self.start } }

    /// `started charge`, `succeeded charge/compensate`, `compensated`, …: what became of what, in order.
    var history: [String] { facts.map(\.line) }

    // MARK: - Events

    @discardableResult
    mutating func handle(_ event: SagaEvent) -> [String] {
        effects = []
        var waiting = machine.handle(event, at: now, random: &random)[...]
        while let effect = waiting.popFirst() {
            switch effect {
            case .record(let fact): facts.append(fact)
            case .evaluate(let evaluation):
                waiting += machine.handle(
                    .evaluated(id: evaluation.id, values(of: evaluation)), at: now, random: &random)
            default: effects.append(effect)
            }
        }
        checkHistory()
        return effects.map(\.line)
    }

    /// - Parameter after: lets time pass first.
    mutating func tick(after time: Duration = .zero) -> [String] {
        now = now + time
        return handle(.tick)
    }

    /// Goes to the next moment at which the machine wants a tick.
    mutating func tickWhenDue() -> [String] {
        guard let due = machine.nextDue else { return ["nothing is due"] }
        now = max(now, due)
        return handle(.tick)
    }

    mutating func pass(_ time: Duration) { now = now + time }

    mutating func begin() -> [String] { handle(.begin) }

    /// The worker dies; another one takes the saga up from its history.
    mutating func crash(after time: Duration = .zero) -> [String] {
        takeUp(after: time)
        return handle(.recovered)
    }

    /// A worker makes the machine anew. The news that woke the saga comes first, then `.recovered`.
    mutating func takeUp(after time: Duration = .zero) {
        now = now + time
        machine = SagaMachine(program, head, history: facts.map(\.readAgain))
    }

    /// Answers the latest request of a step, or the one given.
    mutating func answer(
        _ path: String, op: Op = .action, send: Int? = nil, _ result: SagaEvent.TryResult
    ) -> [String] {
        let step = StepPath(path)
        return handle(.answered(step, op, send: send ?? machine.state.effort(step, op)?.sends ?? 1, result))
    }

    mutating func callBack(
        _ path: String, op: Op = .action, send: Int? = nil, _ callback: SagaEvent.Callback
    ) -> [String] {
        let step = StepPath(path)
        return handle(.calledBack(step, op, send: send ?? machine.state.effort(step, op)?.sends ?? 1, callback))
    }

    mutating func succeed(_ path: String, _ output: JSON = .null) -> [String] { answer(path, .succeeded(output)) }
    mutating func refuse(_ path: String) -> [String] { answer(path, .refusal) }
    mutating func undo(_ path: String) -> [String] { answer(path, op: .compensate, .succeeded(.null)) }

    mutating func signal(_ event: String, _ payload: JSON = .null) -> [String] {
        handle(.signalled(event: event, payload: payload, by: "ops"))
    }

    mutating func ask(_ act: SagaEvent.Act) -> [String] { handle(.asked(act, by: "ops")) }

    mutating func endChild(_ path: String, _ status: SagaState.Status, output: JSON = .null, failure: Failure? = nil)
        -> [String]
    {
        handle(.childEnded(StepPath(path), SagaEvent.ChildOutcome(status: status, output: output, failure: failure)))
    }

    /// The database refuses a message of what the event gives: the machine from before handles it again.
    mutating func handle(_ event: SagaEvent, refusing message: Effect.Message.Origin, _ failure: Failure) -> [String] {
        machine.refuse(message, failure)
        return handle(event)
    }

    /// As the engine does with a saga that kills one worker after another.
    mutating func park() {
        let trouble = Trouble(.abandoned, detail: "taken over 5 times", interrupted: machine.state.status)
        facts.append(Fact(at: now, .stuck(trouble)))
    }

    // MARK: - What the engine does

    private func values(of evaluation: Effect.Evaluation) -> Result<[JSON], ExpressionError> {
        Result { () throws(ExpressionError) in
            var values: [JSON] = []
            for expression in evaluation.expressions {
                if let path = expression.path {
                    values.append(try path.resolve(in: evaluation.scope, environment: ["HOST": "http://h"]))
                } else if let result = results[expression.source] {
                    values.append(try result.get())
                } else {
                    throw .failed(message: "no result for \(expression)")
                }
            }
            return values
        }
    }

    private func checkHistory() {
        let again = SagaMachine(program, head, history: facts.map(\.readAgain))
        #expect(again.state == machine.state, "the history gives another state")
        #expect(facts.map(\.readAgain) == facts, "a fact is not read as it was written")
    }

    /// The latest calls that were asked for, by the lines that name them.
    func call(_ line: String) -> Effect.CallEffect? {
        effects.lazy.compactMap { effect in
            if case .call(let call) = effect, effect.line == line { call } else { nil }
        }.first
    }

    var messages: [Effect.Message] {
        effects.compactMap { if case .publish(let message) = $0 { message } else { nil } }
    }

    var letters: [Effect.Letter] { effects.compactMap { if case .bury(let letter) = $0 { letter } else { nil } } }
}

extension SagaEvent.TryResult {
    static let refusal = refused(TryError(status: 422, type: "no", message: "HTTP 422"), isUnknown: false)
    /// 503: worth another try, and nobody knows.
    static let unknown = failed(TryError(status: 503, message: "HTTP 503"), happened: .unknown, retryAfter: nil)
    /// Connection refused: worth another try, and known not to have happened.
    static let unreachable = failed(TryError(message: "connection refused"), happened: .no, retryAfter: nil)
}

// MARK: - In lines

extension Effect {
    /// `call a`, `undo a`, `query a`, with `#2` from the second send on; `publish topic`, `start child a`, `tell child a cancel`,
    /// `tell parent completed`, `bury compensation a`, `settle letters`.
    var line: String {
        switch self {
        case .record(let fact): fact.line
        case .evaluate(let evaluation): "evaluate \(evaluation.id)"
        case .call(let call):
            (call.op == .action ? "call " : "undo ") + call.step.text + (call.send > 1 ? "#\(call.send)" : "")
        case .query(let query):
            (query.op == .action ? "query " : "undo ") + query.step.text + (query.send > 1 ? "#\(query.send)" : "")
        case .publish(let message): "publish \(message.topic)"
        case .startChild(let path, _, _, _): "start child \(path)"
        case .tellChild(let path, let act): "tell child \(path) \(act.name)"
        case .tellParent(let outcome): "tell parent \(outcome.status.rawValue)"
        case .bury(let letter): "bury \(letter.reason)" + (letter.step.map { " \($0)" } ?? "")
        case .settleLetters: "settle letters"
        }
    }
}

extension Fact {
    var line: String { event + (step.map { " \($0)" } ?? "") + (op == .compensate ? "/compensate" : "") }

    /// As it comes back from the history.
    var readAgain: Fact {
        guard let detail = try? JSON(parsing: Array(detail.text.utf8)),
            let fact = Fact(at: at, event: event, step: step?.text, op: op?.rawValue, attempt: attempt, detail: detail)
        else {
            Issue.record("the fact '\(line)' cannot be read again: \(detail.text)")
            return self
        }
        return fact
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
