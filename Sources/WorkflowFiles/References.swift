internal import Primitives
internal import Sagas

/// A definition with the place where it stands.
struct Declaration {
    let definition: Definition
    let file: String
    /// Of the name.
    let position: Position
}

/// The name of another document, where it stands.
struct Reference {
    enum Target {
        case endpoint(String)
        /// What a schedule starts.
        case saga(String)
        case run(SubSaga)
    }

    let target: Target
    let file: String
    let position: Position
}

/// What can only be seen with all files at hand.
struct References {
    private let declarations: [Declaration]
    private let endpoints: Set<String>
    private let sagas: Set<String>

    /// - Parameter known: what may be referred to beside the declarations: names of the database, and those of documents
    ///   that could not be read to the end.
    init(_ declarations: [Declaration], _ known: WorkflowFolder.KnownNames) {
        self.declarations = declarations
        func names(_ kind: Definition.Kind) -> [String] {
            declarations.map(\.definition).filter { $0.kind == kind }.map(\.name)
        }
        endpoints = known.endpoints.union(names(.endpoint))
        sagas = known.sagas.union(names(.saga))
    }

    func check(_ references: [Reference]) -> [Diagnostic] {
        duplicates() + references.compactMap(unknown) + SubSagaCheck(declarations, references).check()
    }

    // MARK: - Duplicates

    private struct Key: Hashable {
        let kind: Definition.Kind
        let name: String
        /// Sagas of one name stand beside each other in several versions.
        var version: Int?
    }

    private func duplicates() -> [Diagnostic] {
        var first: [Key: Declaration] = [:]
        return declarations.compactMap { declaration in
            var key = Key(kind: declaration.definition.kind, name: declaration.definition.name)
            if case .saga(let saga) = declaration.definition { key.version = saga.version }
            guard let other = first[key] else {
                first[key] = declaration
                return nil
            }
            let version = key.version.map { " version \($0)" } ?? ""
            return Diagnostic(
                file: declaration.file, position: declaration.position,
                found: "the \(key.kind.rawValue) '\(key.name)'\(version) is declared twice; first at "
                    + "\(other.file):\(other.position.line):\(other.position.column)",
                expected: key.version == nil ? "each name once" : "each version once")
        }
    }

    // MARK: - Names

    private func unknown(_ reference: Reference) -> Diagnostic? {
        switch reference.target {
        case .endpoint(let name): unknown("endpoint", name, among: endpoints, reference)
        case .saga(let name): unknown("saga", name, among: sagas, reference)
        case .run(let child): unknown("saga", child.name, among: sagas, reference)
        }
    }

    private func unknown(
        _ kind: String, _ name: String, among names: Set<String>, _ reference: Reference
    ) -> Diagnostic? {
        guard !names.contains(name) else { return nil }
        return Diagnostic(
            file: reference.file, position: reference.position, found: "the \(kind) '\(name)' is declared nowhere",
            expected: "a document '\(kind): \(name)' in these files",
            suggestion: closest(to: name, among: names).map { "did you mean '\($0)'?" })
    }
}
