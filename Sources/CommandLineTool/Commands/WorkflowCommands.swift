import Expressions
import Glibc
import Primitives
import Store
import Telemetry
import WorkflowFiles

extension Option {
    static let workflows = value(
        "workflows", "FOLDER", "the workflow files", environment: ["OUTRIDER_WORKFLOWS"],
        fallback: "Workflows, if there is one")
}

extension Arguments {
    /// The folders and files that are meant: operands, else the setting, else `Workflows`.
    var workflowPaths: [String] {
        operands.isEmpty ? workflowFolder : operands
    }

    /// The one of the setting, else `Workflows`; none if that does not exist.
    var workflowFolder: [String] {
        if let folder = self["workflows"] { return [folder] }
        return access("Workflows", F_OK) == 0 ? ["Workflows"] : []
    }

    /// Reads and checks; every expression is compiled in a process of its own.
    func loadWorkflows(_ paths: [String], known: WorkflowFolder.KnownNames = WorkflowFolder.KnownNames()) async
        -> CheckedFiles
    {
        let evaluator = Evaluator(executable: "/proc/self/exe")
        let files = await WorkflowFolder.load(paths: paths, known: known, evaluator: evaluator)
        evaluator.close()
        return files
    }
}

/// For standard error, where it cannot be mixed up with a result.
func complain(_ text: String) {
    writeToStandardError(Array((text + "\n").utf8))
}

extension Command {
    static let check = Command(
        name: "check", summary: "checks workflow files, all errors at once", usage: "[PATH…]",
        details: "Folders are searched for *.yaml, *.yml and *.json. Nothing is changed, and no database is needed.",
        options: [.workflows, .format],
        examples: ["outrider check", "outrider check Workflows/orders.yaml --format json"]
    ) { arguments in
        let format = try arguments.choice("format", default: OutputFormat.text)
        let paths = arguments.workflowPaths
        guard !paths.isEmpty else {
            throw UsageError("nothing to check: name a folder or a file, or make a folder Workflows")
        }
        let files = await arguments.loadWorkflows(paths)
        switch format {
        case .json:
            print(
                ([
                    "files": JSON(files.fileCount), "definitions": JSON(files.definitions.count),
                    "diagnostics": .array(files.diagnostics.map(\.json)),
                ] as JSON).text)
        case .text:
            for diagnostic in files.diagnostics { print(diagnostic) }
            print(summary(of: files))
        }
        return files.hasErrors ? 1 : 0
    }

    private static func summary(of files: CheckedFiles) -> String {
        func plural(_ count: Int, _ word: String) -> String { "\(count) \(word)\(count == 1 ? "" : "s")" }
        let errors = files.diagnostics.count { $0.severity == .error }
        let warnings = files.diagnostics.count - errors
        let problems = [errors > 0 ? plural(errors, "error") : nil, warnings > 0 ? plural(warnings, "warning") : nil]
            .compactMap(\.self).joined(separator: ", ")
        return "\(plural(files.fileCount, "file")), \(plural(files.definitions.count, "definition")): "
            + (problems.isEmpty ? "no problems" : problems)
    }

    static let apply = Command(
        name: "apply", summary: "publishes workflow files into the database", usage: "[PATH…]",
        details: """
            All or nothing: with any error nothing is applied. Nothing is removed without --prune; what a pruned
            subscription had still to deliver becomes dead letters.
            """,
        options: Option.database + [.workflows, .flag("prune", "remove what the files do not declare"), .format],
        examples: ["outrider apply", "outrider apply Workflows --prune"]
    ) { arguments in
        let format = try arguments.choice("format", default: OutputFormat.text)
        let paths = arguments.workflowPaths
        guard !paths.isEmpty else {
            throw UsageError("nothing to apply: name a folder or a file, or make a folder Workflows")
        }
        let prunes = arguments.has("prune")
        let known = try await arguments.withDatabase { try DefinitionStore($0).knownNames() }
        // What is about to be removed cannot be referred to.
        let files = await arguments.loadWorkflows(paths, known: prunes ? WorkflowFolder.KnownNames() : known)
        for diagnostic in files.diagnostics { complain("\(diagnostic)") }
        guard !files.hasErrors else {
            complain(summary(of: files) + "; nothing was applied")
            return 1
        }
        let definitions = files.definitions
        guard !prunes || !definitions.isEmpty else {
            throw CommandFailure(
                "no workflow file was found, and --prune would remove everything; nothing was applied; name the right folder"
            )
        }
        let applied = try await arguments.withDatabase {
            try DefinitionStore($0).apply(definitions, by: "apply", restores: true, prunes: prunes)
        }
        let rows = applied.map { change -> JSON in
            [
                "kind": JSON(change.kind), "name": JSON(change.name), "change": JSON(change.change.rawValue),
                "dead_letters": JSON(change.buried),
            ]
        }
        let hasBuried = applied.contains { $0.buried > 0 }
        let listing = Listing(
            rows: rows, empty: "the files declare nothing",
            columns: ["kind", "name", "change"] + (hasBuried ? ["dead_letters"] : []))
        print(listing.text(format), terminator: "")
        return 0
    }
}
