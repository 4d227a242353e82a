import Primitives
import Sagas
import WorkflowFiles

/// The steps of a definition, to tell what a scenario means by a name.
struct StepCatalogue {
    /// What stands at the other end of a step, or of its compensation.
    enum HandlerKind {
        case http(isAsync: Bool)
        case sql
        case subSaga
    }

    private let saga: String
    private let steps: [Step]
    /// Where each step stands, with `[]` for the iterations of loops.
    private let paths: Set<String>
    private let program: SagaProgram

    init(_ program: SagaProgram) {
        self.program = program
        saga = program.definition.name
        steps = program.definition.allSteps
        paths = Set(Self.paths(of: program.definition.steps, in: nil))
    }

    private static func paths(of steps: [Step], in container: String?) -> [String] {
        steps.flatMap { step -> [String] in
            let path = container.map { "\($0).\(step.id)" } ?? step.id
            let inner: [String] =
                switch step.action {
                case .parallel(let parallel): parallel.branches.flatMap { paths(of: $0.steps, in: "\(path).\($0.id)") }
                case .foreach(let loop): paths(of: loop.steps, in: "\(path)[]")
                case .choose(let choice): choice.cases.flatMap { paths(of: $0.steps, in: path) }
                case .call, .publish, .wait, .await, .approve, .run, .set, .fail: []
                }
            return [path] + inner
        }
    }

    // MARK: - What is meant

    /// A step by its id or by its path.
    func step(_ text: String, at position: Position, _ report: Report) -> StepPath? {
        let path = StepPath(text)
        if steps.contains(where: { $0.id == text }) || paths.contains(Self.withoutNumbers(text)) { return path }
        let ids = steps.map(\.id)
        report.error(
            at: position, "the saga '\(saga)' has no step '\(text)'",
            expected: closest(to: text, among: ids) == nil ? "one of \(ids.joined(separator: ", "))" : nil,
            suggestion: closest(to: text, among: ids).map { "did you mean '\($0)'?" })
        return nil
    }

    /// `items[12].reserve` as `items[].reserve`.
    private static func withoutNumbers(_ text: String) -> String {
        var result = ""
        var isInside = false
        for character in text {
            if character == "]" { isInside = false }
            if !(isInside && character.isASCII && character.isNumber) { result.append(character) }
            if character == "[" { isInside = true }
        }
        return result
    }

    /// A step, or its compensation, that has a handler.
    func called(_ text: String, at position: Position, _ report: Report) -> (Operation, HandlerKind)? {
        let operation = Operation(text)
        guard step(operation.step.text, at: position, report) != nil else { return nil }
        guard let kind = kind(of: operation) else {
            let callable = steps.flatMap { step in
                [Operation(StepPath(step.id)), Operation(StepPath(step.id), .compensate)]
            }.filter { kind(of: $0) != nil }
            report.error(
                at: position,
                operation.op == .action
                    ? "the step '\(operation.step)' calls no handler"
                    : "the step '\(operation.step)' has no compensation that calls a handler",
                expected: callable.isEmpty ? nil : "one of \(callable.map(\.description).joined(separator: ", "))")
            return nil
        }
        return (operation, kind)
    }

    private func kind(of operation: Operation) -> HandlerKind? {
        guard let step = program.step(operation.step) else { return nil }
        switch (operation.op, step.action, step.compensation?.action) {
        case (_, .run, _): return .subSaga
        case (.action, .call(let call), _), (.compensate, _, .call(let call)?):
            return switch call {
            case .http(let http): .http(isAsync: http.isAsync)
            case .sql: .sql
            }
        case (.action, _, _), (.compensate, _, _): return nil
        }
    }

    /// The events that a scenario can send: those that steps wait for, approvals among them.
    var signals: [String] {
        steps.compactMap { step in
            switch step.action {
            case .await(let waiting): waiting.event
            case .approve: step.id
            case .call, .publish, .parallel, .foreach, .choose, .wait, .run, .set, .fail: nil
            }
        }
    }

    var approvals: [String] {
        steps.compactMap { step in if case .approve = step.action { step.id } else { nil } }
    }
}
