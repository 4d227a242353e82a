internal import Sagas

/// Steps that can never run.
enum ReachCheck {
    static func check(_ steps: [StepOutline], _ report: Report) {
        let end = steps.firstIndex { $0.kind == .fail && $0.mapping["if"] == nil }
        if let end, end + 1 < steps.count {
            report.error(
                at: steps[end + 1].mapping.position,
                "\(steps[end + 1].called) stands behind \(steps[end].called), which always fails, and is never reached",
                expected: "fail as the last step, or with an if")
        }
        for block in steps.flatMap(\.blocks) { check(block.steps, report) }
    }
}
