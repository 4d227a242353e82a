internal import Primitives
internal import Sagas

/// The `schema:` of a saga's input: written there, or in a file beside the workflow file.
struct InputSchema {
    let schema: JSONSchema?
    /// The schema itself, whatever file it came from.
    let content: JSON

    /// Nil, and reported, when there is no JSON to speak of.
    init?(_ node: Node, _ report: Report) {
        switch node {
        case .mapping:
            schema = SchemaDecoder(file: nil, report: report).schema(node, at: "")
            content = node.content
        case .scalar(let scalar) where scalar.value.string != nil:
            guard let json = Self.read(scalar.text, at: node.position, report) else { return nil }
            let node = Node(json, at: node.position)
            node.checkStorable(report)
            schema = SchemaDecoder(file: scalar.text, report: report).schema(node, at: "")
            content = node.content
        case .scalar, .sequence:
            report.error(
                at: node.position, "\(node.called) stands for schema",
                expected: "the path of a JSON file, or a JSON Schema itself")
            return nil
        }
    }

    private static func read(_ path: String, at position: Position, _ report: Report) -> JSON? {
        guard !path.hasPrefix("/"), !path.isEmpty, !path.utf8.contains(0), !report.file.isEmpty else {
            report.error(
                at: position, "'\(path)' stands for the path of a schema",
                expected: "a path from the folder of the workflow file")
            return nil
        }
        let folder = report.file.lastIndex(of: "/").map { String(report.file[...$0]) } ?? ""
        let file = folder + path
        switch SourceFile.read(file, limit: NodeReader.sizeLimit) {
        case .failure(let failure):
            report.error(
                at: position, "the schema file '\(path)' \(failure.message)",
                expected: "a JSON file, its path from the folder of the workflow file")
            return nil
        case .success(let bytes):
            do throws(JSONError) {
                let json = try JSON(parsing: bytes)
                // A workflow file is read as one, whoever takes it for a schema.
                let kinds = Definition.Kind.allCases.map(\.rawValue)
                if !kinds.contains(where: { json[$0] != nil }) { report.schemaFiles.append(file) }
                return json
            } catch {
                let isItself = SourceFile.identity(file) == SourceFile.identity(report.file)
                if path.hasSuffix(".json"), !isItself { report.schemaFiles.append(file) }
                let place = Position(ofByte: error.offset, in: bytes)
                report.error(
                    at: position,
                    "the schema file '\(path)' is not JSON: \(error.message) at line \(place.line), column \(place.column)"
                )
                return nil
            }
        }
    }
}
