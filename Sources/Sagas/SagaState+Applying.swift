import Delivery
package import Primitives

extension SagaState {
    package func effort(_ path: StepPath, _ op: Op) -> Effort? {
        op == .action ? steps[path]?.action : steps[path]?.undo
    }

    /// Why it aborts, as `.failure` shows it; why it is stuck while it is.
    package var failureJSON: JSON {
        failure?.json ?? trouble.map { Failure(step: $0.step, type: $0.reason.rawValue, detail: $0.detail).json }
            ?? .null
    }

    /// The only place where the state changes.
    package mutating func apply(_ fact: Fact, to program: SagaProgram) {
        if let path = fact.step {
            applyToStep(fact, path, fact.op ?? .action, program)
        }
        applyToSaga(fact, program)
    }

    private mutating func applyToSaga(_ fact: Fact, _ program: SagaProgram) {
        switch fact.kind {
        case .begun(let limit):
            begunAt = fact.at
            deadline = limit
        case .aborting(let reason):
            status = .compensating
            failure = reason
            noted = nil
            capCallbacks(at: counted(fact.at).adding(program.definition.abortWait))
        case .noted(let reason): noted = reason
        case .compensating(let paths):
            isUndoing = true
            for path in paths { steps[path]?.compensationStatus = .pending }
        case .completed(let value):
            status = .completed
            output = value
            suspendedAt = nil
        case .compensated:
            status = .compensated
            suspendedAt = nil
        case .failed(let reason):
            status = .failed
            failure = reason
            suspendedAt = nil
        case .stuck(let reason):
            status = .stuck
            trouble = reason
        case .terminated:
            status = .terminated
            suspendedAt = nil
            trouble = nil
        case .suspended: suspendedAt = fact.at
        case .resumed:
            if let since = suspendedAt { postponeDeadlines(by: fact.at - since) }
            suspendedAt = nil
        case .signalled(let event, let payload, _): signals[event, default: []].append(payload)
        case .received(let event, _): signals[event]?.removeFirst()
        case .retried, .resolved: leaveTrouble(at: counted(fact.at))
        case .skipped(_, _, let by): if by != nil { leaveTrouble(at: counted(fact.at)) }
        case .refused, .hookFailed, .started, .sent, .tryFailed, .postponed, .ongoing, .accepted, .heartbeat, .lost,
            .succeeded,
            .stepFailed, .late:
            break
        }
    }

    /// While the saga is suspended time stands still: what is set then counts from the moment of the suspension, and the
    /// resumption moves it with all the rest.
    func counted(_ now: Timestamp) -> Timestamp { suspendedAt ?? now }

    private mutating func leaveTrouble(at now: Timestamp) {
        guard let reason = trouble else { return }
        status = reason.interrupted
        trouble = nil
        // A saga that was late is not late again at once.
        dropPassedDeadlines(at: now)
    }

    /// Of the saga, and of the steps that contain what is at work.
    private mutating func dropPassedDeadlines(at now: Timestamp) {
        if let limit = deadline, limit <= now { deadline = nil }
        for path in starts where steps[path]?.status == .running && steps[path]?.action.phase == .idle {
            if let limit = steps[path]?.action.deadline, limit <= now { steps[path]?.action.deadline = nil }
        }
    }

    private mutating func capCallbacks(at end: Timestamp) {
        for path in starts {
            if case .callback(let until)? = steps[path]?.action.phase {
                steps[path]?.action.phase = .callback(until: min(until, end))
            }
        }
    }

    private mutating func postponeDeadlines(by time: Duration) {
        deadline = deadline.map { $0 + time }
        for path in starts {
            steps[path]?.action.postponeDeadlines(by: time)
            steps[path]?.undo?.postponeDeadlines(by: time)
        }
    }

    // MARK: - Steps

