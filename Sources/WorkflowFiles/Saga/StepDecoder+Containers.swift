internal import Expressions
internal import Primitives
internal import Sagas

// Steps that contain other steps.

extension StepDecoder {
    // MARK: - Parallel

    func parallel(_ node: Node, _ outline: inout StepOutline) -> Parallel? {
        guard let fields = Fields(node, of: "parallel", known: ["branches", "on_error"], report) else { return nil }
        var onError = Parallel.OnError.abort
        fields.read("on_error", into: &onError) { $0.choice("on_error", $1) }
        guard let list = fields.required("branches", expected: "[ { id: …, steps: […] } ]"),
            let nodes = list.list("branches", report)
        else { return nil }
        guard !nodes.isEmpty else {
            report.error(at: list.position, "branches is empty", expected: "at least one branch")
            return nil
        }
        let branches = nodes.map { branch($0, &outline) }
        guard !branches.contains(where: { $0 == nil }) else { return nil }
        var parallel = Parallel(branches: branches.compactMap(\.self))
        parallel.onError = onError
        return parallel
    }

    private func branch(_ node: Node, _ outline: inout StepOutline) -> Parallel.Branch? {
        guard let fields = Fields(node, of: "a branch", known: ["id", "steps"], report) else { return nil }
        let idNode = fields.required("id", expected: "a name such as warehouse")
        let id = idNode?.stepName("the id of a branch", report)
        let sequence = fields.required("steps", expected: "[ … ]").flatMap { self.sequence($0) }
        outline.blocks.append(
            StepOutline.Block(id: id, idPosition: idNode?.position, runs: true, steps: sequence?.outlines ?? []))
        guard let id, let steps = sequence?.steps else { return nil }
        return Parallel.Branch(id: id, steps: steps)
    }

    // MARK: - Foreach

    func foreach(_ node: Node, _ site: Site, _ outline: inout StepOutline) -> Foreach? {
        guard let fields = Fields(node, of: "foreach", known: ["in", "as", "limit", "steps"], report) else {
            return nil
        }
        let items = fields.required("in", expected: "${ … } that gives an array").flatMap { site.expression($0, "in") }
        let nameNode = fields.required("as", expected: "a name for the item")
        let name = nameNode?.stepName("the name of an item", report)
        var limit = 1
        fields.read("limit", into: &limit) { $0.integer("limit", in: 1...Foreach.mostItems, $1) }
        let sequence = fields.required("steps", expected: "[ … ]").flatMap { self.sequence($0) }
        if let name, let nameNode { outline.loopVariable = (name, nameNode.position) }
        outline.blocks = [StepOutline.Block(steps: sequence?.outlines ?? [])]
        guard let items, let name, let steps = sequence?.steps else { return nil }
        var foreach = Foreach(items: items, name: name, steps: steps)
        foreach.limit = limit
        return foreach
    }

    // MARK: - Switch

    func choice(_ node: Node, _ site: Site, _ outline: inout StepOutline) -> Switch? {
        guard let nodes = node.list("switch", report) else { return nil }
        guard !nodes.isEmpty else {
            report.error(at: node.position, "switch is empty", expected: "at least one case: when: ${ … }, steps: […]")
            return nil
        }
        // The case that is always taken, and its line.
        var last: (name: String, line: Int)?
        var cases: [Switch.Case?] = []
        for node in nodes {
            guard let fields = Fields(node, of: "a case", known: ["when", "otherwise", "steps"], report) else {
                cases.append(nil)
                continue
            }
            if let last {
                report.error(
                    at: fields.mapping.position,
                    "a case behind '\(last.name)' at line \(last.line), which is never reached",
                    expected: last.name == "otherwise" ? "'otherwise' once, as the last case" : "it as the last case")
            }
            cases.append(aCase(fields, site, &outline))
            if last == nil {
                if let entry = fields.mapping["otherwise"] {
                    last = ("otherwise", entry.namePosition.line)
                } else if outline.blocks.last?.runs == true, let entry = fields.mapping["when"] {
                    last = ("when: ${ true }", entry.namePosition.line)
                }
            }
        }
        guard !cases.contains(where: { $0 == nil }) else { return nil }
        return Switch(cases: cases.compactMap(\.self))
    }

    private func aCase(_ fields: Fields, _ site: Site, _ outline: inout StepOutline) -> Switch.Case? {
        let when = fields["when"].map { site.expression($0, "when") }
        let list: Node?
        switch (fields["when"], fields.mapping["otherwise"]) {
        case (_?, let otherwise?):
            report.error(
                at: otherwise.namePosition, "a case with 'when' and 'otherwise'", expected: "exactly one of them")
            list = fields["steps"]
        case (nil, nil):
            if !fields.isMisspelt(["when", "otherwise"]) {
                report.error(
                    at: fields.mapping.position, "a case without a condition", expected: "when: ${ … }, or otherwise")
            }
            list = fields["steps"]
        case (_?, nil): list = fields.required("steps", expected: "[ … ]")
        case (nil, let otherwise?): list = stepsOtherwise(otherwise, fields)
        }
        let sequence = list.flatMap { self.sequence($0) }
        let runs = when.map { $0?.constantCondition } ?? (fields.mapping["otherwise"] == nil ? nil : true)
        outline.blocks.append(StepOutline.Block(runs: runs, steps: sequence?.outlines ?? []))
        if runs == false, let node = fields["when"] {
            report.error(
                at: node.position, "\(node.called) stands for when: this case never runs",
                expected: "a condition that can be true")
        }
        guard let steps = sequence?.steps else { return nil }
        guard let when else { return Switch.Case(condition: nil, steps: steps) }
        return when.map { Switch.Case(condition: $0, steps: steps) }
    }

    /// `otherwise: [ … ]`, `otherwise: { steps: [ … ] }`, or `otherwise:` with nothing or true, and `steps:` beside it.
    private func stepsOtherwise(_ otherwise: Node.Entry, _ fields: Fields) -> Node? {
        if case .scalar(let scalar) = otherwise.value {
            if scalar.value == .null || scalar.value == true { return fields.required("steps", expected: "[ … ]") }
            report.error(
                at: otherwise.value.position, "\(otherwise.value.called) stands for otherwise",
                expected: "a list of steps")
            return nil
        }
        if let steps = fields.mapping["steps"] {
            report.error(
                at: steps.namePosition, "'steps' beside an 'otherwise' that has steps", expected: "one of them")
        }
        guard case .mapping = otherwise.value else { return otherwise.value }
        return Fields(otherwise.value, of: "otherwise", known: ["steps"], report)?.required("steps", expected: "[ … ]")
    }
}
