package import Primitives
package import Sagas
package import WorkflowFiles

/// One course of events for one saga, and what is to come of it.
package struct Scenario: Sendable {
    /// When a saga starts that is not told otherwise.
    package static let defaultStart = Timestamp(rfc3339: "2026-01-01T00:00:00Z") ?? Timestamp(microseconds: 0)

    package var name: String
    /// Of the name.
    package var position = Position.wholeFile
    package var program: SagaProgram
    package var input = JSON.null
    /// Default: what the definition's `key:` makes of the input.
    package var key: String?
    package var startedAt = defaultStart
    /// What `$env` shows.
    package var environment: [String: String] = [:]
    /// Whether an action that has no handler here breaks the scenario. Otherwise it succeeds with the output null.
    package var isStrict = false
    /// By the step as the scenario spells it.
    package var handlers: [Operation: Handler] = [:]
    /// In the order of the file.
    package var occurrences: [Occurrence] = []
    package var expectation: Expectation

    package init(name: String, program: SagaProgram, expectation: Expectation) {
        self.name = name
        self.program = program
        self.expectation = expectation
    }
}
