package import Expressions

/// The declarative configuration: all workflow files below some paths, checked together.
package enum WorkflowFolder {
    /// Names that files may refer to without declaring them, since the database has them.
    package struct KnownNames: Sendable {
        package var endpoints: Set<String>
        package var sagas: Set<String>

        package init(endpoints: Set<String> = [], sagas: Set<String> = []) {
            self.endpoints = endpoints
            self.sagas = sagas
        }
    }

    /// Reads and checks everything; all errors at once, none thrown.
    ///
    /// - Parameters:
    ///   - paths: folders, searched recursively for `*.yaml`, `*.yml` and `*.json` (hidden files and `*.test.yaml` left
    ///     out), or files. A JSON file that a saga names as its schema is no workflow file.
    ///   - evaluator: compiles the expressions that need jq. Without one they are only lexed.
    package static func load(
        paths: [String], known: KnownNames = KnownNames(), evaluator: Evaluator? = nil
    ) async -> CheckedFiles {
        var diagnostics: [Diagnostic] = []
        var files = WorkflowFileFinder.files(below: paths, &diagnostics).map(ReadFile.init)
        let schemas = Set(files.flatMap(\.report.schemaFiles).compactMap(SourceFile.identity))
        if !schemas.isEmpty {
            files.removeAll { SourceFile.identity($0.report.file).map(schemas.contains) ?? false }
        }
        var known = known
        for file in files {
            known.endpoints.formUnion(file.wrongEndpoints)
            known.sagas.formUnion(file.wrongSagas)
        }
        let reports = files.map(\.report)
        let declarations = files.flatMap(\.declarations)
        diagnostics += reports.flatMap(\.diagnostics)
        diagnostics += References(declarations, known).check(reports.flatMap(\.references))
        if let evaluator {
            let expressions = reports.flatMap { report in
                report.expressions.map {
                    ExpressionInFile(expression: $0, file: report.file, position: $1)
                }
            }
            diagnostics += await compile(expressions, by: evaluator)
        }
        return CheckedFiles(
            definitions: declarations.map(\.definition), diagnostics: diagnostics.sorted(), fileCount: files.count)
    }

    private struct ExpressionInFile {
        let expression: Expression
        let file: String
        let position: Position
    }

    private static func compile(_ located: [ExpressionInFile], by evaluator: Evaluator) async -> [Diagnostic] {
        let errors = await evaluator.check(located.map(\.expression))
        return zip(located, errors).compactMap { located, error in
            error.map {
                Diagnostic(
                    file: located.file, position: located.position,
                    found: "the expression '\(located.expression.source)' is not valid jq: \($0)")
            }
        }
    }
}

/// A file that was read, with what it declares.
private struct ReadFile {
    let report: Report
    private(set) var declarations: [Declaration] = []
    /// Names of documents that are wrong. They are there: who refers to them need not be told that they are missing.
    private(set) var wrongEndpoints: [String] = []
    private(set) var wrongSagas: [String] = []

    init(_ path: String) {
        report = Report(file: path)
        let expected = "a document with saga, subscription, topic, endpoint or schedule"
        for document in NodeReader.documents(ofFile: path, expected: expected, report) { add(document) }
    }

    private mutating func add(_ document: Node) {
        if let definition = DocumentDecoder.definition(document, report) {
            let name = document.text(of: definition.kind.rawValue)
            declarations.append(
                Declaration(
                    definition: definition, file: report.file, position: name?.position ?? document.position))
        } else {
            if let endpoint = document.text(of: "endpoint") { wrongEndpoints.append(endpoint.text) }
            if let saga = document.text(of: "saga") { wrongSagas.append(saga.text) }
        }
    }
}

extension Node {
    /// The name that a document gives to what it declares.
    fileprivate func text(of kind: String) -> Scalar? {
        guard case .mapping(let mapping) = self, case .scalar(let scalar)? = mapping[kind]?.value else { return nil }
        return scalar
    }
}
