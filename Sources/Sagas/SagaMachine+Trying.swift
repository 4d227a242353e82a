package import Delivery
package import Primitives

/// Tries: requests that go out, and what becomes of them. The same for doing and for undoing.
extension SagaMachine {
    // MARK: - Sending

    /// The first try of an effort.
    mutating func send(_ start: Fact.Start, _ path: StepPath, _ op: Op) {
        var start = start
        start.phase = .trying(until: patience(path, op, deadline: start.deadline))
        record(.started(start), path, op, attempt: 1)
        emit(path, op)
    }

    private mutating func sendAgain(_ path: StepPath, _ op: Op) {
        guard let effort = state.effort(path, op) else { return }
        // A try that the worker's death cut off, and one that is answered "ongoing", goes on under its number.
        let isNext = if case .retrying = effort.phase { !effort.isRepeat } else { false }
        record(
            .sent(until: patience(path, op, deadline: effort.deadline)), path, op,
            attempt: effort.attempts + (isNext ? 1 : 0))
        emit(path, op)
    }

    private func patience(_ path: StepPath, _ op: Op, deadline: Timestamp?) -> Timestamp {
        let end = now.adding(timeout(path, op))
        return deadline.map { min($0, end) } ?? end
    }

    private func timeout(_ path: StepPath, _ op: Op) -> Duration {
        guard let step = program.step(path) else { return Step.defaultTimeout }
        return op == .action ? step.timeout : step.compensation?.timeout ?? Step.defaultTimeout
    }

    package func policy(_ path: StepPath, _ op: Op) -> RetryPolicy {
        guard let step = program.step(path) else { return RetryPolicy() }
        return op == .action ? step.retry : step.compensation?.retry ?? RetryPolicy()
    }

    private mutating func emit(_ path: StepPath, _ op: Op) {
        guard let effort = state.effort(path, op), case .trying(let until) = effort.phase, let request = effort.request
        else { return }
        switch request {
        case .http(let http):
            effects.append(
                .call(
                    Effect.CallEffect(
                        step: path, op: op, send: effort.sends, attempt: effort.attempts, request: http,
                        body: effort.input,
                        timeout: http.isAsync ? min(until - now, Request.asyncTimeout) : until - now, deadline: until,
                        idempotencyKey: idempotencyKey(path, op, effort),
                        forwardKey: op == .compensate
                            ? state.steps[path].map { idempotencyKey(path, .action, $0.action) } : nil)))
        case .sql:
            guard let statement = program.statement(path, op) else { return }
            effects.append(
                .query(
                    Effect.QueryEffect(
                        step: path, op: op, send: effort.sends, statement: statement,
                        arguments: effort.input.array ?? [], timeout: until - now)))
        }
    }

    private func idempotencyKey(_ path: StepPath, _ op: Op, _ effort: Effort) -> String {
        "\(head.id)/\(path)/\(op.rawValue)" + (effort.edits > 0 ? "/\(effort.edits)" : "")
    }

    // MARK: - Outcomes

    mutating func answered(_ path: StepPath, _ op: Op, send: Int, _ result: SagaEvent.TryResult) {
        guard let effort = state.effort(path, op), effort.sends == send, let end = effort.patience,
            effort.isAwaitingAnswer || result.isFinal, state.status != .terminated, !isEvaluating(path)
        else {
            // After a callback the 202 comes late as a rule.
            if result == .accepted { return }
            return record(.late(result.summary), path, op, attempt: tryNumber(path, op))
        }
        switch result {
        case .succeeded(let output): succeed(path, op, output)
        case .accepted:
            let until = isAborting(op) ? min(end, countedNow.adding(program.definition.abortWait)) : end
            record(.accepted(until: until), path, op, attempt: effort.attempts)
        case .ongoing(let retryAfter):
            let policy = policy(path, op)
            let wait = max(policy.ongoingInterval, min(retryAfter ?? .zero, policy.retryAfterMax))
            if isAborting(op) || !hasTime(wait, path, op, effort, isOngoing: true) {
                let failure = Failure(type: "ongoing", detail: "the handler is still at work")
                return fail(path, op, failure, isUnknown: true)
            }
            record(.ongoing(next: now.adding(wait)), path, op, attempt: effort.attempts)
        case .failed(let error, let happened, let retryAfter):
            failTry(path, op, Failure(error, or: "exhausted"), happened: happened, retryAfter: retryAfter)
        case .postponed(let error, let happened, let delay):
            let failure = Failure(error, or: "exhausted")
            guard !isAborting(op) else {
                return fail(path, op, failure, isUnknown: happened == .unknown || effort.isOpen)
            }
            record(
                .postponed(failure.at(path), happened: happened, next: now.adding(delay)), path, op,
                attempt: effort.attempts)
        case .refused(let error, let isUnknown):
            if op == .compensate, error.status == 404 || error.status == 410 { return succeed(path, op, .null) }
            fail(path, op, Failure(error, or: "refused"), isUnknown: isUnknown || effort.mayHaveHappened)
        }
    }

