/// Finds out what is undone where: the machine's order, the reverse of the starts, known before anything has started.
///
/// The machine undoes a step that has succeeded, or may have; one with `when: started` whatever became of it. What contains
/// steps starts before them, so it is undone after them.
struct WayBack {
    /// What lies behind a step.
    private struct Past {
        var undone: [Undo] = []
        var stays: [String] = []

        static func + (near: Past, far: Past) -> Past {
            Past(undone: near.undone + far.undone, stays: near.stays + far.stays)
        }
    }

    private var points: [FailurePoint] = []

    /// - Parameter output: where the saga's output is evaluated; nil when there is nothing to evaluate.
    static func failures(_ steps: [PlannedStep], output: PlannedStep.Standing?) -> [FailurePoint] {
        var way = WayBack()
        let all = way.walk(steps) { $0 }
        if let output { way.add(.sagaOutput, all, output) }
        return way.points
    }

    // MARK: - Walking

    /// - Parameter context: makes all that lies behind a step out of what lies behind it in these steps.
    /// - Returns: what there is to undo once all of them have succeeded.
    private mutating func walk(_ steps: [PlannedStep], _ context: (Past) -> Past) -> Past {
        var before = Past()
        for step in steps {
            visit(step) { context($0 + before) }
            before = Self.past(of: step) + before
        }
        return before
    }

    private mutating func visit(_ step: PlannedStep, _ context: (Past) -> Past) {
        guard !step.arms.isEmpty else {
            let mayBePivoted = step.isPivot && step.mayEndUnknown
            return add(.step(step.id), context(Self.failed(step)), step.standing, mayBePivoted: mayBePivoted)
        }
        if step.failsAtStart { add(.start(of: step.id), context(Past()), step.standing) }
        // It has started and will not succeed.
        var around = Past()
        if step.undo?.wheneverStarted == true { around.undone = [.step(step.id, .always)] }
        for index in step.arms.indices {
            _ = walk(step.arms[index].steps) { context(Self.inside(step, index, $0) + around) }
        }
        if step.failsAtOutput {
            let all = context(Self.past(of: step, unconditionally: true))
            add(.output(of: step.id), all, step.standing, mayBePivoted: step.isPivot)
        }
    }

    private mutating func add(
        _ place: FailurePoint.Place, _ past: Past, _ standing: PlannedStep.Standing, mayBePivoted: Bool = false
    ) {
        switch standing {
        case .past(let pivots):
            points.append(FailurePoint(place: place, outcome: .stuck(behind: pivots), undone: [], stays: []))
        case .perhapsPast(let pivots):
            points.append(
                FailurePoint(
                    place: place, outcome: .undoneUnlessPast(pivots), undone: past.undone, stays: past.stays))
        case .undoable:
            points.append(
                FailurePoint(
                    place: place, outcome: mayBePivoted ? .undoneUnlessUnknown : .undone, undone: past.undone,
                    stays: past.stays))
        }
    }

    // MARK: - What lies behind

    /// Of a step without inner steps that has failed.
    private static func failed(_ step: PlannedStep) -> Past {
        var past = Past()
        if let undo = step.undo {
            if undo.wheneverStarted {
                past.undone = [.step(step.id, .always)]
            } else if step.mayEndUnknown {
                past.undone = [.step(step.id, .mayHaveHappened)]
            }
        }
        if step.leavesTraces, step.mayEndUnknown { past.stays = [step.id] }
        return past
    }

    /// Of a step that has succeeded.
    private static func past(of step: PlannedStep, unconditionally: Bool = false) -> Past {
        let proviso: Undo.Proviso = step.condition == nil || unconditionally ? .always : .notSkipped
        let lanes = step.arms.filter { !$0.alwaysFails }.map { behind($0) }
        var inner = Past(stays: lanes.flatMap(\.stays))
        switch step.kind {
        case .parallel: inner.undone = group(step, .interleaved, lanes.map(\.undone), proviso)
        case .switch: inner.undone = group(step, .chosen, lanes.map(\.undone), proviso)
        case .foreach:
            inner.undone = group(step, step.limit == 1 ? .iterations : .mixedIterations, lanes.map(\.undone), proviso)
        case .call, .publish, .wait, .await, .approve, .run, .set, .fail: break
        }
        var own = Past()
        if step.undo != nil { own.undone = [.step(step.id, proviso)] }
        if step.leavesTraces { own.stays = [step.id] }
        return inner + own
    }

    /// Of an arm that was gone to its end.
    private static func behind(_ arm: PlannedStep.Arm) -> Past {
        arm.steps.reduce(Past()) { past(of: $1) + $0 }
    }

    /// What lies behind a step in an arm, within the step that contains it.
    private static func inside(_ step: PlannedStep, _ index: Int, _ past: Past) -> Past {
        switch step.kind {
        case .parallel:
            let others = step.arms.indices.filter { $0 != index }.map { behind(step.arms[$0]) }
            let lanes = others.map { step.waitsForOthers ? $0.undone : $0.undone.map(\.ifStarted) }
            return Past(
                undone: group(step, .interleaved, [past.undone] + lanes, .always),
                stays: past.stays + others.flatMap(\.stays))
        case .foreach:
            let body = behind(step.arms[index])
            let stays = past.stays + body.stays.filter { !past.stays.contains($0) }
            guard step.limit > 1 else {
                let earlier = group(step, .earlierIterations, [body.undone], .always)
                return Past(undone: past.undone + earlier, stays: stays)
            }
            let names = ["in this iteration", "in any other"]
            return Past(
                undone: group(
                    step, .mixedIterations, [past.undone, body.undone.map(\.ifStarted)], names: names, .always),
                stays: stays)
        case .switch, .call, .publish, .wait, .await, .approve, .run, .set, .fail: return past
        }
    }

    /// Lanes without anything to undo are left out; so is the order where there is only one branch.
    private static func group(
        _ step: PlannedStep, _ order: Undo.Group.Order, _ lanes: [[Undo]], names: [String]? = nil,
        _ proviso: Undo.Proviso
    ) -> [Undo] {
        let lanes = lanes.enumerated().filter { !$1.isEmpty }.map { Undo.Group.Lane(name: names?[$0], undone: $1) }
        if lanes.isEmpty { return [] }
        if order == .interleaved, proviso == .always, lanes.count == 1 { return lanes[0].undone }
        return [.group(Undo.Group(container: step.id, order: order, lanes: lanes, proviso: proviso))]
    }
}

extension Undo {
    /// The same of a branch or an iteration that may not have come so far.
    fileprivate var ifStarted: Undo {
        switch self {
        case .step(let id, _): return .step(id, .started)
        case .group(var group):
            group.proviso = .started
            return .group(group)
        }
    }
}
