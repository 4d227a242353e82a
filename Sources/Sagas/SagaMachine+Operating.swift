import Delivery
import Primitives

/// What operators, and the parents of sub-sagas, ask for. What cannot be done in the state at hand is recorded as refused.
extension SagaMachine {
    mutating func asked(_ act: SagaEvent.Act, by: String) {
        if let reason = objection(to: act) {
            record(.refused(act: act.name, reason: reason, by: by))
            if case .undo = act {
                // The parent waits for an answer.
                effects.append(
                    .tellParent(
                        SagaEvent.ChildOutcome(
                            status: state.status, failure: Failure(type: "refused", detail: reason))))
            }
            return
        }
        switch act {
        case .cancel(let reason): cancel(reason, by: by)
        case .terminate(let reason):
            record(.terminated(reason: reason, by: by))
            dropEvaluations()
            tellChildren(act)
            effects.append(.settleLetters(by: by, discarding: "terminated: \(reason)"))
            leave(.terminated)
        case .suspend(let reason):
            record(.suspended(by: by, reason: reason))
            tellChildren(act)
        case .resume(let reason):
            record(.resumed(by: by, reason: reason))
            tellChildren(act)
            // What came due meanwhile.
            tick()
        case .retry(let input, let reason): retry(input, reason, by: by)
        case .skip(_, let reason, let output): skip(reason, output, by: by)
        case .resolve(_, let happened, let output, let reason): resolve(happened, output, reason, by: by)
        case .undo(let reason):
            record(.aborting(Failure(type: "parent-aborted", detail: reason)))
        }
    }

    /// Why it cannot be done now; nil when it can.
    private func objection(to act: SagaEvent.Act) -> String? {
        switch act {
        case .cancel:
            if state.status.hasEnded { return "the saga has ended" }
            if state.hasPivoted { return "the pivot has succeeded: nothing is undone any more" }
            return state.status == .compensating || state.trouble?.interrupted == .compensating
                ? "the saga is compensating already" : nil
        case .terminate: return state.status.hasEnded ? "the saga has ended" : nil
        case .suspend:
            return state.status.hasEnded
                ? "the saga has ended" : state.suspendedAt != nil ? "the saga is suspended already" : nil
        case .resume: return state.suspendedAt == nil ? "the saga is not suspended" : nil
        case .retry(let input, _):
            guard let trouble = state.trouble else { return "the saga is not stuck" }
            return objection(toRetryOf: trouble, isEdited: input != nil)
        case .skip(let step, _, _):
            guard let trouble = state.trouble else { return "the saga is not stuck" }
            if trouble.reason == .pivot { return "the pivot's outcome is unknown: resolve it" }
            return objection(to: step, trouble)
        case .resolve(let step, _, _, _):
            guard let trouble = state.trouble else { return "the saga is not stuck" }
            return objection(to: step, trouble)
        case .undo:
            if state.status != .completed { return "the saga is \(state.status.rawValue)" }
            return state.hasPivoted ? "the pivot has succeeded: nothing is undone any more" : nil
        }
    }

    private func objection(toRetryOf trouble: Trouble, isEdited: Bool) -> String? {
        guard let path = trouble.step, let effort = state.effort(path, trouble.op) else {
            return isEdited ? "there is no request whose input could be edited" : nil
        }
        if effort.request != nil {
            // Under a new key it could happen twice.
            return isEdited && trouble.reason == .pivot
                ? "the pivot may have happened: resolve it, or retry it as it was" : nil
        }
        if isEdited { return "there is no request whose input could be edited" }
        guard trouble.op == .action, effort.mayHaveHappened else { return nil }
        switch program.step(path)?.action {
        case .run, .publish: return "\(path) may have happened, and would happen again: resolve or skip it"
        // Without a signal to go on with it would begin anew, and could be aborted after it has happened.
        case .await, .wait, .set:
            return trouble.reason == .pivot && effort.signal == nil ? "\(path) has happened: resolve it" : nil
        case nil, .call, .parallel, .foreach, .choose, .approve, .fail: return nil
        }
    }

    private func objection(to step: String, _ trouble: Trouble) -> String? {
        guard let stuck = trouble.step else { return "it is not a step that the saga is stuck at: retry the saga" }
        return step == stuck.text || step == stuck.stepID ? nil : "the saga is stuck at \(stuck), not at \(step)"
    }

    private mutating func cancel(_ reason: String, by: String) {
        let failure = Failure(type: "cancelled", detail: "\(reason) (by \(by))")
        if state.status == .stuck {
            // At the pivot: its outcome decides. Otherwise it goes back to work first, to abort.
            if state.trouble?.reason == .pivot { return record(.noted(failure)) }
            record(.retried(input: nil, by: by), state.trouble?.step, state.trouble?.op)
            effects.append(.settleLetters(by: by, discarding: "cancelled: \(reason)"))
        }
        if state.begunAt == nil { record(.begun(deadline: nil)) }
        abort(failure)
    }

    private mutating func tellChildren(_ act: SagaEvent.Act) {
        for path in state.starts {
            for op in [Op.action, .compensate] where state.effort(path, op)?.phase == .child {
                effects.append(.tellChild(path, act))
            }
        }
    }

    private mutating func retry(_ input: JSON?, _ reason: String?, by: String) {
        guard let trouble = state.trouble else { return }
        record(.retried(input: input, by: by, reason: reason), trouble.step, trouble.op)
        effects.append(.settleLetters(by: by))
        tick()
    }

    private mutating func skip(_ reason: String, _ output: JSON, by: String) {
        guard let trouble = state.trouble, let path = trouble.step else { return }
        record(.skipped(reason: reason, output: output, by: by), path, trouble.op)
        effects.append(.settleLetters(by: by, discarding: "skipped: \(reason)"))
    }

    private mutating func resolve(_ happened: Bool, _ output: JSON, _ reason: String?, by: String) {
        guard let trouble = state.trouble, let path = trouble.step else { return }
        record(.resolved(happened: happened, by: by, reason: reason), path, trouble.op)
        let verdict =
            happened ? "resolved: it happened" : trouble.reason == .pivot ? "resolved: it did not happen" : nil
        effects.append(
            .settleLetters(by: by, discarding: verdict.map { [$0, reason].compactMap(\.self).joined(separator: ": ") }))
        switch (trouble.op, happened) {
        case (_, true): record(.succeeded(output: output), path, trouble.op)
        case (.action, false) where trouble.reason == .pivot:
            record(
                .stepFailed(
                    Failure(step: path, type: "resolved", detail: "known not to have happened, by \(by)"),
                    isUnknown: false), path, .action)
        case (_, false):
            record(.retried(input: nil, by: by), path, trouble.op)
            tick()
        }
    }
}
