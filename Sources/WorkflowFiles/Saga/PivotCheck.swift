internal import Delivery
internal import Primitives
internal import Sagas

/// Walks every path through a saga: what can still be undone before the pivot, what has to go forward behind it.
struct PivotCheck {
    private struct Pivot {
        let id: String
        let line: Int
    }

    private let timeout: Duration?
    private let hasPivot: Bool
    private let report: Report

    /// - Parameter timeout: of the saga.
    static func check(_ steps: [StepOutline], timeout: Duration?, _ report: Report) {
        let check = PivotCheck(timeout: timeout, hasPivot: containsPivot(steps), report: report)
        _ = check.walk(steps, behind: nil, inside: nil)
    }

    private static func containsPivot(_ steps: [StepOutline]) -> Bool {
        steps.contains { $0.isPivot || $0.blocks.contains { containsPivot($0.steps) } }
    }

    /// - Parameters:
    ///   - pivot: a pivot on some path that leads here.
    ///   - container: `parallel` or `foreach` around the steps.
    /// - Returns: a pivot on some path that leads behind the steps.
    private func walk(_ steps: [StepOutline], behind pivot: Pivot?, inside container: ActionKind?) -> Pivot? {
        var pivot = pivot
        for step in steps {
            checkRun(step, isUndone: pivot == nil && !step.isPivot)
            if step.isPivot {
                checkPlace(step, behind: pivot, inside: container)
                checkTime(step)
                warnOfIdleCompensation(step)
                // One that is misplaced draws no line.
                if container == nil, pivot == nil {
                    pivot = Pivot(id: step.id ?? "", line: step.namePosition(of: "pivot").line)
                }
            } else if let pivot {
                refuseUndo(step, behind: pivot)
            } else {
                warnOfEffect(step, inside: container)
            }
            let isTogether = step.kind == .parallel || step.kind == .foreach
            // Of the cases of a switch one runs, or none: each is a path of its own.
            let ends = step.blocks.map {
                walk($0.steps, behind: pivot, inside: isTogether ? step.kind : container)
            }
            pivot = pivot ?? ends.lazy.compactMap(\.self).first
        }
        return pivot
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

    private func checkRun(_ step: StepOutline, isUndone: Bool) {
        guard case .run(let run)? = step.step?.action, case .mapping(let mapping)? = step.mapping["run"]?.value else {
            return
        }
        let position = mapping["saga"]?.value.position ?? mapping.position
        report.refer(to: .saga(run.saga, isUndone: isUndone && hasPivot), at: position)
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
        case .limited: break
        }
    }

    // MARK: - Warnings

    private func warnOfIdleCompensation(_ step: StepOutline) {
        guard let compensation = step.step?.compensation, compensation.when == .succeeded else { return }
        report.warning(
            at: step.namePosition(of: "compensate"),
            "the compensation of the pivot has no effect: once the pivot has succeeded, nothing is undone",
            suggestion: "remove it, or write when: started")
    }

    private func warnOfEffect(_ step: StepOutline, inside container: ActionKind?) {
        guard step.mapping["compensate"] == nil, case .call(let call)? = step.step?.action, call.hasEffect else {
            return
        }
        let ways =
            hasPivot
            ? "add compensate, or move the step behind the pivot"
            : container == nil
                ? "add compensate, or pivot: true if nothing is to be undone once it is done" : "add compensate"
        report.warning(
            at: step.namePosition(of: "call"),
            "\(step.called) has an effect and no compensation: when the saga aborts, it stays done",
            suggestion: "\(ways); to accept that, write compensate: none")
    }
}

extension Call {
    /// Whether it may change something, as far as one can tell from outside.
    fileprivate var hasEffect: Bool {
        switch self {
        case .http(let call): call.method != .get
        case .sql: true
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
