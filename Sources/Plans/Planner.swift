import Delivery
import Expressions
import Sagas

/// Puts steps into words along the way forward, and knows on which side of the pivot it is.
struct Planner {
    typealias Standing = PlannedStep.Standing

    /// Of the step that comes next.
    private(set) var standing = Standing.undoable

    mutating func steps(_ steps: [Step]) -> [PlannedStep] {
        steps.map { step($0) }
    }

    private mutating func step(_ step: Step) -> PlannedStep {
        let before = standing
        let undo = undo(of: step)
        let reshapes = step.output?.expressions.isEmpty == false
        var planned = PlannedStep(
            id: step.id, kind: step.action.kind, does: oneLine(step.action.words),
            settings: step.settings.map(oneLine), condition: step.condition.map { oneLine("\($0)") },
            isPivot: step.isPivot, standing: before, undo: undo,
            mayEndUnknown: step.action.mayEndUnknown || reshapes,
            leavesTraces: step.action.reachesOut && undo == nil && !step.isPivot, failsAtStart: step.failsAtStart,
            failsAtOutput: reshapes)
        var ends: [Standing] = []
        switch step.action {
        case .parallel(let parallel):
            planned.waitsForOthers = parallel.onError == .wait
            planned.arms = parallel.branches.map { arm($0.id, $0.steps, from: before, &ends) }
            // All of them are gone through.
            if let past = ends.first(where: \.isPast) { ends = [past] }
        case .foreach(let loop):
            planned.limit = loop.limit
            planned.arms = [arm("each \(loop.name)", loop.steps, from: before, &ends)]
            // There may be no item.
            ends.append(before)
        case .choose(let choice):
            planned.arms = choice.cases.enumerated().map { index, one in
                let name = one.condition == nil ? "otherwise" : "case \(index + 1)"
                return arm(name, one.steps, condition: one.condition.map { oneLine("\($0)") }, from: before, &ends)
            }
            if choice.cases.last?.condition != nil { planned.arms.append(arm("otherwise", [], from: before, &ends)) }
        case .call, .publish, .wait, .await, .approve, .run, .set, .fail: ends = [before]
        }
        if step.isPivot { ends = [.past([step.id])] }
        if step.condition != nil || ends.isEmpty { ends.append(before) }
        standing = Standing(anyOf: ends)
        return planned
    }

    private mutating func arm(
        _ name: String, _ inner: [Step], condition: String? = nil, from before: Standing, _ ends: inout [Standing]
    ) -> PlannedStep.Arm {
        standing = before
        var arm = PlannedStep.Arm(name: name, condition: condition, steps: steps(inner))
        arm.endsPast = standing.isPast
        if !arm.alwaysFails { ends.append(standing) }
        return arm
    }

    /// Nothing undoes what is done behind the pivot. The pivot itself has either not happened, or makes the saga stuck.
    private func undo(of step: Step) -> PlannedStep.Undoing? {
        if standing.isPast || step.isPivot && step.compensation?.when != .started { return nil }
        if case .run(let run) = step.action {
            if step.isPivot { return nil }
            return PlannedStep.Undoing(does: "the sub-saga \(run.saga) as one unit")
        }
        return step.compensation.map {
            PlannedStep.Undoing(
                does: oneLine($0.words), settings: $0.settings.map(oneLine), wheneverStarted: $0.when == .started)
        }
    }
}

extension PlannedStep.Standing {
    /// Behind ways of which one was gone.
    fileprivate init(anyOf ways: [Self]) {
        var pivots: [String] = []
        for way in ways {
            switch way {
            case .undoable: break
            case .perhapsPast(let some), .past(let some): pivots += some.filter { !pivots.contains($0) }
            }
        }
        self = pivots.isEmpty ? .undoable : ways.allSatisfy(\.isPast) ? .past(pivots) : .perhapsPast(pivots)
    }
}
