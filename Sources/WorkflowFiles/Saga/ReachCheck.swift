internal import Sagas

/// Steps that can never run. Of cases `StepDecoder` tells.
enum ReachCheck {
    static func check(_ steps: [StepOutline], _ report: Report) {
        if let end = steps.firstIndex(where: alwaysFails), end + 1 < steps.count {
            let (step, first, others) = (steps[end], steps[end + 1], steps.count - end - 2)
            let found =
                others == 0
                ? "\(first.called) stands behind \(step.called), which always fails, and is never reached"
                : "\(first.called) and \(others) more behind it stand behind \(step.called), which always fails, and are never reached"
            report.error(
                at: first.mapping.position, found,
                expected: step.kind == .fail
                    ? "fail as the last step, or with an if"
                    : "a way through it that does not fail, or nothing behind it")
        }
        for step in steps {
            if step.runs == false {
                report.error(
                    at: step.position(of: "if"), "\(step.called) never runs: its 'if' is always false",
                    expected: "a condition that can be true")
            }
            for block in step.blocks { check(block.steps, report) }
        }
    }

    private static func alwaysFails(_ step: StepOutline) -> Bool {
        guard step.runs == true else { return false }
        switch step.kind {
        case .fail: return true
        case .parallel: return step.blocks.contains { alwaysFail($0.steps) }
        case .switch:
            // Without a case that is always taken there is a way that runs none.
            let cases = step.blocks.prefix { $0.runs != true } + step.blocks.drop { $0.runs != true }.prefix(1)
            return cases.last?.runs == true && cases.allSatisfy { $0.runs == false || alwaysFail($0.steps) }
        // There may be no item.
        case .foreach: return false
        case .call, .publish, .wait, .await, .approve, .run, .set, nil: return false
        }
    }

    private static func alwaysFail(_ steps: [StepOutline]) -> Bool { steps.contains(where: alwaysFails) }
}
