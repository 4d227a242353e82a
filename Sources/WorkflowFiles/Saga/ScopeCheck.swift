internal import Expressions
internal import Primitives
internal import Sagas

/// What expressions see: members that are there, and steps that have ended by then. Paths are judged as far as they are
/// certain; what only shows at run time fails there.
struct ScopeCheck {
    let map: StepMap
    let report: Report

    private static let outputs = ["output", "error"]
    private static let sagaMembers = ["id", "name", "version", "key", "started_at"]
    /// What is seen only in some places.
    private static let special: [String: String] = [
        "output": "only 'compensate' and 'output' of a step see it", "input_sent": "only 'compensate' sees it",
        "failure": "only 'compensate' and the hooks on_… see it", "steps": "a key is made of the input alone",
        "saga": "a key is made of the input alone",
    ]

    func check(_ steps: [StepOutline], outside: [Site.Use]) {
        check(steps, block: 0, below: [], loops: [])
        for use in outside { check(use, of: nil, loops: []) }
    }

    private func check(_ steps: [StepOutline], block: Int, below parent: StepMap.Path, loops: [String]) {
        for (index, step) in steps.enumerated() {
            let path = parent + [StepMap.Hop(block: block, index: index, id: step.id, kind: step.kind)]
            for use in step.uses { check(use, of: path, loops: loops) }
            let inner = loops + [step.loopVariable?.name].compactMap(\.self)
            for (number, block) in step.blocks.enumerated() {
                check(block.steps, block: number, below: path, loops: inner)
            }
        }
    }

    private func check(_ use: Site.Use, of user: StepMap.Path?, loops: [String]) {
        let roots = use.part.roots + loops
        let errors = report.diagnostics.count
        // Several paths can begin alike: `.steps.a | [.output, .error]`.
        var told: Set<PathMember> = []
        for path in use.located.expression.inputPaths {
            // Whoever has so many errors in one expression is not served by more of them.
            if report.diagnostics.count - errors >= 20 { return }
            guard roots.contains(path[0].name) else {
                if told.insert(path[0]).inserted { refuse(path[0], use, roots) }
                continue
            }
            switch path[0].name {
            case "steps" where path.count > 1: checkStep(path, use, of: user, &told)
            case "saga" where path.count > 1: if told.insert(path[1]).inserted { checkSaga(path[1], use) }
            default: break
            }
        }
        if use.part == .key { checkKey(use) }
    }

    private func checkSaga(_ member: PathMember, _ use: Site.Use) {
        guard !Self.sagaMembers.contains(member.name) else { return }
        report.error(
            at: use.position(of: member), "the saga has no '.\(member.name)' for expressions",
            expected: "one of \(Self.sagaMembers.map { ".saga.\($0)" }.joined(separator: ", "))",
            suggestion: closest(to: member.name, among: Self.sagaMembers).map { "did you mean '.saga.\($0)'?" })
    }

    /// A variable is the same for every start, and no business key.
    private func checkKey(_ use: Site.Use) {
        let expression = use.located.expression
        guard let path = expression.path, path.root == .environment || path.segments.isEmpty else { return }
        report.error(
            at: use.located.position, "\(expression) stands in key", expected: "paths into .input only")
    }

    private func refuse(_ member: PathMember, _ use: Site.Use, _ roots: [String]) {
        let name = member.name
        let seen = roots.map { ".\($0)" }.joined(separator: ", ")
        report.error(
            at: use.position(of: member), "\(use.part.called) sees no '.\(name)'",
            expected: roots.count == 1 ? seen : "one of \(seen)",
            suggestion: (use.part == .schedule ? nil : Self.special[name]) ?? meant(by: name, use.part, roots))
    }

    private func meant(by name: String, _ part: Site.Part, _ roots: [String]) -> String? {
        if part == .schedule { return closest(to: name, among: roots).map { "did you mean '.\($0)'?" } }
        if map.paths[name] != nil, part != .key { return "write .steps.\(name).output" }
        if let meant = closest(to: name, among: roots) { return "did you mean '.\(meant)'?" }
        return "write .input.\(name)"
    }

    // MARK: - Steps

