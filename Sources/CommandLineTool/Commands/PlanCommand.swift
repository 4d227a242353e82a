import Plans
import Primitives
import Sagas
import WorkflowFiles

extension Command {
    private enum Format: String, CaseIterable {
        case text, mermaid, dot, svg
    }

    static let plan = Command(
        name: "plan", summary: "shows a saga's way forward, and what is undone if a step fails", usage: "FILE",
        details: """
            FILE is a workflow file or a folder. Endpoints and sub-sagas that it refers to are looked for in it and in the
            workflow folder. Nothing is changed, and no database is needed.
            """,
        options: [
            .workflows, .value("format", "text|mermaid|dot|svg", "what to print", fallback: "text"),
            .value("saga", "NAME", "only this one; a picture shows one saga", fallback: "all that FILE declares"),
        ],
        examples: [
            "outrider plan Workflows/orders.yaml",
            "outrider plan Workflows --saga place-order --format svg > place-order.svg",
        ]
    ) { arguments in
        let format = try arguments.choice("format", default: Format.text)
        let file = try arguments.operand("the workflow file")
        let files = await arguments.loadWorkflows([file], known: await arguments.namesAround())
        for diagnostic in files.diagnostics { complain("\(diagnostic)") }
        if files.hasErrors { return 1 }
        let plans = try chosen(files.sagas, in: file, named: arguments["saga"], format).map(SagaPlan.init)
        switch format {
        case .text: print(plans.map(\.text).joined(separator: "\n\n"), terminator: "")
        case .mermaid: for plan in plans { print(plan.mermaid, terminator: "") }
        case .dot: for plan in plans { print(plan.dot, terminator: "") }
        case .svg: for plan in plans { print(plan.svg, terminator: "") }
        }
        return 0
    }

    /// Of a named saga the newest version.
    private static func chosen(
        _ sagas: [SagaDefinition], in file: String, named name: String?, _ format: Format
    ) throws -> [SagaDefinition] {
        let names = Set(sagas.map(\.name)).sorted()
        guard !sagas.isEmpty else { throw CommandFailure("\(file) declares no saga") }
        if let name {
            guard let saga = sagas.filter({ $0.name == name }).max(by: { $0.version < $1.version }) else {
                let hint = closest(to: name, among: names).map { "; did you mean \($0)?" } ?? ""
                throw UsageError(
                    "\(file) declares no saga '\(name)'; expected \(names.joined(separator: " or "))\(hint)")
            }
            return [saga]
        }
        guard format == .text || sagas.count == 1 else {
            let which = names.count == 1 ? "\(sagas.count) versions of \(names[0])" : names.joined(separator: ", ")
            throw UsageError("\(file) declares \(which), and a picture shows one saga: choose it with --saga NAME")
        }
        return sagas
    }
}

extension Arguments {
    /// What the workflow folder declares, for a file in it that refers to its neighbours.
    fileprivate func namesAround() async -> WorkflowFolder.KnownNames {
        let around = await WorkflowFolder.load(paths: workflowFolder)
        return WorkflowFolder.KnownNames(
            endpoints: Set(around.definitions.filter { $0.kind == .endpoint }.map(\.name)),
            sagas: Set(around.sagas.map(\.name)))
    }
}
