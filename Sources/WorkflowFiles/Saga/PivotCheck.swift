internal import Delivery
internal import Primitives
internal import Sagas

/// Walks every path through a saga: what can still be undone before the pivot, what has to go forward behind it.
struct PivotCheck {
    private struct Pivot {
        let id: String
        let line: Int
    }

    /// What stands round the steps of a list.
    private struct Surroundings {
        /// A pivot on some path that leads here.
        var pivot: Pivot?
        /// `parallel` or `foreach`.
        var container: ActionKind?
        /// Whether they run whenever the saga gets so far.
        var isUnconditional = true
        /// Whether a step that comes behind all of them can fail.
        var isFollowed = false
    }

    private let saga: SubSaga.Parent?
    private let timeout: Duration?
    private let hasPivot: Bool
    private let report: Report

    /// - Parameters:
    ///   - saga: nil when it has no name or no version.
    ///   - timeout: of the saga.
    static func check(_ steps: [StepOutline], of saga: SubSaga.Parent?, timeout: Duration?, _ report: Report) {
        let check = PivotCheck(saga: saga, timeout: timeout, hasPivot: containsPivot(steps), report: report)
        _ = check.walk(steps, Surroundings())
    }

    private static func containsPivot(_ steps: [StepOutline]) -> Bool {
        steps.contains { $0.isPivot || $0.blocks.contains { containsPivot($0.steps) } }
    }

    /// - Returns: a pivot on some path that leads behind the steps.
    private func walk(_ steps: [StepOutline], _ surroundings: Surroundings) -> Pivot? {
        var here = surroundings
        // Whether a step behind each of them can fail.
        var followed = [surroundings.isFollowed]
        for step in steps.dropFirst().reversed() { followed.append(followed.last == true || canFail(step)) }
        for (step, isFollowed) in zip(steps, followed.reversed()) {
            here.isFollowed = isFollowed
            here.isUnconditional = surroundings.isUnconditional && step.runs == true
            checkRun(step, here)
            if step.isPivot {
                checkPlace(step, behind: here.pivot, inside: here.container)
                checkTime(step)
                warnOfIdleCompensation(step)
                here.pivot = here.pivot ?? Pivot(id: step.id ?? "", line: step.namePosition(of: "pivot").line)
            } else if let pivot = here.pivot {
                refuseUndo(step, behind: pivot)
            } else {
                warnOfEffect(step, inside: here.container)
            }
            var inside = here
            if step.kind == .parallel || step.kind == .foreach { inside.container = step.kind }
            if step.kind == .switch || step.kind == .foreach { inside.isUnconditional = false }
            // Of the cases of a switch one runs, or none: each is a path of its own.
            let ends = step.blocks.map { walk($0.steps, inside) }
            here.pivot = here.pivot ?? ends.lazy.compactMap(\.self).first
        }
        return here.pivot
    }

    /// Apart from an expression that fails.
    private func canFail(_ step: StepOutline) -> Bool {
        switch step.kind {
        case .call, .await, .approve, .run, .fail: true
        case .parallel, .foreach, .switch: step.blocks.contains { $0.steps.contains(where: canFail) }
        case .publish, .wait, .set, nil: false
        }
    }

    // MARK: - Errors

    private func checkPlace(_ step: StepOutline, behind pivot: Pivot?, inside container: ActionKind?) {
        let position = step.namePosition(of: "pivot")
        if let container {
            report.error(
                at: position, "a pivot inside \(container.rawValue): what runs beside it could still fail",
                expected: "the pivot outside of parallel and foreach")
        } else if let pivot {
            report.error(
                at: position, "a second pivot on one path, behind '\(pivot.id)' at line \(pivot.line)",
                expected: "one point of no return")
        }
    }

    /// Behind the pivot nothing is undone, and nothing may ask for it.
    private func refuseUndo(_ step: StepOutline, behind pivot: Pivot) {
        let place = "behind the pivot '\(pivot.id)' at line \(pivot.line), after which nothing is undone"
        if let entry = step.mapping["compensate"], !entry.value.isNone {
            report.error(
                at: entry.namePosition, "a compensation \(place)", expected: "a step that only goes forward",
                suggestion: "remove it, or move the step before the pivot")
        }
        if step.kind == .fail {
            report.error(
                at: step.namePosition(of: "fail"), "a 'fail' \(place)", expected: "steps that only go forward",
                suggestion: "decide before the pivot")
        }
    }

