import EmbeddedPostgres
import Expressions
import Glibc
import Primitives
import Rehearsal
import Sagas
import WorkflowFiles

private enum ReportFormat: String, CaseIterable {
    case text, json, junit
}

extension Command {
    static let test = Command(
        name: "test", summary: "plays scenarios of sagas: handlers mocked, time virtual, no database",
        usage: "[PATH…]",
        details: """
            Scenarios stand in *.test.yaml beside the workflow files. A PATH is a folder or one such file. The sagas
            are those of --workflows, else of the folder Workflows when the PATH lies in it, else of the PATH's folder.
            """,
        options: [
            .workflows, .value("format", "text|json|junit", "how to report", fallback: "text"),
            .value("output", "FILE", "writes the report to a file, and prints the text"),
        ],
        examples: [
            "outrider test", "outrider test Workflows/place-order.test.yaml",
            "outrider test --format junit --output report.xml",
        ]
    ) { arguments in
        let format = try arguments.choice("format", default: ReportFormat.text)
        let paths = arguments.workflowPaths
        guard !paths.isEmpty else {
            throw UsageError("nothing to test: name a folder or a *.test.yaml, or make a folder Workflows")
        }
        for path in paths where isFile(path) && !WorkflowFileFinder.Kind.scenarios.includes(path) {
            throw UsageError("'\(path)' is no file of scenarios; expected a folder, or a file *.test.yaml")
        }
        let report = try await arguments.play(paths)
        let text =
            switch format {
            case .text: report.text
            case .json: report.json.text + "\n"
            case .junit: report.junit
            }
        if let output = arguments["output"] {
            guard Files.write(text, to: output) else {
                throw CommandFailure("the report cannot be written to \(output): \(String(cString: strerror(errno)))")
            }
            print(report.text, terminator: "")
        } else {
            print(text, terminator: "")
        }
        return report.hasPassed ? 0 : 1
    }
}

extension Arguments {
    fileprivate func play(_ paths: [String]) async throws(CommandFailure) -> TestReport {
        let workflows = await loadWorkflows(workflowRoots(of: paths))
        guard !workflows.hasErrors else {
            return TestReport(errors: workflows.diagnostics.filter { $0.severity == .error })
        }
        var diagnostics: [Diagnostic] = []
        let files = WorkflowFileFinder.files(.scenarios, below: paths, &diagnostics)
        guard diagnostics.isEmpty else { return TestReport(errors: diagnostics) }
        guard !files.isEmpty else {
            throw CommandFailure(
                "no scenarios were found in \(paths.joined(separator: ", ")); expected files *.test.yaml")
        }
        let sagas = workflows.definitions.compactMap { if case .saga(let saga) = $0 { saga } else { nil } }
        return await TestReport.play(files.map { ScenarioFile.load($0, sagas: sagas) }) { environment in
            Evaluator(executable: "/proc/self/exe", environment: environment)
        }
    }

    /// The folders with the sagas that the scenarios speak of.
    private func workflowRoots(of paths: [String]) -> [String] {
        if let folder = self["workflows"] { return [folder] }
        var roots: [String] = []
        for path in paths {
            let root =
                contains("Workflows", path) ? "Workflows" : isFile(path) ? folder(of: path) : path
            if !roots.contains(root) { roots.append(root) }
        }
        return roots
    }

    private func contains(_ folder: String, _ path: String) -> Bool {
        guard let folder = absolute(folder), let path = absolute(path) else { return false }
        return path == folder || path.hasPrefix(folder + "/")
    }

    private func absolute(_ path: String) -> String? {
        guard let absolute = realpath(path, nil) else { return nil }
        defer { free(absolute) }
        return String(cString: absolute)
    }

    private func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }
}

private func isFile(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFDIR
}
