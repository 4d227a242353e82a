internal import Expressions
internal import Primitives
internal import Sagas

// What a step does, apart from what contains other steps.

extension StepDecoder {
    /// - Parameters:
    ///   - node: the value of the action's key.
    ///   - outline: takes up the steps inside.
    func action(_ kind: ActionKind, _ node: Node?, _ site: Site, _ outline: inout StepOutline) -> Action? {
        guard let node else { return nil }
        switch kind {
        case .call: return CallDecoder(site).call(node).map(Action.call)
        case .publish: return site.publication(node).map(Action.publish)
        case .parallel: return parallel(node, &outline).map(Action.parallel)
        case .foreach: return foreach(node, site, &outline).map(Action.foreach)
        case .switch: return choice(node, site, &outline).map(Action.choose)
        case .wait: return wait(node, site).map(Action.wait)
        case .await: return event(node).map(Action.await)
        case .approve: return approve(node, site).map(Action.approve)
        case .run: return run(node, site).map(Action.run)
        case .set: return set(node, site).map(Action.set)
        case .fail: return fail(node, site).map(Action.fail)
        }
    }

    private func wait(_ node: Node, _ site: Site) -> Wait? {
        guard let fields = Fields(node, of: "wait", known: ["for", "until"], report) else { return nil }
        switch (fields["for"], fields["until"]) {
        case (let duration?, nil): return duration.duration("the length of the wait", report).map(Wait.duration)
        case (nil, let time?): return end(time, site).map(Wait.until)
        case (_?, let time?):
            report.error(at: time.position, "a wait with 'for' and 'until'", expected: "exactly one of them")
        case (nil, nil):
            if !fields.isMisspelt(["for", "until"]) {
                report.error(at: node.position, "a wait without an end", expected: "for: 10m, or until: ${ … }")
            }
        }
        return nil
    }

    /// When a wait ends: a time, as a text of jq, or an expression that gives one.
    private func end(_ node: Node, _ site: Site) -> Expression? {
        guard case .scalar(let scalar) = node, let text = scalar.value.string, !text.contains("${"),
            text.first?.isNumber == true
        else { return site.expression(node, "until") }
        guard Timestamp(rfc3339: text) != nil else {
            report.error(
                at: node.position, "\(node.called) stands for until",
                expected: "a time such as 2026-01-31T08:00:00Z, or an expression: ${ … }")
            return nil
        }
        return try? Expression(JSON.string(text).text)
    }

    private func event(_ node: Node) -> Await? {
        guard let fields = Fields(node, of: "await", known: ["event", "timeout", "on_timeout"], report) else {
            return nil
        }
        let name = fields.required("event", expected: "the name of an event").flatMap { $0.eventName(report) }
        var event = Await(event: name ?? "")
        fields.read("timeout", into: &event.timeout) { $0.duration("timeout", $1) }
        fields.read("on_timeout", into: &event.onTimeout) { $0.choice("on_timeout", $1) }
        if fields["timeout"] == nil, let node = fields["on_timeout"], !fields.isMisspelt(["timeout"]) {
            report.error(at: node.position, "'on_timeout' stands without 'timeout'", expected: "both, or neither")
        }
        return name == nil ? nil : event
    }

    private func approve(_ node: Node, _ site: Site) -> Approve? {
        guard let fields = Fields(node, of: "approve", known: ["prompt", "timeout"], report) else { return nil }
        let prompt = fields.required("prompt", expected: "what the person reads").flatMap {
            site.template($0, "prompt")
        }
        var timeout: Duration?
        fields.read("timeout", into: &timeout) { $0.duration("timeout", $1) }
        guard let prompt else { return nil }
        var approve = Approve(prompt: prompt)
        approve.timeout = timeout
        return approve
    }

    private func run(_ node: Node, _ site: Site) -> Run? {
        guard let fields = Fields(node, of: "run", known: ["saga", "input", "key"], report) else { return nil }
        let saga = fields.required("saga", expected: "the name of a saga")?.name("the name of a saga", report)
        var run = Run(saga: saga ?? "", input: .literal(.null))
        fields.read("input", into: &run.input) { node, _ in site.value(node, "input") }
        fields.read("key", into: &run.key) { node, _ in site.template(node, "key") }
        return saga == nil ? nil : run
    }

    private func set(_ node: Node, _ site: Site) -> ValueTemplate? {
        guard case .mapping(let mapping) = node, !mapping.entries.isEmpty else {
            report.error(
                at: node.position, "\(node.isEmptyMapping ? "nothing" : node.called) stands for set",
                expected: "a mapping of names to values: total: ${ … }")
            return nil
        }
        return site.object(mapping, "a value of set")
    }

    private func fail(_ node: Node, _ site: Site) -> Fail? {
        guard let fields = Fields(node, of: "fail", known: ["type", "detail"], report) else { return nil }
        let type = fields.required("type", expected: "a name such as out-of-stock")?.problemType("type", report)
        var fail = Fail(type: type ?? "")
        fields.read("detail", into: &fail.detail) { node, _ in site.template(node, "detail") }
        return type == nil ? nil : fail
    }
}

extension Node {
    fileprivate var isEmptyMapping: Bool {
        if case .mapping(let mapping) = self { mapping.entries.isEmpty } else { false }
    }

    /// `[A-Za-z][A-Za-z0-9_.-]*`, at most 255 bytes.
    fileprivate func eventName(_ report: Report) -> String? {
        guard let text = text("the name of an event", report) else { return nil }
        let isLetter = { (byte: UInt8) in (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }
        let isValid =
            text.utf8.first.map(isLetter) ?? false
            && text.utf8.allSatisfy {
                isLetter($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || "_.-".utf8.contains($0)
            }
        if isValid, text.utf8.count <= Name.lengthLimit { return text }
        report.error(
            at: position, "\(called) stands for the name of an event",
            expected: isValid
                ? "at most \(Name.lengthLimit) characters"
                : "letters, digits, '_', '.' and '-', beginning with a letter")
        return nil
    }

    /// The `type` of a problem (RFC 9457), whole or its last part.
    fileprivate func problemType(_ what: String, _ report: Report) -> String? {
        guard let text = text(what, report) else { return nil }
        let isValid = !text.isEmpty && text.utf8.count <= Name.lengthLimit && text.utf8.allSatisfy { $0 > 0x20 }
        if isValid, text.range(ofText: "${") == nil { return text }
        report.error(
            at: position, "\(called) stands for \(what)", expected: "a name without spaces, such as out-of-stock")
        return nil
    }
}
