import Delivery
import Expressions
import Primitives
import Sagas

/// One random saga in a random world: handlers, sub-sagas, operators, crashing workers and a clock, all from one seed.
///
/// The world keeps a ledger of what really happened in it. The machine is never shown the ledger; what it is told of it is
/// what a handler's answers would tell. After a while the world becomes calm: nothing fails any more, and the saga must end.
struct RandomRun {
    enum Happening {
        /// Kept until it is handled, over crashes: callbacks, signals, ends of sub-sagas, acts.
        case mail(SagaEvent)
        /// Known to the worker alone.
        case answer(SagaEvent)
        /// A statement's transaction ends together with the saga's transition.
        case statement(StepPath, Op, SagaEvent)
        /// A request takes effect.
        case effect(StepPath, Op)
        case recovery
        /// From a worker that has stopped by itself.
        case handover

        /// It dies with its worker.
        var isInFlight: Bool {
            switch self {
            case .answer, .statement, .handover: true
            case .mail, .effect, .recovery: false
            }
        }
    }

    struct Plan {
        var at: Timestamp
        var happening: Happening
    }

    enum Child {
        case working, completed, ended
    }

    var random: SeededGenerator
    let program: SagaProgram
    let head: SagaHead
    var machine: SagaMachine
    /// Made of the history alone, fact by fact.
    var shadow = SagaState()
    var watch: Watch
    var history: [Fact] = []
    var now = SagaRun.start
    var plans: [Plan] = []
    var isDown = false
    var eventCount = 0
    var operatorActs = 0
    let chaosEnds: Int

    // The ledger
    var happened: Set<StepPath> = []
    var undone: Set<StepPath> = []
    /// Of which the machine has, or will have, reason to think that it may have happened.
    var uncertain: Set<StepPath> = []
    var settledByOperator: Set<StepPath> = []
    var children: [StepPath: Child] = [:]
    /// Requests that were answered: their tokens are stale.
    var answered: [(path: StepPath, op: Op, send: Int)] = []

    var trace: [String]?

    init(seed: UInt64, isTraced: Bool = false) {
        random = SeededGenerator(seed: seed)
        let definition = RandomDefinition.draw(&random)
        program = SagaProgram(definition)
        head = SagaHead(id: SagaRun.id, key: nil, input: RandomDefinition.input, startedAt: SagaRun.start)
        machine = SagaMachine(program, head)
        watch = Watch(program)
        chaosEnds = 10 + random.below(60)
        if isTraced { trace = ["\(definition.steps.map(\.outline))", "timeout \(definition.timeout?.text ?? "none")"] }
    }

    /// Runs it to its end.
    /// - Returns: the history.
    static func history(ofSeed seed: UInt64) throws(Violation) -> [Fact] {
        var run = RandomRun(seed: seed)
        try run.run()
        return run.history
    }

    /// The same run once more, line by line.
    static func trace(ofSeed seed: UInt64) -> String {
        var run = RandomRun(seed: seed, isTraced: true)
        do throws(Violation) {
            try run.run()
        } catch {
            run.note("VIOLATION: \(error)")
        }
        let lines = run.trace ?? []
        let cut = lines.count > 200 ? ["…"] : []
        return (lines.prefix(150) + cut + lines.dropFirst(150).suffix(50)).joined(separator: "\n")
    }

    var isCalm: Bool { eventCount > chaosEnds }

    mutating func note(_ line: @autoclosure () -> String) {
        guard trace != nil else { return }
        trace?.append("\((now - SagaRun.start).text): \(line())")
    }

    // MARK: - The course of things

    mutating func run() throws(Violation) {
        try deliver(.begin, isMail: true)
        while true {
            if machine.state.status.hasEnded, !isDown, plans.isEmpty {
                try checkEnd()
                guard try goesOnAfterTheEnd() else { return }
                continue
            }
            eventCount += 1
            if eventCount > 2000 { throw Violation("it does not end: \(machine.state.status)") }
            if !isCalm, !isDown, random.chance(12) { try interfere() } else { try happen() }
        }
    }