    /// What the other saga has to say is asked when all files have been read.
    private func checkRun(_ step: StepOutline, _ here: Surroundings) {
        guard case .run(let run)? = step.step?.action, case .mapping(let mapping)? = step.mapping["run"]?.value else {
            return
        }
        let standing: SubSaga.Standing =
            step.isPivot || here.pivot != nil
            ? .final
            : hasPivot ? .beforePivot : .withoutPivot(inside: here.container, isFollowed: here.isFollowed)
        var child = SubSaga(
            name: run.saga, parent: saga, id: step.id, isUnconditional: here.isUnconditional, standing: standing)
        if step.isPivot, step.step?.deadline == nil, let timeout {
            child.limit = (timeout, step.namePosition(of: "pivot"))
        }
        report.refer(to: .run(child), at: mapping["saga"]?.value.position ?? mapping.position)
    }

    /// While the pivot runs the saga's timeout is only noted: its tries must come to an end by themselves.
    private func checkTime(_ outline: StepOutline) {
        guard let timeout, let step = outline.step, let longest = LongestTime(of: step) else { return }
        let position = outline.namePosition(of: "pivot")
        switch longest {
        case .endless(let why):
            report.error(
                at: position, "the pivot '\(step.id)' can outlast the saga's timeout of \(timeout.text): \(why)",
                expected: "a pivot that ends before", suggestion: step.adviceOnTime)
        case .limited(let time) where time > timeout:
            report.error(
                at: position,
                "the pivot '\(step.id)' can take \(time.rounded.text) with all its tries, longer than the saga's timeout of \(timeout.text)",
                expected: "a pivot that ends before", suggestion: step.adviceOnTime)
        case .limited: warnOfUnusualAnswers(step, timeout, at: position)
        }
    }

    // MARK: - Warnings

    /// What handlers do that hardly any does: nothing but a deadline stands against it.
    private func warnOfUnusualAnswers(_ step: Step, _ timeout: Duration, at position: Position) {
        guard case .call(.http(let call)) = step.action, step.deadline == nil else { return }
        let policy = step.retry
        let limit = "the saga's timeout of \(timeout.text)"
        let found: String
        if call.isAsync {
            found = "the pivot '\(step.id)' can outlast \(limit) when heartbeats extend the wait for its callback"
        } else if policy.maxElapsed != nil {
            return
        } else if case .limited(let time)? = LongestTime(of: step, retryAfter: policy.retryAfterMax), time > timeout {
            let asked = policy.retryAfterMax.text
            found =
                "the pivot '\(step.id)' can take \(time.rounded.text) when every answer asks for a Retry-After of \(asked), longer than \(limit)"
        } else {
            found = "the pivot '\(step.id)' can outlast \(limit) when its handler goes on answering 425, still at work"
        }
        report.warning(at: position, found, suggestion: "set its deadline")
    }

    private func warnOfIdleCompensation(_ step: StepOutline) {
        guard let compensation = step.step?.compensation, compensation.when == .succeeded else { return }
        report.warning(
            at: step.namePosition(of: "compensate"),
            "the compensation of the pivot has no effect: once the pivot has succeeded, nothing is undone",
            suggestion: "remove it, or write when: started")
    }

    private func warnOfEffect(_ step: StepOutline, inside container: ActionKind?) {
        guard step.mapping["compensate"] == nil, let action = step.step?.action, action.hasEffect else { return }
        let ways =
            hasPivot
            ? "add compensate, or move the step behind the pivot"
            : container == nil
                ? "add compensate, or pivot: true if nothing is to be undone once it is done" : "add compensate"
        report.warning(
            at: step.namePosition(of: step.kind?.rawValue ?? "id"),
            "\(step.called) has an effect and no compensation: when the saga aborts, it stays done",
            suggestion: "\(ways); to accept that, write compensate: none")
    }
}

extension Action {
    /// Whether it may change something, as far as one can tell from outside. A sub-saga sees to its own.
    fileprivate var hasEffect: Bool {
        switch self {
        case .call(.http(let call)): call.method != .get
        case .call(.sql), .publish: true
        case .parallel, .foreach, .choose, .wait, .await, .approve, .run, .set, .fail: false
        }
    }
}

extension Step {
    fileprivate var adviceOnTime: String {
        switch action {
        case .await, .approve: "set its timeout"
        case .call, .publish, .parallel, .foreach, .choose, .wait, .run, .set, .fail: "set its deadline"
        }
    }
}
