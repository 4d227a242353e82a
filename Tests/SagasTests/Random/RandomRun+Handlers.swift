import Delivery
import Primitives
import Sagas

/// What answers requests, and what becomes of sub-sagas.
extension RandomRun {
    // MARK: - Handlers

    mutating func carryOut(_ effect: Effect) throws(Violation) {
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
            try watch.checkRequest(query.step, query.op)
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

    mutating func send(_ call: Effect.CallEffect) throws(Violation) {
        try watch.checkRequest(call.step, call.op)
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

    mutating func succeed(_ call: Effect.CallEffect, after: Duration) {
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

    mutating func refuse(_ call: Effect.CallEffect, after: Duration) {
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
    mutating func plan(_ call: Effect.CallEffect, within time: Duration) -> Timestamp {
        guard time > .zero else {
            take(call.step, call.op)
            return now
        }
        let at = now + .microseconds(Int64(random.below(Int(time.microseconds))))
        plans.append(Plan(at: at, happening: .effect(call.step, call.op)))
        return at
    }

    mutating func answer(_ call: Effect.CallEffect, _ result: SagaEvent.TryResult, after: Duration) {
        answer(call.step, call.op, call.send, result, after: after)
    }

    mutating func answer(
        _ path: StepPath, _ op: Op, _ send: Int, _ result: SagaEvent.TryResult, after: Duration
    ) {
        answered.append((path, op, send))
        plans.append(Plan(at: now + after, happening: .answer(.answered(path, op, send: send, result))))
    }

    func hasEffectsOnTheWay(_ path: StepPath) -> Bool {
        plans.contains { if case .effect(path, .action) = $0.happening { true } else { false } }
    }

    /// A compensation goes out only when its action cannot arrive any more.
    func checkQuiet(_ path: StepPath) throws(Violation) {
        if hasEffectsOnTheWay(path) { throw Violation("\(path) can still arrive after its compensation") }
    }

    // MARK: - Sub-sagas

    mutating func startChild(_ path: StepPath) throws(Violation) {
        if children[path] == .working { throw Violation("\(path) is started beside itself") }
        children[path] = .working
        // Or it works on, until it is nudged.
        if random.chance(80) { endChild(path, after: random.pick([.zero, .seconds(1), .seconds(30)])) }
    }

    mutating func endChild(_ path: StepPath, after: Duration) {
        guard children[path] == .working else { return }
        let status =
            isCalm
            ? .completed : random.pick([SagaState.Status.completed, .completed, .completed, .compensated, .failed])
        finishChild(path, status, after: after)
    }

    mutating func finishChild(_ path: StepPath, _ status: SagaState.Status, after: Duration) {
        children[path] = status == .completed ? .completed : .ended
        if status == .completed { happened.insert(path) }
        let outcome = SagaEvent.ChildOutcome(
            status: status, output: 1, failure: status == .completed ? nil : Failure(type: "child"))
        plans.append(Plan(at: now + after, happening: .mail(.childEnded(path, outcome))))
    }

    mutating func tell(_ path: StepPath, _ act: SagaEvent.Act) {
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
}