    private mutating func applyToStep(_ fact: Fact, _ path: StepPath, _ op: Op, _ program: SagaProgram) {
        switch fact.kind {
        case .started(let start): startStep(start, fact, path, op, program)
        case .sent, .tryFailed, .postponed, .ongoing, .accepted, .heartbeat, .lost, .received: goOn(fact, path, op)
        case .succeeded, .stepFailed, .skipped: endStep(fact, path, op, program)
        case .retried(let input, _, _): retryStep(input, fact.at, path, op, program)
        case .resolved(happened: false, _, _):
            change(path, op) { effort in
                effort.mayHaveHappened = false
                effort.isOngoing = false
            }
        case .begun, .aborting, .noted, .compensating, .completed, .compensated, .failed, .stuck, .terminated,
            .suspended, .resumed, .signalled, .refused, .hookFailed, .late, .resolved(happened: true, _, _):
            break
        }
    }

    private mutating func change(_ path: StepPath, _ op: Op, _ body: (inout Effort) -> Void) {
        switch op {
        case .action: body(&steps[path, default: StepState()].action)
        case .compensate: if steps[path]?.undo != nil { body(&steps[path]!.undo!) }
        }
    }

    private mutating func startStep(
        _ start: Fact.Start, _ fact: Fact, _ path: StepPath, _ op: Op, _ program: SagaProgram
    ) {
        var effort = Effort()
        effort.phase = start.phase
        effort.input = start.input
        effort.request = start.request
        effort.deadline = start.deadline
        effort.began = fact.at
        if start.request != nil {
            effort.attempts = 1
            effort.sends = 1
            effort.sentAt = fact.at
        }
        switch op {
        case .action:
            clock += 1
            var step = StepState()
            step.startedAt = clock
            step.action = effort
            step.choice = start.choice
            step.status = effort.isWaiting ? .waiting : .running
            steps[path] = step
            starts.append(path)
        case .compensate:
            // Sends are numbered on: the tokens of an earlier round stay stale.
            effort.sends += steps[path]?.undo?.sends ?? 0
            steps[path]?.undo = effort
            steps[path]?.compensationStatus = .running
        }
    }

    private mutating func goOn(_ fact: Fact, _ path: StepPath, _ op: Op) {
        change(path, op) { effort in
            switch fact.kind {
            case .sent(let until):
                effort.phase = .trying(until: until)
                effort.attempts = fact.attempt ?? effort.attempts
                effort.sends += 1
                effort.sentAt = fact.at
                effort.isRepeat = false
            case .tryFailed(let failure, let happened, let next):
                effort.phase = .retrying(at: next)
                effort.lastError = failure
                if happened == .unknown { effort.mayHaveHappened = true }
            case .postponed(let failure, let happened, let next):
                effort.phase = .retrying(at: next)
                effort.isRepeat = true
                effort.lastError = failure
                if happened == .unknown { effort.mayHaveHappened = true }
            case .ongoing(let next):
                effort.phase = .ongoing(at: next)
                effort.isOngoing = true
            case .accepted(let until), .heartbeat(let until): effort.phase = .callback(until: until)
            case .lost:
                // A statement was rolled back with its worker's session.
                if effort.request != .sql {
                    effort.mayHaveHappened = true
                    if let arrival = effort.latestArrival { effort.quietAt = max(arrival, effort.quietAt ?? arrival) }
                }
                effort.phase = .retrying(at: fact.at)
                effort.isRepeat = true
            case .received(_, let payload):
                effort.phase = .received(payload)
                effort.signal = payload
            default: preconditionFailure("\(fact.kind) does not go on")
            }
        }
        guard op == .action, let effort = steps[path]?.action else { return }
        steps[path]?.status = effort.isWaiting ? .waiting : .running
    }

