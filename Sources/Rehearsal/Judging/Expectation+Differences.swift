import Primitives
import Sagas

extension Expectation {
    /// All of them, what weighs most first.
    func differences(from performance: Performance) -> [Difference] {
        let state = performance.state
        var differences: [Difference] = []
        if state.status != status {
            differences.append(Difference("status", expected: status.rawValue, found: state.condition))
        }
        if let isSuspended, isSuspended != (state.suspendedAt != nil) {
            differences.append(
                Difference(
                    "suspended", expected: "\(isSuspended)", found: state.suspendedAt == nil ? "false" : "true"))
        }
        if let failure { differences += failure.differences(from: state.failure, "failure") }
        if let stuckAt { differences += stuckAt.differences(from: state.trouble) }
        if let calls { differences += calls.difference(from: performance.calls).map { [$0] } ?? [] }
        if let messages { differences += messages.difference(from: performance.messages).map { [$0] } ?? [] }
        for step in steps { differences += step.differences(from: state) }
        if let output {
            differences += state.output.mismatches(with: output, at: "it").map { Difference("output", $0) }
        }
        if let skipped, skipped != state.skipped {
            differences.append(Difference("skipped", expected: "\(skipped)", found: "\(state.skipped)"))
        }
        if let refused {
            let found = performance.refusals
            if found != refused {
                differences.append(Difference("refused", expected: refused.listed, found: found.listed))
            }
        }
        if let within, performance.duration > within {
            differences.append(
                Difference("within", expected: "at most \(within.clock)", found: performance.duration.clock))
        }
        for (operation, used, given) in performance.leftOver {
            let calls = used == 0 ? "never" : used == 1 ? "once" : "\(used) times"
            let replies = given == 1 ? "1 reply" : "\(given) replies"
            differences.append(
                Difference("handlers", "\(operation) was called \(calls); its handler has \(replies)"))
        }
        return differences
    }
}

extension [String] {
    fileprivate var listed: String { isEmpty ? "none" : joined(separator: ", ") }
}

extension Performance {
    /// The acts that changed nothing: `cancel`; of `signal parcel` the first word.
    fileprivate var refusals: [String] {
        timeline.filter { $0.event == "refused" && $0.operation == nil }.map { entry in
            String(entry.detail.prefix { $0 != ":" && $0 != " " })
        }
    }
}

extension SagaState {
    /// The status, and why, or what it waits for.
    fileprivate var condition: String {
        switch status {
        case .stuck: "stuck: \(trouble?.line ?? "")"
        case .failed, .compensated: failure.map { "\(status.rawValue): \($0.line)" } ?? status.rawValue
        case .running, .compensating: waitingFor.map { "\(status.rawValue), waiting for \($0)" } ?? status.rawValue
        case .completed, .terminated: status.rawValue
        }
    }
}

extension ExpectedFailure {
    /// - Parameter subject: what it is the failure of.
    fileprivate func differences(from failure: Failure?, _ subject: String) -> [Difference] {
        guard let failure else { return [Difference(subject, expected: type ?? "one", found: "none")] }
        var differences: [Difference] = []
        if let type, type != failure.type {
            differences.append(Difference(subject, expected: type, found: failure.line))
        }
        if let step, failure.step.map({ step.means($0) }) != true {
            let found = failure.step?.text ?? "no step"
            differences.append(Difference("\(subject).step", expected: step.text, found: found))
        }
        if let status, status != failure.status {
            let found = failure.status.map { "\($0)" } ?? "none"
            differences.append(Difference("\(subject).status", expected: "\(status)", found: found))
        }
        if let detail, failure.said?.contains(detail) != true {
            differences.append(
                Difference("\(subject).detail", expected: quoted(detail), found: quoted(failure.said ?? "")))
        }
        return differences
    }
}

extension ExpectedTrouble {
    fileprivate func differences(from trouble: Trouble?) -> [Difference] {
        let subject = "stuck_at"
        guard let trouble else { return [Difference(subject, "the saga is not stuck")] }
        var differences: [Difference] = []
        if let operation {
            let found = trouble.step.map { Operation($0, trouble.op) }
            if found.map({ operation.means($0) }) != true {
                differences.append(
                    Difference(subject, expected: "\(operation)", found: found.map { "\($0)" } ?? "no step"))
            }
        }
        if let reason, reason != trouble.reason.rawValue {
            differences.append(Difference("\(subject).reason", expected: reason, found: trouble.reason.rawValue))
        }
        if let detail, trouble.detail?.contains(detail) != true {
            differences.append(
                Difference("\(subject).detail", expected: quoted(detail), found: quoted(trouble.detail ?? "")))
        }
        return differences
    }
}

extension ExpectedStep {
    /// Of every iteration, where the step is spelt by its id.
    fileprivate func differences(from state: SagaState) -> [Difference] {
        let paths = state.steps.keys.filter { step.means($0) }.sorted { $0.text < $1.text }
        guard !paths.isEmpty else { return differences(from: StepState(), "steps.\(step)") }
        return paths.flatMap { path in differences(from: state.steps[path] ?? StepState(), "steps.\(path)") }
    }

    private func differences(from state: StepState, _ subject: String) -> [Difference] {
        var differences: [Difference] = []
        if let status, status != state.status {
            let why = state.error.map { ": \($0.line)" } ?? ""
            differences.append(
                Difference(subject, expected: status.rawValue, found: state.status.rawValue + why))
        }
        if let compensation, compensation != state.compensationStatus {
            differences.append(
                Difference(
                    "\(subject).compensation", expected: compensation.rawValue,
                    found: state.compensationStatus.rawValue))
        }
        if let attempts, attempts != state.action.attempts {
            differences.append(
                Difference("\(subject).attempts", expected: "\(attempts)", found: "\(state.action.attempts)"))
        }
        if let output {
            differences += state.output.mismatches(with: output, at: "it").map { Difference("\(subject).output", $0) }
        }
        if let error { differences += error.differences(from: state.error, "\(subject).error") }
        return differences
    }
}

private func quoted(_ text: String) -> String { JSON.string(text).text }
