internal import Primitives
internal import Sagas

/// Reads the subset of JSON Schema that `JSONSchema` has. A keyword that it does not have is an error: a rule that is
/// silently not checked is worse than none.
struct SchemaDecoder {
    /// As the workflow file names it; nil for a schema in the workflow file.
    let file: String?
    let report: Report

    private static let known = [
        "type", "enum", "const", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
        "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "title", "description",
        "default", "examples", "$schema", "$id", "$comment",
    ]
    /// The other keywords of draft 2020-12 that are in use.
    private static let later = [
        "$ref", "$defs", "$anchor", "$dynamicRef", "definitions", "allOf", "anyOf", "oneOf", "not", "if", "then",
        "else",
        "pattern", "format", "multipleOf", "uniqueItems", "prefixItems", "contains", "minContains", "maxContains",
        "patternProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired",
        "dependentSchemas", "unevaluatedItems", "unevaluatedProperties", "contentEncoding", "contentMediaType",
    ]

    /// - Parameter pointer: where the schema stands in the whole one (RFC 6901).
    func schema(_ node: Node, at pointer: String) -> JSONSchema? {
        if case .scalar(let scalar) = node, let bool = scalar.value.bool { return .bool(bool) }
        let place = place(pointer)
        guard let fields = Fields(node, of: "the schema\(place)", known: Self.known, later: Self.later, report) else {
            return nil
        }
        checkNames(fields.mapping, place)
        var rules = JSONSchema.Rules()
        fields.read("type", into: &rules.types) { node, _ in types(node, place) }
        fields.read("enum", into: &rules.values) { node, _ in node.list("enum\(place)", report)?.map(\.content) }
        if let value = fields["const"]?.content {
            rules.values = rules.values.map { $0.filter { $0.isEqualAsJSON(to: value) } } ?? [value]
        }
        fields.read("properties", into: &rules.properties) { node, _ in properties(node, at: pointer) }
        fields.read("required", into: &rules.required) { node, _ in required(node, place) }
        fields.read("additionalProperties", into: &rules.additional) { node, _ in
            schema(node, at: pointer + "/additionalProperties")
        }
        fields.read("items", into: &rules.items) { node, _ in schema(node, at: pointer + "/items") }
        readLimits(fields, place, into: &rules)
        return .rules(rules)
    }

    private func readLimits(_ fields: Fields, _ place: String, into rules: inout JSONSchema.Rules) {
        func count(_ key: String, _ value: inout Int?) {
            fields.read(key, into: &value) { $0.integer("\(key)\(place)", in: 0...Int(Int32.max), $1) }
        }
        func limit(_ key: String, _ value: inout JSONNumber?) {
            fields.read(key, into: &value) { node, _ in number(node, "\(key)\(place)") }
        }
        count("minItems", &rules.minItems)
        count("maxItems", &rules.maxItems)
        count("minLength", &rules.minLength)
        count("maxLength", &rules.maxLength)
        limit("minimum", &rules.minimum)
        limit("maximum", &rules.maximum)
        limit("exclusiveMinimum", &rules.exclusiveMinimum)
        limit("exclusiveMaximum", &rules.exclusiveMaximum)
    }

    private func place(_ pointer: String) -> String {
        (pointer.isEmpty ? "" : " at \(pointer)") + (file.map { " of '\($0)'" } ?? "")
    }

    /// JSON allows a name to stand twice and says nothing of what it then means.
    private func checkNames(_ mapping: Node.Mapping, _ place: String) {
        var seen: Set<String> = []
        for entry in mapping.entries where !seen.insert(entry.name).inserted {
            report.error(
                at: entry.namePosition, "the key '\(entry.name)' stands twice in the schema\(place)",
                expected: "each key once")
        }
    }

    private func types(_ node: Node, _ place: String) -> [JSONSchema.Kind]? {
        guard case .sequence(let nodes, _) = node else {
            let kind: JSONSchema.Kind? = node.choice("type\(place)", report)
            return kind.map { [$0] }
        }
        return nodes.compactMap { $0.choice("type\(place)", report) }
    }

    private func properties(_ node: Node, at pointer: String) -> [JSONSchema.ValueRule]? {
        guard case .mapping(let mapping) = node else {
            report.error(
                at: node.position, "\(node.called) stands for properties\(place(pointer))",
                expected: "a mapping of names to schemas")
            return nil
        }
        checkNames(mapping, place(pointer + "/properties"))
        return mapping.entries.compactMap { entry in
            let token = entry.name.replacing("~", with: "~0").replacing("/", with: "~1")
            return schema(entry.value, at: "\(pointer)/properties/\(token)").map {
                JSONSchema.ValueRule(name: entry.name, schema: $0)
            }
        }
        .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    private func required(_ node: Node, _ place: String) -> [String]? {
        node.list("required\(place)", report)?.compactMap { $0.text("a name in required\(place)", report) }
    }

    private func number(_ node: Node, _ what: String) -> JSONNumber? {
        if case .scalar(let scalar) = node, case .number(let number) = scalar.value { return number }
        report.error(at: node.position, "\(node.called) stands for \(what)", expected: "a number")
        return nil
    }
}
