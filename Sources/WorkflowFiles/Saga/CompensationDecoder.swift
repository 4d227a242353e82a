internal import Delivery
internal import Primitives
internal import Sagas

/// Reads `compensate:`.
struct CompensationDecoder {
    let defaults: SagaDefaults
    let site: Site
    private var report: Report { site.report }

    init(defaults: SagaDefaults, site: Site) {
        self.defaults = defaults
        self.site = site
    }

    /// Nil of `compensate: none` too: there is nothing to undo.
    func compensation(_ node: Node) -> Compensation? {
        if node.isNone { return nil }
        guard case .mapping = node else {
            report.error(
                at: node.position, "\(node.called) stands for compensate",
                expected: "a mapping with call or publish, or none")
            return nil
        }
        guard
            let fields = Fields(
                node, of: "compensate", known: ["when", "call", "publish", "retry", "timeout"], report)
        else { return nil }
        let action = action(fields)
        var compensation = Compensation(action: action ?? .publish(Publication(topic: "", payload: .literal(.null))))
        compensation.retry = defaults.compensationRetry
        compensation.timeout = defaults.compensationTimeout
        fields.read("when", into: &compensation.when) { $0.choice("when", $1) }
        fields.read("retry", into: &compensation.retry, defaults.policy)
        fields.read("timeout", into: &compensation.timeout) { $0.duration("timeout", $1) }
        if fields["publish"] != nil {
            for entry in fields.mapping.entries where ["retry", "timeout"].contains(entry.name) {
                report.error(
                    at: entry.namePosition, "'\(entry.name)' has no meaning beside 'publish'",
                    expected: "it beside call")
            }
        }
        return action == nil ? nil : compensation
    }

    private func action(_ fields: Fields) -> Compensation.Action? {
        switch (fields["call"], fields["publish"]) {
        case (let call?, nil): return CallDecoder(site).call(call).map { .call($0) }
        case (nil, let publish?): return site.publication(publish).map { .publish($0) }
        case (_?, let publish?):
            report.error(
                at: publish.position, "a compensation with 'call' and 'publish'", expected: "exactly one of them")
        case (nil, nil):
            if !fields.isMisspelt(["call", "publish"]) {
                report.error(
                    at: fields.mapping.position, "a compensation that does nothing", expected: "call or publish",
                    suggestion: "if there is nothing to undo, write compensate: none")
            }
        }
        return nil
    }
}

extension Node {
    /// `none`, as a word.
    var isNone: Bool {
        if case .scalar(let scalar) = self { scalar.value == "none" } else { false }
    }
}