    mutating func calledBack(_ path: StepPath, _ op: Op, send: Int, _ callback: SagaEvent.Callback) {
        guard let effort = state.effort(path, op), effort.sends == send, effort.request?.isAsync == true,
            let end = effort.patience, state.status != .terminated, !isEvaluating(path)
        else {
            return record(.late("callback: \(callback.summary)"), path, op, attempt: tryNumber(path, op))
        }
        switch callback {
        case .completed(let output): succeed(path, op, output)
        case .failed(let failure): fail(path, op, failure, isUnknown: effort.mayHaveHappened)
        // While it aborts the wait has an end that a heartbeat does not move.
        case .heartbeat where isAborting(op):
            record(.late("callback: heartbeat"), path, op, attempt: effort.attempts)
        case .heartbeat(let time):
            let until = min(effort.deadline ?? .latest, max(end, countedNow.adding(time)), .latest)
            record(.heartbeat(until: until), path, op, attempt: effort.attempts)
        }
    }

    private mutating func succeed(_ path: StepPath, _ op: Op, _ output: JSON) {
        switch op {
        case .action: finish(path, output)
        case .compensate: record(.succeeded(output: output), path, op, attempt: tryNumber(path, op))
        }
    }

    mutating func failTry(
        _ path: StepPath, _ op: Op, _ failure: Failure, happened: TryOutcome.Knowledge, retryAfter: Duration?
    ) {
        guard let effort = state.effort(path, op) else { return }
        let policy = policy(path, op)
        let tries = effort.attempts - effort.attemptsBefore
        let delay = max(
            policy.delay(after: tries, random: chance), min(retryAfter ?? .zero, policy.retryAfterMax))
        let isUnknown = happened == .unknown || effort.isOpen
        var failure = failure
        var isLast = isAborting(op)
        if case .limited(let most) = policy.attempts, tries >= most { isLast = true }
        if !isLast, !hasTime(delay, path, op, effort) {
            isLast = true
            failure.type = failure.type == "exhausted" ? "deadline" : failure.type
        }
        // A reason to abort has come, and the pivot is known not to have happened.
        if op == .action, state.noted != nil, program.step(path)?.isPivot == true, !isUnknown { isLast = true }
        if isLast { return fail(path, op, failure, isUnknown: isUnknown) }
        record(
            .tryFailed(failure.at(path), happened: happened, next: now.adding(delay)), path, op,
            attempt: effort.attempts)
    }

    /// Whether a try that begins after this wait would still be of use.
    private func hasTime(
        _ wait: Duration, _ path: StepPath, _ op: Op, _ effort: Effort, isOngoing: Bool = false
    ) -> Bool {
        limit(path, op, effort, isOngoing: isOngoing).map { countedNow.adding(wait) <= $0 } ?? true
    }

    /// `max_elapsed` is about retries: what a handler is at work on it may finish. A compensation has no other limit.
    private func limit(_ path: StepPath, _ op: Op, _ effort: Effort, isOngoing: Bool) -> Timestamp? {
        var limits: [Timestamp] = []
        if let deadline = effort.deadline { limits.append(deadline) }
        if !isOngoing || op == .compensate, let most = policy(path, op).maxElapsed, let began = effort.began {
            limits.append(began + most)
        }
        // The pivot outlasts it, and there is no going back after it.
        if op == .action, !state.hasPivoted, program.step(path)?.isPivot != true, let deadline = state.deadline {
            limits.append(deadline)
        }
        return limits.min()
    }

    private func isAborting(_ op: Op) -> Bool { op == .action && state.status == .compensating }

