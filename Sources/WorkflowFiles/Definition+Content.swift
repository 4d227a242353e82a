package import Primitives

extension Definition {
    /// Reads what `content` once gave, through the same checker as a file: it may have been applied by another version.
    package init(content: JSON) throws(DefinitionError) {
        let report = Report(file: "")
        let definition = DocumentDecoder.definition(Node(content), report)
        let errors = report.diagnostics.filter { $0.severity == .error }
        guard let definition, errors.isEmpty else {
            throw DefinitionError(messages: errors.map(\.message))
        }
        self = definition
    }
}
