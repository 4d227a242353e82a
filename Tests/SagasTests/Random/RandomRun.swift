import Delivery
import Expressions
import Primitives
import Sagas

/// One random saga in a random world: handlers, sub-sagas, operators, crashing workers and a clock, all from one seed.
///
/// The world keeps a ledger of what really happened in it. The machine is never shown the ledger; what it is told of it is
/// what a handler's answers would tell. After a while the world becomes calm: nothing fails any more, and the saga must end.
struct RandomRun {
    private enum Happening {
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

    private struct Plan {
        var at: Timestamp
        var happening: Happening
    }

    private enum Child {
        case working, completed, ended
    }

    private var random: SeededGenerator
    private let program: SagaProgram
    private let head: SagaHead
    private var machine: SagaMachine
    /// Made of the history alone, fact by fact.
    private var shadow = SagaState()
    private var watch: Watch
    private var history: [Fact] = []
    private var now = SagaRun.start
    private var plans: [Plan] = []
    private var isDown = false
    private var eventCount = 0
    private var operatorActs = 0
    private let chaosEnds: Int

    // The ledger
    private var happened: Set<StepPath> = []
    private var undone: Set<StepPath> = []
    /// Of which the machine has, or will have, reason to think that it may have happened.
    private var uncertain: Set<StepPath> = []
    private var settledByOperator: Set<StepPath> = []
    private var children: [StepPath: Child] = [:]
    /// Requests that were answered: their tokens are stale.
    private var answered: [(path: StepPath, op: Op, send: Int)] = []

    private var trace: [String]?

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

    private var isCalm: Bool { eventCount > chaosEnds }

    private mutating func note(_ line: @autoclosure () -> String) {
        guard trace != nil else { return }
        trace?.append("\((now - SagaRun.start).text): \(line())")
    }

    // MARK: - The course of things

