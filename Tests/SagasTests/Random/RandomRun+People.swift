import Primitives
import Sagas

/// Operators, and all that comes without having been planned.
extension RandomRun {
    /// Something that nobody planned.
    mutating func interfere() throws(Violation) {
        switch random.below(20) {
        case 0..<4: try tick(early: true)
        case 4..<8: try deliver(drawnMail, isMail: true)
        case 8: if let name = approvals.first { try signal(name, random.pick([true, .bool(false)])) }
        case 9: try ask(.cancel(reason: "x"))
        case 10..<14: try ask(.resume())
        case 14: if machine.state.status == .stuck { try operate() }
        case 15: if machine.state.status == .stuck { try operate() } else { try ask(.retry(input: nil)) }
        case 16 where random.chance(50): if !machine.startsNothing { try drain() }
        case 16: if machine.state.status != .completed { try ask(.undo(reason: "x")) }
        case 17: try ask(.skip(step: "none", reason: "x", output: .null))
        default: try repeatAnAnswer()
        }
    }

    mutating func tick(early: Bool) throws(Violation) {
        now = now + random.pick([.zero, .milliseconds(10)])
        try tick()
    }

    mutating func ask(_ act: SagaEvent.Act) throws(Violation) {
        try deliver(.asked(act, by: "ops"), isMail: true)
    }

    mutating func signal(_ name: String, _ payload: JSON) throws(Violation) {
        try deliver(.signalled(event: name, payload: payload, by: "ops"), isMail: true)
    }

    /// What a dead worker, or a handler that tells twice, still has to say: it changes nothing.
    mutating func repeatAnAnswer() throws(Violation) {
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

    mutating func commitLate(_ effects: [Effect]) {
        for case .record(let fact) in effects { history.append(fact) }
    }

    /// Nothing goes on by itself: somebody else has to move it.
    mutating func nudge() throws(Violation) {
        let state = machine.state
        if state.suspendedAt != nil { return try ask(.resume()) }
        if state.status == .stuck { return try operate() }
        let working = children.filter { $0.value == .working }.keys
        if let path = working.min(by: { $0.text < $1.text }) { return endChild(path, after: .zero) }
        let awaited = awaited
        if !awaited.isEmpty { return try signal(random.pick(awaited), true) }
        throw Violation("it hangs: nobody will ever move it")
    }

    var awaited: [String] {
        machine.state.starts.compactMap { path in
            if case .signal(let name, _)? = machine.state.steps[path]?.action.phase { name } else { nil }
        }
    }

    var approvals: [String] { awaited.filter { $0 != "e" && $0 != "f" } }

    /// An operator looks at what really happened, and says the truth.
    mutating func operate() throws(Violation) {
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
    mutating func goesOnAfterTheEnd() throws(Violation) -> Bool {
        guard machine.state.status == .completed, eventCount < 1000, random.chance(15) else { return false }
        eventCount = max(eventCount, 1000)
        try ask(.undo(reason: "x"))
        return machine.state.status != .completed
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
