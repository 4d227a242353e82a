internal import Primitives

/// A definition with the place where it stands.
struct Declaration {
    let definition: Definition
    let file: String
    let document: Node

    /// Of the name.
    var position: Position { value(at: [definition.kind.rawValue])?.position ?? document.position }

    func value(at path: [String]) -> Node? {
        var node = document
        for name in path {
            guard case .mapping(let mapping) = node, let entry = mapping[name] else { return nil }
            node = entry.value
        }
        return node
    }
}

/// What can only be seen with all files at hand.
enum References {
    /// - Parameter known: what may be referred to beside the declarations: endpoints of the database, and those of documents
    ///   that could not be read to the end.
    static func check(_ declarations: [Declaration], _ known: WorkflowFolder.KnownNames) -> [Diagnostic] {
        duplicates(declarations) + unknownEndpoints(declarations, known)
    }

    private struct Key: Hashable {
        let kind: Definition.Kind
        let name: String
    }

    private static func duplicates(_ declarations: [Declaration]) -> [Diagnostic] {
        var first: [Key: Declaration] = [:]
        return declarations.compactMap { declaration in
            let key = Key(kind: declaration.definition.kind, name: declaration.definition.name)
            guard let other = first[key] else {
                first[key] = declaration
                return nil
            }
            return Diagnostic(
                file: declaration.file, position: declaration.position,
                found: "the \(key.kind.rawValue) '\(key.name)' is declared twice; first at "
                    + "\(other.file):\(other.position.line):\(other.position.column)",
                expected: "each name once")
        }
    }

    private static func unknownEndpoints(
        _ declarations: [Declaration], _ known: WorkflowFolder.KnownNames
    ) -> [Diagnostic] {
        let names = known.endpoints.union(
            declarations.compactMap { if case .endpoint(let endpoint) = $0.definition { endpoint.name } else { nil } })
        return declarations.compactMap { declaration in
            guard case .subscription(let subscription) = declaration.definition,
                case .http(let target) = subscription.target, let name = target.endpoint, !names.contains(name)
            else { return nil }
            return Diagnostic(
                file: declaration.file,
                position: declaration.value(at: ["deliver", "endpoint"])?.position ?? declaration.position,
                found: "the endpoint '\(name)' is declared nowhere",
                expected: "a document 'endpoint: \(name)' in these files",
                suggestion: closest(to: name, among: names).map { "did you mean '\($0)'?" })
        }
    }
}
