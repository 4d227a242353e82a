package import Expressions

/// The declarative configuration: all workflow files below some paths, checked together.
package enum WorkflowFolder {
    /// Names that files may refer to without declaring them, since the database has them.
    package struct KnownNames: Sendable {
        package var endpoints: Set<String>

        package init(endpoints: Set<String> = []) {
            self.endpoints = endpoints
        }
    }

    /// Reads and checks everything; all errors at once, none thrown.
    ///
    /// - Parameters:
    ///   - paths: folders, searched recursively for `*.yaml`, `*.yml` and `*.json` (hidden files and `*.test.yaml` left
    ///     out), or files.
    ///   - evaluator: compiles the expressions that need jq. Without one they are only lexed.
    package static func load(
        paths: [String], known: KnownNames = KnownNames(), evaluator: Evaluator? = nil
    ) async -> CheckedFiles {
        var known = known
        var diagnostics: [Diagnostic] = []
        var declarations: [Declaration] = []
        var expressions: [LocatedExpression] = []
        let files = WorkflowFileFinder.files(below: paths, &diagnostics)
        for file in files {
            let report = Report(file: file)
            switch SourceFile.read(file, limit: NodeReader.sizeLimit) {
            case .success(let bytes):
                for document in NodeReader.documents(of: bytes, report) {
                    if let definition = DocumentDecoder.definition(document, report) {
                        declarations.append(Declaration(definition: definition, file: file, document: document))
                    } else if let endpoint = document.declaredEndpoint {
                        // It is wrong, and it is there: who refers to it need not be told that it is missing.
                        known.endpoints.insert(endpoint)
                    }
                }
            case .failure(let failure): report.error(at: .wholeFile, failure.message)
            }
            diagnostics += report.diagnostics
            expressions += report.expressions.map { LocatedExpression(expression: $0, file: file, position: $1) }
        }
        diagnostics += References.check(declarations, known)
        if let evaluator { diagnostics += await compile(expressions, by: evaluator) }
        return CheckedFiles(
            definitions: declarations.map(\.definition), diagnostics: diagnostics.sorted(), fileCount: files.count)
    }

    private struct LocatedExpression {
        let expression: Expression
        let file: String
        let position: Position
    }

    private static func compile(_ located: [LocatedExpression], by evaluator: Evaluator) async -> [Diagnostic] {
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

extension Node {
    /// The name that a document gives to an endpoint.
    fileprivate var declaredEndpoint: String? {
        guard case .mapping(let mapping) = self, case .scalar(let scalar)? = mapping["endpoint"]?.value else {
            return nil
        }
        return scalar.text
    }
}
