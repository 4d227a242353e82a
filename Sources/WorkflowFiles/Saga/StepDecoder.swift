internal import Delivery
internal import Expressions
internal import Primitives
internal import Sagas

/// Reads steps, and the steps inside them.
struct StepDecoder {
    let defaults: SagaDefaults
    let report: Report

    private static let options = [
        "if", "retry", "timeout", "deadline", "compensate", "pivot", "fail_on", "output",
    ]
    private static let kinds = ActionKind.allCases.map(\.rawValue)

    /// A list of steps that is not empty.
    func sequence(_ node: Node, _ what: String = "steps") -> StepSequence? {
        guard let nodes = node.list(what, report) else { return nil }
        guard !nodes.isEmpty else {
            report.error(at: node.position, "\(what) is empty", expected: "at least one step")
            return nil
        }
        return StepSequence(outlines: nodes.map(outline))
    }

    private func outline(_ node: Node) -> StepOutline {
        guard let fields = Fields(node, of: "a step", known: ["id"] + Self.kinds + Self.options, report) else {
            return StepOutline(Node.Mapping(entries: [], position: node.position))
        }
        var outline = StepOutline(fields.mapping)
        outline.id = fields.required("id", expected: "a name such as charge")?.stepName("the id of a step", report)
        let site = Site(part: .forward, uses: Site.Uses(), report: report)
        let action = kind(fields).flatMap { kind in
            outline.kind = kind
            checkMeaning(of: fields, beside: kind)
            return self.action(kind, fields.mapping[kind.rawValue]?.value, site, &outline)
        }
        // Options are read into a stand-in, so that their errors show even when the action is wrong.
        var step = Step(id: outline.id ?? "", action: action ?? .set(.literal(.null)))
        readOptions(fields, site, into: &step)
        outline.condition = step.condition
        outline.uses = site.uses.all
        if outline.id != nil, action != nil { outline.step = step }
        return outline
    }

    /// The one key that says what the step does.
    private func kind(_ fields: Fields) -> ActionKind? {
        let given = fields.mapping.entries.filter { Self.kinds.contains($0.name) }
        guard let first = given.first else {
            if !fields.isMisspelt(Self.kinds) {
                report.error(
                    at: fields.mapping.position, "a step that does nothing",
                    expected: "exactly one of \(Self.kinds.joined(separator: ", "))")
            }
            return nil
        }
        guard given.count == 1 else {
            report.error(
                at: given[1].namePosition, "a step with '\(first.name)' and '\(given[1].name)'",
                expected: "exactly one of them", suggestion: "make it two steps")
            return nil
        }
        return ActionKind(rawValue: first.name)
    }

    private func checkMeaning(of fields: Fields, beside kind: ActionKind) {
        for option in fields.mapping.entries {
            if let why = kind.idleness(of: option.name) {
                report.warning(
                    at: option.namePosition, "'\(option.name)' has no effect beside '\(kind.rawValue)': \(why)",
                    suggestion: "leave it out")
            }
            guard let kinds = kind.kindsInstead(for: option.name) else { continue }
            report.error(
                at: option.namePosition, "'\(option.name)' has no meaning beside '\(kind.rawValue)'",
                expected: kinds.count > 7
                    ? "it beside another action" : "it beside \(kinds.map(\.rawValue).joined(separator: ", "))",
                suggestion: kind.advice(on: option.name))
        }
    }

    /// What has but one try ends with it: there the timeout is a deadline, or the timeout of the wait for an event.
    private func readTimeout(_ fields: Fields, into step: inout Step) {
        if case .call = step.action {
            return fields.read("timeout", into: &step.timeout) { $0.duration("timeout", $1) }
        }
        var timeout: Duration?
        fields.read("timeout", into: &timeout) { $0.duration("timeout", $1) }
        guard let timeout else { return }
        switch step.action {
        case .await(var event) where event.timeout == nil:
            event.timeout = timeout
            step.action = .await(event)
        case .approve(var approval) where approval.timeout == nil:
            approval.timeout = timeout
            step.action = .approve(approval)
        default: step.deadline = min(step.deadline ?? timeout, timeout)
        }
    }

    private func readOptions(_ fields: Fields, _ site: Site, into step: inout Step) {
        step.retry = defaults.retry
        step.timeout = defaults.timeout
        fields.read("if", into: &step.condition) { node, _ in site.expression(node, "if") }
        fields.read("retry", into: &step.retry, defaults.policy)
        fields.read("deadline", into: &step.deadline) { $0.duration("deadline", $1) }
        readTimeout(fields, into: &step)
        fields.read("pivot", into: &step.isPivot) { $0.bool("pivot", $1) }
        fields.read("output", into: &step.output) { node, _ in site.part(.output).value(node, "output") }
        if let node = fields["compensate"] {
            step.compensation = CompensationDecoder(defaults: defaults, site: site.part(.compensation))
                .compensation(node)
        }
        guard let node = fields["fail_on"], let matches = RetryDecoder.matches(node, "fail_on", report) else { return }
        step.retry.failOn += matches.filter { !step.retry.failOn.contains($0) }
        RetryDecoder.checkMatches(step.retry, at: node.position, report)
    }
}