    /// The next thing in time: something that is planned, or a tick.
    mutating func happen() throws(Violation) {
        let next = plans.indices.min { plans[$0].at < plans[$1].at }
        let due = isDown ? nil : machine.nextDue
        if let due, next.map({ due <= plans[$0].at }) ?? true {
            now = max(now, due)
            // Late now and then; what else was due meanwhile comes after it.
            if !isCalm, random.chance(10) { now = now + random.pick([.milliseconds(1), .seconds(3), .seconds(400)]) }
            return try tick()
        }
        guard let next else { return try nudge() }
        let plan = plans.remove(at: next)
        now = max(now, plan.at)
        switch plan.happening {
        case .recovery: try recover()
        case .handover: try handOver()
        case .effect(let path, let op): take(path, op)
        case .mail(let event):
            // Nobody reads it now.
            if isDown { return plans.append(Plan(at: laterThanRecovery, happening: .mail(event))) }
            try deliver(event, isMail: true)
        case .answer(let event): try deliver(event)
        case .statement(let path, let op, let event): try deliver(event, takingEffect: (path, op))
        }
    }

    var laterThanRecovery: Timestamp {
        let recovery = plans.first { if case .recovery = $0.happening { true } else { false } }
        return (recovery?.at ?? now) + .microseconds(1)
    }

    mutating func tick() throws(Violation) {
        let before = history.count
        try deliver(.tick)
        guard !isDown, history.count == before, let due = machine.nextDue, due <= now else { return }
        throw Violation("a tick did nothing and is wanted again at once")
    }

    // MARK: - Workers

    /// Has the machine handle an event, and the facts written, unless the worker dies before. Now and then a second event is
    /// handled before the commit.
    mutating func deliver(_ event: SagaEvent, isMail: Bool = false, takingEffect: (StepPath, Op)? = nil)
        throws(Violation)
    {
        let isFirst = history.isEmpty
        var events = [event]
        var effects = try handle(event)
        if !isCalm, random.chance(4) {
            events.append(drawnMail)
            effects += try handle(events[1])
        }
        if !isCalm, random.chance(5), let origin = effects.lazy.compactMap(\.origin).first {
            note("the database refuses \(origin)")
            machine = SagaMachine(program, head, history: history)
            machine.refuse(origin, Failure(type: "full"))
            effects = []
            for event in events { effects += try handle(event) }
        }
        if !isCalm, !isFirst, random.chance(2) {
            note("the worker dies before the commit of \(effects.map(\.line))")
            if isMail { plans.append(Plan(at: now + .microseconds(1), happening: .mail(event))) }
            for event in events.dropFirst() { plans.append(Plan(at: now + .microseconds(2), happening: .mail(event))) }
            return die()
        }
        for effect in effects { note("  \(effect.line)") }
        try commit(effects, events, takingEffect)
        if !isCalm, random.chance(2) {
            note("the worker dies after the commit")
            return die()
        }
        for effect in effects { try carryOut(effect) }
    }

    var drawnMail: SagaEvent {
        mutating get {
            let act: SagaEvent.Act
            switch random.below(20) {
            case 0..<10: return .signalled(event: random.pick(["e", "f"]), payload: 1, by: "ops")
            case 10..<16: act = .cancel(reason: "x")
            case 16..<19: act = .suspend()
            default: act = .terminate(reason: "x")
            }
            return .asked(act, by: "ops")
        }
    }

    mutating func handle(_ event: SagaEvent) throws(Violation) -> [Effect] {
        note("→ \(event)")
        var effects: [Effect] = []
        var waiting = machine.handle(event, at: now, random: &random)
        var evaluated = 0
        while !waiting.isEmpty {
            var next: [Effect] = []
            for effect in waiting {
                guard case .evaluate(let evaluation) = effect else {
                    effects.append(effect)
                    continue
                }
                evaluated += 1
                next += machine.handle(.evaluated(id: evaluation.id, values(of: evaluation)), at: now, random: &random)
            }
            if evaluated > 500 { throw Violation("expressions are evaluated without end") }
            waiting = next
        }
        return effects
    }

    mutating func commit(_ effects: [Effect], _ events: [SagaEvent], _ takingEffect: (StepPath, Op)?)
        throws(Violation)
    {
        if case .answered(_, _, _, .succeeded)? = events.first, let (path, op) = takingEffect { take(path, op) }
        try watch.see(effects, after: events)
        for effect in effects {
            switch effect {
            case .record(let fact):
                let again = Fact(
                    at: fact.at, event: fact.event, step: fact.step?.text, op: fact.op?.rawValue, attempt: fact.attempt,
                    detail: fact.detail)
                guard let again, again == fact else {
                    throw Violation("\(fact) is read as \(String(describing: again))")
                }
                history.append(again)
                shadow.apply(again, to: program)
                takeEffect(of: fact)
            case .publish(let message): if case .step(let path, let op) = message.origin { take(path, op) }
            case .startChild(let path, _, _, _): try startChild(path)
            case .tellChild(let path, let act): tell(path, act)
            case .evaluate, .call, .query, .tellParent, .bury, .settleLetters: break
            }
        }
        if shadow != machine.state { throw Violation("the history gives another state") }
    }