    /// The number of the latest try; nil where nothing is tried.
    private func tryNumber(_ path: StepPath, _ op: Op) -> Int? {
        state.effort(path, op).flatMap { $0.attempts > 0 ? $0.attempts : nil }
    }

    /// For good.
    mutating func fail(_ path: StepPath, _ op: Op, _ failure: Failure, isUnknown: Bool) {
        record(.stepFailed(failure.at(path), isUnknown: isUnknown), path, op, attempt: tryNumber(path, op))
        if op == .compensate {
            getStuck(
                Trouble(
                    .compensation, step: path, op: op, detail: failure.said ?? failure.type,
                    interrupted: .compensating))
        }
    }

    // MARK: - Time

    mutating func tick() {
        guard state.begunAt != nil, state.suspendedAt == nil, !startsNothing else { return }
        if state.status == .running, let deadline = state.deadline, deadline <= now { expire() }
        for path in state.starts {
            for op in [Op.action, .compensate] { tick(path, op) }
        }
    }

    /// Comes last: not after a failure that came at the same time.
    mutating func sendWhatIsDue() {
        let op: Op
        switch state.status {
        case .running: op = .action
        case .compensating: op = .compensate
        case .stuck, .completed, .compensated, .failed, .terminated: return
        }
        for path in state.starts {
            guard let effort = state.effort(path, op) else { continue }
            switch effort.phase {
            case .retrying(let at), .ongoing(let at):
                if at <= now, now < effort.deadline ?? .latest { sendAgain(path, op) }
            case .idle, .trying, .callback, .timer, .signal, .received, .child: break
            }
        }
    }

    private mutating func expire() {
        let failure = Failure(
            type: "timeout",
            detail: "the saga did not complete within \(program.definition.timeout?.text ?? "its timeout")")
        if state.hasPivoted {
            getStuck(Trouble(.timeout, detail: failure.detail, interrupted: .running))
        } else {
            abort(failure)
        }
    }

    private mutating func tick(_ path: StepPath, _ op: Op) {
        guard state.status == .running || state.status == .compensating, let effort = state.effort(path, op),
            !isEvaluating(path)
        else { return }
        switch effort.phase {
        case .received, .trying: break
        case .idle:
            guard let deadline = containerDeadline(path, op, effort), deadline <= now else { return }
            outlast(path)
        // After the decision to abort waits end at once, as failures: see `settle`.
        case .retrying where isAborting(op), .ongoing where isAborting(op), .timer where isAborting(op),
            .signal where isAborting(op):
            break
        case .retrying, .ongoing:
            if let deadline = effort.deadline, deadline <= now {
                fail(
                    path, op, Failure(type: "deadline", detail: effort.lastError?.said),
                    isUnknown: effort.isOpen)
            }
        case .callback(let until):
            guard until <= now else { return }
            failTry(
                path, op, Failure(type: "timeout", detail: "no callback came in time"), happened: .unknown,
                retryAfter: nil)
        case .timer(let until):
            if let deadline = effort.deadline, deadline < until, deadline <= now { return miss(path) }
            if until <= now { finish(path, .null) }
        case .signal(let name, let until):
            guard let end = effort.endOfWait, end <= now else { return }
            // It came in time, and nobody has looked: inside a parallel that has failed and waits for others.
            if state.signals[name]?.first != nil { return takeSignal(path) }
            if until != end { return miss(path) }
            if case .await(let waiting)? = program.step(path)?.action, waiting.onTimeout == .continue {
                return finish(path, .null)
            }
            let failure = Failure(step: path, type: "timeout", detail: "no \(name) came in time")
            record(.stepFailed(failure, isUnknown: false), path, op)
        case .child:
            guard let deadline = childDeadline(path, effort), deadline <= now else { return }
            let detail = "the sub-saga did not end in time"
            abort(Failure(step: path, type: "deadline", detail: detail))
            // Which only noted it: what becomes of the sub-saga decides.
            if program.step(path)?.isPivot == true { effects.append(.tellChild(path, .cancel(reason: detail))) }
        }
    }

    /// A wait has reached the deadline of its step.
    private mutating func miss(_ path: StepPath) {
        record(
            .stepFailed(Failure(step: path, type: "deadline", detail: "it did not end in time"), isUnknown: false),
            path,
            .action)
    }

