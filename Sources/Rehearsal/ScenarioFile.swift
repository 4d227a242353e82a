package import Sagas
package import WorkflowFiles

/// A file of scenarios, read and checked.
package struct ScenarioFile: Sendable {
    package var path: String
    package var scenarios: [Scenario] = []
    /// With an error none of its scenarios is played.
    package var diagnostics: [Diagnostic] = []

    package var hasErrors: Bool { diagnostics.contains { $0.severity == .error } }

    /// - Parameter sagas: the definitions that it may speak of.
    package static func load(_ path: String, sagas: [SagaDefinition]) -> ScenarioFile {
        let report = Report(file: path)
        let documents = NodeReader.documents(
            ofFile: path, expected: "a document with saga and scenarios", report)
        var file = ScenarioFile(path: path)
        file.scenarios = documents.flatMap { ScenarioDecoder.scenarios($0, of: sagas, report) }
        file.diagnostics = report.diagnostics.sorted()
        return file
    }
}