    private func checkStep(
        _ path: [PathMember], _ use: Site.Use, of user: StepMap.Path?, _ told: inout Set<PathMember>
    ) {
        let id = path[1].name
        let relation = map.paths[id].map { StepMap.relation(of: $0, to: user) }
        let problem = relation.flatMap { self.problem($0, id, use, of: user) }
        guard relation != nil, problem == nil else {
            guard told.insert(path[1]).inserted else { return }
            guard let problem else { return unknownStep(path[1], use) }
            report.error(
                at: use.position(of: path[1]), problem.found, expected: problem.expected,
                suggestion: problem.suggestion)
            return
        }
        guard path.count > 2, !Self.outputs.contains(path[2].name), told.insert(path[2]).inserted else { return }
        report.error(
            at: use.position(of: path[2]), "a step has no '.\(path[2].name)' for expressions",
            expected: ".steps.\(id).output or .steps.\(id).error",
            suggestion: closest(to: path[2].name, among: Self.outputs).map { "did you mean '.steps.\(id).\($0)'?" }
                ?? "write .steps.\(id).output.\(path[2].name)")
    }

    private func unknownStep(_ member: PathMember, _ use: Site.Use) {
        let id = member.name
        var suggestion = report.closest(to: id, among: map.paths.keys).map { "did you mean '.steps.\($0)'?" }
        if let owner = map.branchOwners[id] ?? nil {
            suggestion = "'\(id)' is a branch: write .steps.\(owner).output.\(id)"
        }
        report.error(
            at: use.position(of: member), "there is no step '\(id)'", expected: "the id of a step",
            suggestion: suggestion)
    }

    private func problem(
        _ relation: StepMap.Relation, _ id: String, _ use: Site.Use, of user: StepMap.Path?
    ) -> (found: String, expected: String, suggestion: String?)? {
        let seesOutput = use.part == .output || use.part == .compensation
        let before = "a step that has ended before"
        switch relation {
        case .ended: return nil
        case .inside(loop: nil) where use.part == .output: return nil
        case .inside(let loop?) where use.part == .output:
            return inLoop(loop.id, id, write: loop.id == user?.last?.id ? ".output" : nil)
        case .itself: return ("the step '\(id)' reads itself", before, seesOutput ? "write .output" : nil)
        case .inside: return ("the step '\(id)' is inside this one and has not ended", before, nil)
        case .around: return ("the step '\(id)' is around this one and has not ended", before, nil)
        case .later: return ("the step '\(id)' comes later", before, nil)
        case .otherBranch(let owner):
            return (
                "the step '\(id)' is in another branch\(of(owner)) and may not have ended",
                "a step of this branch, or one before all branches", nil
            )
        case .otherCase(let owner):
            return (
                "the step '\(id)' is in another case\(of(owner)), of which only one runs", "a step of this case", nil
            )
        case .inLoop(let loop): return inLoop(loop, id, write: nil)
        }
    }

    private func inLoop(
        _ loop: String?, _ id: String, write: String?
    ) -> (found: String, expected: String, suggestion: String?) {
        (
            "the step '\(id)' is inside the foreach\(loop.map { " '\($0)'" } ?? ""), which runs it once for each item",
            "the array of all outputs", (write ?? loop.map { ".steps.\($0).output" }).map { "write \($0)" }
        )
    }

    private func of(_ owner: String?) -> String { owner.map { " of '\($0)'" } ?? "" }
}

extension Site.Use {
    /// Where the file has a member of one of its paths.
    fileprivate func position(of member: PathMember) -> Position { located.position(ofByte: member.offset) }
}

extension Site.Part {
    /// What is seen, beside the items of the loops around.
    fileprivate var roots: [String] {
        switch self {
        case .key: ["input"]
        case .forward, .result: ["input", "steps", "saga"]
        case .output: ["input", "steps", "saga", "output"]
        case .compensation: ["input", "steps", "saga", "output", "input_sent", "failure"]
        case .hook: ["input", "steps", "saga", "failure"]
        case .schedule: ["scheduled_at"]
        }
    }

    fileprivate var called: String {
        switch self {
        case .key: "the key of a saga"
        case .forward: "a step"
        case .output: "the output of a step"
        case .compensation: "a compensation"
        case .result: "the output of a saga"
        case .hook: "a hook"
        case .schedule: "a schedule"
        }
    }
}