    /// The steps inside have not ended at the deadline of the step that contains them: as when the saga's timeout comes.
    private mutating func outlast(_ path: StepPath) {
        let detail = "\(path) did not end within \(program.step(path)?.deadline?.text ?? "its deadline")"
        if state.hasPivoted {
            getStuck(Trouble(.timeout, detail: detail, interrupted: .running))
        } else {
            abort(Failure(step: path, type: "deadline", detail: detail))
        }
    }

    private func containerDeadline(_ path: StepPath, _ op: Op, _ effort: Effort) -> Timestamp? {
        guard op == .action, state.status == .running, state.noted == nil, state.steps[path]?.status == .running else {
            return nil
        }
        return effort.deadline
    }

    /// When the wait for a sub-saga ends the saga. One that cannot be undone any more, by the pivot, is awaited; one that is
    /// the pivot is told to abort.
    private func childDeadline(_ path: StepPath, _ effort: Effort) -> Timestamp? {
        guard state.status == .running, !state.hasPivoted else { return nil }
        let isWaitedFor = program.step(path)?.isPivot == true ? state.noted == nil : !isPivotUnderWay
        return isWaitedFor ? effort.deadline : nil
    }

    /// When the machine wants the next `tick`; nil while only others can move it.
    package var nextDue: Timestamp? {
        guard state.begunAt != nil, state.suspendedAt == nil, !startsNothing,
            state.status == .running || state.status == .compensating
        else { return nil }
        var due: [Timestamp] = []
        if state.status == .running, let deadline = state.deadline, state.noted == nil { due.append(deadline) }
        for path in state.starts {
            guard let step = state.steps[path] else { continue }
            for (op, effort) in [(Op.action, step.action), (.compensate, step.undo ?? Effort())] {
                switch effort.phase {
                case .received, .trying: break
                case .idle: if let deadline = containerDeadline(path, op, effort) { due.append(deadline) }
                case .retrying(let at), .ongoing(let at):
                    if !isAborting(op) { due.append(effort.deadline.map { min($0, at) } ?? at) }
                case .callback(let until): due.append(until)
                case .timer, .signal: if let end = effort.endOfWait { due.append(end) }
                case .child: if op == .action, let deadline = childDeadline(path, effort) { due.append(deadline) }
                }
            }
        }
        if state.status == .compensating, let path = nextToUndo, state.steps[path]?.compensationStatus == .pending,
            let quiet = state.steps[path]?.action.quietAt
        {
            due.append(quiet)
        }
        return due.min()
    }
}

extension SagaProgram {
    func statement(_ path: StepPath, _ op: Op) -> String? {
        switch (op, step(path)?.action, step(path)?.compensation?.action) {
        case (.action, .call(.sql(let call)), _), (.compensate, _, .call(.sql(let call))): call.statement
        default: nil
        }
    }
}

extension Effort {
    fileprivate var isAwaitingAnswer: Bool {
        if case .trying = phase { true } else { false }
    }

    /// When the wait for a time or a signal is over, one way or the other; nil when only a signal ends it.
    fileprivate var endOfWait: Timestamp? {
        switch phase {
        case .timer(let until): min(until, deadline ?? .latest)
        case .signal(_, let until): [until, deadline].compactMap(\.self).min()
        case .idle, .trying, .retrying, .ongoing, .callback, .received, .child: nil
        }
    }

    /// How long the answer or the callback is waited for.
    fileprivate var patience: Timestamp? {
        switch phase {
        case .trying(let until), .callback(let until): until
        case .idle, .retrying, .ongoing, .timer, .signal, .received, .child: nil
        }
    }
}

extension SagaEvent.TryResult {
    /// It is an outcome even when a heartbeat came before the answer and a callback is awaited.
    fileprivate var isFinal: Bool {
        switch self {
        case .succeeded, .refused: true
        case .accepted, .ongoing, .failed, .postponed: false
        }
    }

    /// For the history, without the handler's words.
    fileprivate var summary: String {
        switch self {
        case .succeeded: "succeeded"
        case .accepted: "accepted"
        case .ongoing: "ongoing"
        case .failed(let error, _, _): "failed: \(error.summary)"
        case .postponed(let error, _, _): "postponed: \(error.summary)"
        case .refused(let error, _): "refused: \(error.summary)"
        }
    }
}

extension SagaEvent.Callback {
    fileprivate var summary: String {
        switch self {
        case .completed: "completed"
        case .failed(let failure): "failed: \(failure.type)"
        case .heartbeat: "heartbeat"
        }
    }
}
