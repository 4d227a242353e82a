import Delivery
import Expressions
import Primitives

/// Aborting: the decision, the wait for what is in flight, and the undoing of all that was started, the last first.
extension SagaMachine {
    /// While the pivot is under way, or may have happened, the reason is only noted.
    mutating func abort(_ failure: Failure) {
        guard state.status == .running else { return }
        if isPivotUnderWay {
            if state.noted == nil { record(.noted(failure)) }
            return
        }
        record(.aborting(failure))
        dropForwardEvaluations()
        for path in state.starts where isAtWork(path) {
            if case .child? = state.effort(path, .action)?.phase {
                effects.append(.tellChild(path, .cancel(reason: "its parent aborts: \(failure.type)")))
            }
        }
    }

    /// Whether the pivot is at work and may be happening, or may have happened.
    var isPivotUnderWay: Bool {
        state.starts.contains { program.step($0)?.isPivot == true && isAtWork($0) && mayBeHappening($0) }
    }

    private func mayBeHappening(_ path: StepPath) -> Bool {
        guard let effort = state.effort(path, .action) else { return false }
        return switch effort.phase {
        case .trying, .ongoing, .callback, .received, .child: true
        // Nothing was sent, or it is known not to have happened.
        case .retrying, .timer, .signal: effort.isOpen
        // A step that has done its work, whose output is being made.
        case .idle: isEvaluating(path)
        }
    }

    private func isAtWork(_ path: StepPath) -> Bool {
        switch state.steps[path]?.status {
        case .running, .waiting: true
        case nil, .pending, .succeeded, .failed, .unknown, .skipped: false
        }
    }

    // MARK: - Settling

    mutating func settle() {
        var isInFlight = false
        for path in state.starts where isAtWork(path) && !settleStep(path) { isInFlight = true }
        guard !isInFlight else { return }
        // What contains steps ends with them.
        for path in state.starts.reversed() where isAtWork(path) {
            record(.stepFailed(Failure(type: "aborted"), isUnknown: false), path, .action)
        }
        undo()
    }

    /// Whether nothing of the step is in flight any more. Waits end at once; a call is awaited.
    private mutating func settleStep(_ path: StepPath) -> Bool {
        guard let effort = state.effort(path, .action) else { return true }
        if isEvaluating(path) { return false }
        switch effort.phase {
        case .trying, .callback, .child: return false
        case .retrying:
            fail(path, .action, effort.lastError ?? Failure(type: "aborted"), isUnknown: effort.isOpen)
        case .ongoing:
            fail(path, .action, Failure(type: "ongoing", detail: "the handler was still at work"), isUnknown: true)
        case .received(let payload):
            conclude(path, payload)
            return !isEvaluating(path)
        case .timer, .signal:
            record(.stepFailed(Failure(type: "aborted"), isUnknown: false), path, .action)
        case .idle: break
        }
        return true
    }

    // MARK: - Undoing

    private mutating func undo() {
        if !state.isUndoing {
            record(.compensating(state.starts.reversed().filter { needsUndoing($0) }))
        }
        while state.status == .compensating {
            guard let path = nextToUndo else {
                let wasUndone = state.steps.values.contains {
                    $0.compensationStatus == .compensated || $0.compensationStatus == .skipped
                }
                if wasUndone {
                    record(.compensated)
                    leave(.compensated)
                } else {
                    record(.failed(state.failure ?? Failure(type: "failed")))
                    leave(.failed)
                }
                return
            }
            guard state.steps[path]?.compensationStatus == .pending, !isEvaluating(path) else { return }
            // What a dead worker sent must not arrive after its undo.
            if let quiet = state.steps[path]?.action.quietAt, quiet > now { return }
            beginUndoing(path)
        }
    }

    /// The latest start that is not undone yet.
    var nextToUndo: StepPath? { state.starts.last { state.steps[$0]?.isBeingUndone == true } }

    /// Succeeded, or may have; or sent at all, where the definition says so.
    private func needsUndoing(_ path: StepPath) -> Bool {
        guard let step = program.step(path), let ended = state.steps[path] else { return false }
        let hasHappened = ended.status == .succeeded || ended.status == .unknown || ended.action.mayHaveHappened
        if case .run = step.action { return hasHappened }
        guard let compensation = step.compensation else { return false }
        return hasHappened || compensation.when == .started
    }

    private mutating func beginUndoing(_ path: StepPath) {
        guard let step = program.step(path) else { return }
        if case .run = step.action {
            var start = Fact.Start()
            start.phase = .child
            record(.started(start), path, .compensate)
            effects.append(.tellChild(path, .undo(reason: "its parent aborts: \(state.failure?.type ?? "aborted")")))
            return
        }
        evaluate(step.compensation?.expressions ?? [], scope: undoScope(path), for: .compensation(path))
    }

    mutating func startCompensation(_ path: StepPath, _ result: Result<[JSON], ExpressionError>) {
        guard state.status == .compensating, let compensation = program.step(path)?.compensation else { return }
        do throws(ExpressionError) {
            let values = Bindings(compensation.expressions, try result.get())
            var start = Fact.Start()
            switch compensation.action {
            case .call(let call):
                start.input = try call.input(values)
                start.request = try call.request(values)
                send(start, path, .compensate)
            case .publish(let publication):
                let message = try publication.message(.step(path, .compensate), values)
                record(.started(start), path, .compensate)
                if let failure = refusedMessages.removeValue(forKey: message.origin) {
                    return fail(path, .compensate, failure, isUnknown: false)
                }
                effects.append(.publish(message))
                record(.succeeded(output: .null), path, .compensate)
            }
        } catch {
            fail(path, .compensate, Failure(error), isUnknown: false)
        }
    }

    // MARK: - Sub-sagas

    mutating func childEnded(_ path: StepPath, _ outcome: SagaEvent.ChildOutcome) {
        let op: Op = state.effort(path, .compensate)?.phase == .child ? .compensate : .action
        guard let effort = state.effort(path, op), effort.phase == .child, state.status != .terminated else {
            return record(.late("sub-saga \(outcome.status.rawValue)"), path, op)
        }
        switch (op, outcome.status) {
        case (.action, .completed): finish(path, outcome.output)
        case (.action, .compensated), (.action, .failed):
            let failure = outcome.failure ?? Failure(type: outcome.status.rawValue)
            record(.stepFailed(failure.at(path), isUnknown: false), path, op)
        case (.action, _):
            record(
                .stepFailed(
                    Failure(step: path, type: "terminated", detail: "the sub-saga was terminated"), isUnknown: true),
                path, op)
        case (.compensate, .compensated), (.compensate, .failed): record(.succeeded(output: .null), path, op)
        case (.compensate, _):
            let detail = outcome.failure?.said ?? "the sub-saga is \(outcome.status.rawValue)"
            fail(path, op, Failure(type: "not-undone", detail: detail), isUnknown: false)
        }
    }
}

extension StepState {
    fileprivate var isBeingUndone: Bool {
        switch compensationStatus {
        case .pending, .running, .failed: true
        case .notRequired, .compensated, .skipped: false
        }
    }
}
