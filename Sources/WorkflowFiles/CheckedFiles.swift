package import Sagas

/// What a workflow folder declares, and all that is wrong with it.
package struct CheckedFiles: Sendable {
    /// In the order of the files. With errors it is not complete: nothing of it may be applied then.
    package let definitions: [Definition]
    /// Sorted by file and place.
    package let diagnostics: [Diagnostic]
    /// How many files were read.
    package let fileCount: Int

    package var hasErrors: Bool { diagnostics.contains { $0.severity == .error } }

    /// Those among the definitions; of one name there may be several versions.
    package var sagas: [SagaDefinition] {
        definitions.compactMap { if case .saga(let saga) = $0 { saga } else { nil } }
    }
}
