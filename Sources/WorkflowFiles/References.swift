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
        /// A sub-saga. `isUndone`: when a later step fails, it is undone.
        case saga(String, isUndone: Bool)
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
        duplicates() + references.compactMap { unknown($0) ?? beforePivot($0) }
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
        case .saga(let name, _): unknown("saga", name, among: sagas, reference)
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

    /// A sub-saga that has passed its own pivot cannot be undone with its parent.
    private func beforePivot(_ reference: Reference) -> Diagnostic? {
        guard case .saga(let name, isUndone: true) = reference.target else { return nil }
        let versions = declarations.compactMap { declaration in
            if case .saga(let saga) = declaration.definition, saga.name == name { saga } else { nil }
        }
        // The newest is the one that is started.
        guard let newest = versions.max(by: { $0.version < $1.version }),
            let pivot = newest.allSteps.first(where: \.isPivot)
        else { return nil }
        return Diagnostic(
            file: reference.file, position: reference.position,
            found: "the saga '\(name)' has a pivot, '\(pivot.id)', behind which nothing of it is undone",
            expected: "its step to be this saga's own pivot, or to stand behind it", suggestion: "write pivot: true")
    }
}