    mutating func die() {
        isDown = true
        plans.removeAll(where: \.happening.isInFlight)
        // What was in flight is unknown from now on.
        for path in shadow.starts {
            if case .trying? = shadow.effort(path, .action)?.phase { uncertain.insert(path) }
        }
        let downtime: Duration = random.pick([.zero, .milliseconds(200), .seconds(5), .seconds(200)])
        plans.append(Plan(at: now + downtime, happening: .recovery))
    }

    mutating func recover() throws(Violation) {
        isDown = false
        machine = SagaMachine(program, head, history: history)
        if machine.state != shadow { throw Violation("the history gives another state as a whole") }
        // News that woke it comes first.
        if !isCalm, random.chance(20) {
            try deliver(drawnMail, isMail: true)
            if isDown { return }
        }
        try deliver(.recovered)
    }

    /// The worker is asked to stop: it waits for what is in flight, and another one takes over.
    mutating func drain() throws(Violation) {
        note("the worker stops")
        machine.startsNothing = true
        let inFlight = plans.filter(\.happening.isInFlight).map(\.at)
        if let last = inFlight.max() {
            plans.append(Plan(at: last + .microseconds(1), happening: .handover))
        } else {
            try handOver()
        }
    }

    mutating func handOver() throws(Violation) {
        note("another worker takes over")
        try recover()
    }

    func values(of evaluation: Effect.Evaluation) -> Result<[JSON], ExpressionError> {
        Result { () throws(ExpressionError) in
            var values: [JSON] = []
            for expression in evaluation.expressions {
                guard let path = expression.path else { throw .failed(message: "not plain") }
                values.append(try path.resolve(in: evaluation.scope))
            }
            return values
        }
    }

    // MARK: - The ledger

    mutating func take(_ path: StepPath, _ op: Op) {
        switch op {
        case .action: happened.insert(path)
        case .compensate: if happened.contains(path) { undone.insert(path) }
        }
    }

    /// Of what takes place in the saga itself.
    mutating func takeEffect(of fact: Fact) {
        guard let path = fact.step, let step = program.step(path) else { return }
        switch fact.kind {
        case .succeeded where fact.op == .action:
            switch step.action {
            case .await, .approve, .set: happened.insert(path)
            default: break
            }
        case .skipped(_, _, by: _?), .resolved: settledByOperator.insert(path)
        default: break
        }
    }

    func checkEnd() throws(Violation) {
        let state = machine.state
        for path in happened {
            guard let step = program.step(path), step.isUndoableAtAll else { continue }
            switch state.status {
            case .compensated, .failed:
                if !undone.contains(path), !settledByOperator.contains(path) {
                    throw Violation("\(path) happened and is not undone in a saga that is \(state.status)")
                }
                if state.status == .failed { throw Violation("\(path) happened in a saga that has failed") }
            case .completed:
                if undone.contains(path) { throw Violation("\(path) is undone in a saga that is completed") }
                switch state.steps[path]?.status {
                case .succeeded, .skipped: break
                default: throw Violation("\(path) happened in a saga that is completed without it")
                }
            case .terminated: break
            case .running, .compensating, .stuck: throw Violation("it has not ended")
            }
        }
        if watch.hasPivoted, !undone.isEmpty { throw Violation("\(undone) are undone behind the pivot") }
        if !watch.hasEnded { throw Violation("its end is not in the history") }
        if let due = machine.nextDue { throw Violation("a tick is due \(due.rfc3339), after the end") }
    }
}

extension Effect {
    fileprivate var origin: Message.Origin? {
        if case .publish(let message) = self { message.origin } else { nil }
    }
}

extension Step {
    /// For the trace.
    fileprivate var outline: String {
        var text = id + (isPivot ? "!" : "") + (compensation.map { $0.when == .started ? "↶↶" : "↶" } ?? "")
        switch action {
        case .call(.http(let http)): text += http.isAsync ? " async" : " call"
        case .call(.sql): text += " sql"
        case .parallel(let parallel):
            text += " parallel(\(parallel.onError)) \(parallel.branches.map { $0.steps.map(\.outline) })"
        case .foreach(let loop): text += " foreach \(loop.items) limit \(loop.limit) \(loop.steps.map(\.outline))"
        case .choose(let choice): text += " switch \(choice.cases.map { $0.steps.map(\.outline) })"
        default: text += " \(action)".prefix(12)
        }
        return text
    }
}