    private mutating func run() throws(Violation) {
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
    private mutating func happen() throws(Violation) {
        let next = plans.indices.min { plans[$0].at < plans[$1].at }
        let due = isDown || machine.startsNothing ? nil : machine.nextDue
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

    private var laterThanRecovery: Timestamp {
        let recovery = plans.first { if case .recovery = $0.happening { true } else { false } }
        return (recovery?.at ?? now) + .microseconds(1)
    }

    private mutating func tick() throws(Violation) {
        let before = history.count
        try deliver(.tick)
        guard !isDown, history.count == before, let due = machine.nextDue, due <= now else { return }
        throw Violation("a tick did nothing and is wanted again at once")
    }

    // MARK: - Workers

    /// Has the machine handle an event, and the facts written, unless the worker dies before. Now and then a second event is
    /// handled before the commit.
    private mutating func deliver(_ event: SagaEvent, isMail: Bool = false, takingEffect: (StepPath, Op)? = nil)
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

    private var drawnMail: SagaEvent {
        mutating get {
            let act: SagaEvent.Act
            switch random.below(20) {
            case 0..<10: return .signalled(event: random.pick(["e", "f"]), payload: 1, by: "ops")
            case 10..<16: act = .cancel(reason: "x")
            case 16..<19: act = .suspend
            default: act = .terminate(reason: "x")
            }
            return .asked(act, by: "ops")
        }
    }

    private mutating func handle(_ event: SagaEvent) throws(Violation) -> [Effect] {
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

    private mutating func commit(_ effects: [Effect], _ events: [SagaEvent], _ takingEffect: (StepPath, Op)?)
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

    private mutating func die() {
        isDown = true
        plans.removeAll(where: \.happening.isInFlight)
        // What was in flight is unknown from now on.
        for path in shadow.starts {
            if case .trying? = shadow.effort(path, .action)?.phase { uncertain.insert(path) }
        }
        let downtime: Duration = random.pick([.zero, .milliseconds(200), .seconds(5), .seconds(200)])
        plans.append(Plan(at: now + downtime, happening: .recovery))
    }

    private mutating func recover() throws(Violation) {
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
    private mutating func drain() throws(Violation) {
        note("the worker stops")
        machine.startsNothing = true
        let inFlight = plans.filter(\.happening.isInFlight).map(\.at)
        if let last = inFlight.max() {
            plans.append(Plan(at: last + .microseconds(1), happening: .handover))
        } else {
            try handOver()
        }
    }

    private mutating func handOver() throws(Violation) {
        note("another worker takes over")
        try recover()
    }

    private func values(of evaluation: Effect.Evaluation) -> Result<[JSON], ExpressionError> {
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

    private mutating func take(_ path: StepPath, _ op: Op) {
        switch op {
        case .action: happened.insert(path)
        case .compensate: if happened.contains(path) { undone.insert(path) }
        }
    }

    /// Of what takes place in the saga itself.
    private mutating func takeEffect(of fact: Fact) {
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

    private func checkEnd() throws(Violation) {
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

    // MARK: - Handlers

    private mutating func carryOut(_ effect: Effect) throws(Violation) {
        switch effect {
        case .call(let call):
            guard machine.isWanted(call.step, call.op, send: call.send) else {
                return answer(call.step, call.op, call.send, .unreachable, after: .zero)
            }
            try send(call)
        case .query(let query):
            guard machine.isWanted(query.step, query.op, send: query.send) else {
                return answer(query.step, query.op, query.send, .unreachable, after: .zero)
            }
            if query.op == .compensate { try checkQuiet(query.step) }
            let result: SagaEvent.TryResult =
                isCalm || random.chance(75) ? .succeeded(1) : random.chance(60) ? .unreachable : .refusal
            let event = SagaEvent.answered(query.step, query.op, send: query.send, result)
            plans.append(
                Plan(
                    at: now + random.pick([.zero, .milliseconds(300)]),
                    happening: .statement(query.step, query.op, event)))
        case .record, .evaluate, .publish, .startChild, .tellChild, .tellParent, .bury, .settleLetters: break
        }
    }

    private mutating func send(_ call: Effect.CallEffect) throws(Violation) {
        if call.timeout <= .zero { throw Violation("\(call.step) has no time: \(call.timeout)") }
        if call.deadline < now + call.timeout { throw Violation("\(call.step) may take longer than it is awaited") }
        if call.op == .compensate { try checkQuiet(call.step) }
        let after = random.pick([.zero, .milliseconds(50), min(.seconds(2), call.timeout)])
        if isCalm { return succeed(call, after: .zero) }
        switch random.below(100) {
        case 0..<52: succeed(call, after: after)
        case 52..<62: refuse(call, after: after)
        case 62..<72:
            // It fails, having done it or not.
            uncertain.insert(call.step)
            if random.chance(50) { plan(call, within: after) }
            let retryAfter: Duration? = random.chance(20) ? random.pick([.seconds(1), .seconds(90)]) : nil
            answer(
                call, .failed(TryError(status: 503, message: "503"), happened: .unknown, retryAfter: retryAfter),
                after: after)
        case 72..<80: answer(call, .unreachable, after: after)
        case 80..<88:
            // No answer comes; it may arrive until the last moment.
            uncertain.insert(call.step)
            if random.chance(60) { plan(call, within: call.timeout) }
            answer(call, .unknown, after: call.timeout)
        case 88..<95:
            // At work. What has been begun is done for good now, or never.
            if random.chance(50) { take(call.step, call.op) }
            answer(call, .ongoing(retryAfter: random.chance(20) ? .seconds(3) : nil), after: after)
        default: succeed(call, after: after)
        }
    }

    private mutating func succeed(_ call: Effect.CallEffect, after: Duration) {
        let arrival = plan(call, within: after)
        let output = random.pick([JSON.null, 1, ["x": 1]])
        guard call.request.isAsync, random.chance(90) else { return answer(call, .succeeded(output), after: after) }
        answer(call, .accepted, after: after)
        let path = call.step
        let callback = { (callback: SagaEvent.Callback) in
            Happening.mail(.calledBack(path, call.op, send: call.send, callback))
        }
        if isCalm || random.chance(60) {
            // Before the answer or late, and sometimes twice.
            let at = arrival + random.pick([.microseconds(1), .seconds(1), .seconds(20)])
            plans.append(Plan(at: at, happening: callback(.completed(output))))
            if random.chance(10) { plans.append(Plan(at: at + .seconds(1), happening: callback(.completed(2)))) }
            if random.chance(10) { plans.append(Plan(at: now, happening: callback(.heartbeat(.seconds(30))))) }
        } else {
            // It never comes.
            uncertain.insert(call.step)
        }
    }

    private mutating func refuse(_ call: Effect.CallEffect, after: Duration) {
        // Of what has happened only a handler that was asked before, and did not answer clearly, can say "no".
        if call.op == .action, happened.contains(call.step) || hasEffectsOnTheWay(call.step),
            !uncertain.contains(call.step)
        {
            return succeed(call, after: after)
        }
        if call.op == .compensate, random.chance(50), undone.contains(call.step) || !happened.contains(call.step) {
            return answer(call, .refused(TryError(status: 404, message: "404"), isUnknown: false), after: after)
        }
        if call.request.isAsync, random.chance(50) {
            answer(call, .accepted, after: after)
            let failed = SagaEvent.calledBack(call.step, call.op, send: call.send, .failed(Failure(type: "no")))
            plans.append(Plan(at: now + after + .seconds(1), happening: .mail(failed)))
            return
        }
        if random.chance(15) {
            uncertain.insert(call.step)
            if random.chance(50) { plan(call, within: after) }
            return answer(call, .refused(TryError(type: "too-large", message: ""), isUnknown: true), after: after)
        }
        answer(call, .refusal, after: after)
    }

    /// - Returns: when it takes effect.
    @discardableResult
    private mutating func plan(_ call: Effect.CallEffect, within time: Duration) -> Timestamp {
        guard time > .zero else {
            take(call.step, call.op)
            return now
        }
        let at = now + .microseconds(Int64(random.below(Int(time.microseconds))))
        plans.append(Plan(at: at, happening: .effect(call.step, call.op)))
        return at
    }

    private mutating func answer(_ call: Effect.CallEffect, _ result: SagaEvent.TryResult, after: Duration) {
        answer(call.step, call.op, call.send, result, after: after)
    }

    private mutating func answer(
        _ path: StepPath, _ op: Op, _ send: Int, _ result: SagaEvent.TryResult, after: Duration
    ) {
        answered.append((path, op, send))
        plans.append(Plan(at: now + after, happening: .answer(.answered(path, op, send: send, result))))
    }

    private func hasEffectsOnTheWay(_ path: StepPath) -> Bool {
        plans.contains { if case .effect(path, .action) = $0.happening { true } else { false } }
    }

    /// A compensation goes out only when its action cannot arrive any more.
    private func checkQuiet(_ path: StepPath) throws(Violation) {
        if hasEffectsOnTheWay(path) { throw Violation("\(path) can still arrive after its compensation") }
    }

    // MARK: - Sub-sagas

    private mutating func startChild(_ path: StepPath) throws(Violation) {
        if children[path] == .working { throw Violation("\(path) is started beside itself") }
        children[path] = .working
        // Or it works on, until it is nudged.
        if random.chance(80) { endChild(path, after: random.pick([.zero, .seconds(1), .seconds(30)])) }
    }

    private mutating func endChild(_ path: StepPath, after: Duration) {
        guard children[path] == .working else { return }
        let status =
            isCalm
            ? .completed : random.pick([SagaState.Status.completed, .completed, .completed, .compensated, .failed])
        finishChild(path, status, after: after)
    }

    private mutating func finishChild(_ path: StepPath, _ status: SagaState.Status, after: Duration) {
        children[path] = status == .completed ? .completed : .ended
        if status == .completed { happened.insert(path) }
        let outcome = SagaEvent.ChildOutcome(
            status: status, output: 1, failure: status == .completed ? nil : Failure(type: "child"))
        plans.append(Plan(at: now + after, happening: .mail(.childEnded(path, outcome))))
    }

    private mutating func tell(_ path: StepPath, _ act: SagaEvent.Act) {
        switch act {
        case .cancel:
            if children[path] == .working {
                finishChild(
                    path, random.pick([.compensated, .failed, .completed]), after: random.pick([.zero, .seconds(9)]))
            }
        case .terminate: children[path] = .ended
        case .undo:
            var outcome = SagaEvent.ChildOutcome(status: random.pick([.compensated, .failed]))
            if children[path] == .completed, isCalm || random.chance(80) {
                undone.insert(path)
                children[path] = .ended
            } else if undone.contains(path) {
                // It was undone before, and its end was not heard of.
            } else {
                outcome = SagaEvent.ChildOutcome(status: .completed, failure: Failure(type: "refused"))
            }
            plans.append(
                Plan(at: now + random.pick([.zero, .seconds(2)]), happening: .mail(.childEnded(path, outcome))))
        case .suspend, .resume, .retry, .skip, .resolve: break
        }
    }

    // MARK: - People

    /// Something that nobody planned.
    private mutating func interfere() throws(Violation) {
        switch random.below(20) {
        case 0..<4: try tick(early: true)
        case 4..<8: try deliver(drawnMail, isMail: true)
        case 8: if let name = approvals.first { try signal(name, random.pick([true, .bool(false)])) }
        case 9: try ask(.cancel(reason: "x"))
        case 10..<14: try ask(.resume)
        case 14: if machine.state.status == .stuck { try operate() }
        case 15: if machine.state.status == .stuck { try operate() } else { try ask(.retry(input: nil)) }
        case 16 where random.chance(50): if !machine.startsNothing { try drain() }
        case 16: if machine.state.status != .completed { try ask(.undo(reason: "x")) }
        case 17: try ask(.skip(step: "none", reason: "x", output: .null))
        default: try repeatAnAnswer()
        }
    }

    private mutating func tick(early: Bool) throws(Violation) {
        now = now + random.pick([.zero, .milliseconds(10)])
        try tick()
    }

    private mutating func ask(_ act: SagaEvent.Act) throws(Violation) {
        try deliver(.asked(act, by: "ops"), isMail: true)
    }

    private mutating func signal(_ name: String, _ payload: JSON) throws(Violation) {
        try deliver(.signalled(event: name, payload: payload, by: "ops"), isMail: true)
    }

    /// What a dead worker, or a handler that tells twice, still has to say: it changes nothing.
    private mutating func repeatAnAnswer() throws(Violation) {
        guard !answered.isEmpty else { return }
        let (path, op, send) = random.pick(answered)
        guard let effort = shadow.effort(path, op) else { return }
        var isStale = send < effort.sends
        switch effort.phase {
        case .trying, .callback: break
        case .idle, .retrying, .ongoing, .timer, .signal, .received, .child: isStale = true
        }
        guard isStale else { return }
        let before = machine.state
        let result = random.pick([
            SagaEvent.TryResult.succeeded(1), .refusal, .unknown, .accepted, .ongoing(retryAfter: nil),
        ])
        let isCallback = send < effort.sends && random.chance(50)
        let event: SagaEvent =
            isCallback
            ? .calledBack(
                path, op, send: send,
                random.pick([.completed(1), .failed(Failure(type: "x")), .heartbeat(.seconds(1))]))
            : .answered(path, op, send: send, result)
        note("→ late \(event)")
        let effects = machine.handle(event, at: now, random: &random)
        // What is due is done at any event.
        guard machine.state != before else { return commitLate(effects) }
        for case .record(let fact) in effects where fact.kind.isOfAnAnswer {
            throw Violation("a late answer changes the state: \(fact.line)")
        }
        try commit(effects, [event], nil)
        for effect in effects { try carryOut(effect) }
    }

    private mutating func commitLate(_ effects: [Effect]) {
        for case .record(let fact) in effects { history.append(fact) }
    }

    /// Nothing goes on by itself: somebody else has to move it.
    private mutating func nudge() throws(Violation) {
        let state = machine.state
        if state.suspendedAt != nil { return try ask(.resume) }
        if state.status == .stuck { return try operate() }
        for (path, child) in children where child == .working { return endChild(path, after: .zero) }
        let awaited = awaited
        if !awaited.isEmpty { return try signal(random.pick(awaited), true) }
        throw Violation("it hangs: nobody will ever move it")
    }

    private var awaited: [String] {
        machine.state.starts.compactMap { path in
            if case .signal(let name, _)? = machine.state.steps[path]?.action.phase { name } else { nil }
        }
    }

    private var approvals: [String] { awaited.filter { $0 != "e" && $0 != "f" } }

    /// An operator looks at what really happened, and says the truth.
    private mutating func operate() throws(Violation) {
        guard let trouble = machine.state.trouble else { return }
        operatorActs += 1
        guard let path = trouble.step else {
            return try ask(operatorActs > 8 ? .terminate(reason: "no way out") : .retry(input: nil))
        }
        switch random.below(isCalm && operatorActs < 4 ? 1 : 5) {
        case 0, 1: try ask(.retry(input: nil))
        case 2: try ask(.retry(input: 5))
        case 3:
            // Only of what is quiet can be said what became of it.
            if hasEffectsOnTheWay(path) {
                now = now + .seconds(60)
                return
            }
            let hasHappened =
                trouble.op == .action ? happened.contains(path) : undone.contains(path) || !happened.contains(path)
            try ask(.resolve(step: path.text, happened: hasHappened, output: 1))
        default: try ask(.skip(step: path.stepID, reason: "by hand", output: 1))
        }
    }

    /// The saga was somebody's sub-saga, and is to be undone; or that is all.
    private mutating func goesOnAfterTheEnd() throws(Violation) -> Bool {
        guard machine.state.status == .completed, eventCount < 1000, random.chance(15) else { return false }
        eventCount = max(eventCount, 1000)
        try ask(.undo(reason: "x"))
        return machine.state.status != .completed
    }
}

extension Effect {
    fileprivate var origin: Message.Origin? {
        if case .publish(let message) = self { message.origin } else { nil }
    }
}

extension Fact.Kind {
    fileprivate var isOfAnAnswer: Bool {
        switch self {
        case .succeeded, .stepFailed, .tryFailed, .accepted, .heartbeat, .ongoing: true
        default: false
        }
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