    private mutating func endStep(_ fact: Fact, _ path: StepPath, _ op: Op, _ program: SagaProgram) {
        change(path, op) { $0.phase = .idle }
        if op == .compensate {
            switch fact.kind {
            case .succeeded: steps[path]?.compensationStatus = .compensated
            case .skipped:
                steps[path]?.compensationStatus = .skipped
                skipped += 1
            default: steps[path]?.compensationStatus = .failed
            }
            return
        }
        clock += 1
        steps[path, default: StepState()].endedAt = clock
        failedSteps.remove(path)
        switch fact.kind {
        case .succeeded(let value):
            steps[path]?.status = .succeeded
            steps[path]?.output = value
            steps[path]?.error = nil
            if program.step(path)?.isPivot == true {
                hasPivoted = true
                // What came while it was under way is dropped, a timeout too.
                dropPassedDeadlines(at: counted(fact.at))
                noted = nil
            }
        case .skipped(_, let value, let by):
            if by != nil, steps[path]?.startedAt == nil { skippedBeforeStart.append(path) }
            steps[path]?.status = .skipped
            steps[path]?.output = value
            steps[path]?.error = nil
        case .stepFailed(let failure, let isUnknown):
            steps[path]?.status = isUnknown ? .unknown : .failed
            steps[path]?.error = failure
            if isUnknown { steps[path]?.action.mayHaveHappened = true }
            failedSteps.insert(path)
        default: preconditionFailure("\(fact.kind) ends no step")
        }
    }

    private mutating func retryStep(
        _ input: JSON?, _ now: Timestamp, _ path: StepPath, _ op: Op, _ program: SagaProgram
    ) {
        guard effort(path, op)?.request != nil else {
            switch op {
            case .action where steps[path]?.status == .unknown && steps[path]?.action.signal != nil:
                // The signal is kept; its output is made anew.
                change(path, op) { if let payload = $0.signal { $0.phase = .received(payload) } }
                steps[path]?.status = .running
                steps[path]?.endedAt = nil
                failedSteps.remove(path)
            case .action:
                // It begins from the beginning.
                steps[path] = nil
                starts.removeAll { $0 == path }
                failedSteps.remove(path)
            case .compensate: steps[path]?.compensationStatus = .pending
            }
            return
        }
        let began = counted(now)
        change(path, op) { effort in
            effort.phase = .retrying(at: now)
            effort.attemptsBefore = effort.attempts
            effort.isRepeat = false
            effort.began = began
            if op == .action { effort.deadline = program.step(path)?.deadline.map { began.adding($0) } }
            if let input {
                effort.input = input
                effort.edits += 1
            }
        }
        switch op {
        case .action:
            steps[path]?.status = .waiting
            steps[path]?.endedAt = nil
            failedSteps.remove(path)
        case .compensate: steps[path]?.compensationStatus = .running
        }
    }
}

extension Effort {
    fileprivate var isWaiting: Bool {
        switch phase {
        case .idle, .trying, .received: false
        case .retrying, .ongoing, .callback, .timer, .signal, .child: true
        }
    }

    /// Until when the request in flight can still reach the handler.
    fileprivate var latestArrival: Timestamp? {
        guard case .trying(let until) = phase, let sentAt else { return nil }
        return request?.isAsync == true ? min(until, sentAt + Request.asyncTimeout) : until
    }

    fileprivate mutating func postponeDeadlines(by time: Duration) {
        deadline = deadline.map { $0 + time }
        began = began.map { $0 + time }
        switch phase {
        case .callback(let until): phase = .callback(until: until + time)
        case .signal(let name, let until?): phase = .signal(name: name, until: until + time)
        case .idle, .trying, .retrying, .ongoing, .timer, .signal(_, nil), .received, .child: break
        }
    }
}

extension Failure {
    package var json: JSON {
        var members: [(name: String, value: JSON)] = [("type", .string(type))]
        if let title { members.append(("title", .string(title))) }
        if let detail { members.append(("detail", .string(detail))) }
        if let status { members.append(("status", JSON(status))) }
        if let step { members.append(("step", .string(step.text))) }
        return .object(JSONObject(members))
    }

    package init(_ json: JSON) {
        self.init(
            step: json["step"]?.string.map { StepPath($0) }, type: json["type"]?.string ?? "failed",
            title: json["title"]?.string, detail: json["detail"]?.string, status: json["status"]?.int)
    }
}
