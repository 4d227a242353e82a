package import Expressions
package import Primitives

/// A long transaction over many services: its steps, and how each is undone. Immutable once applied under its version.
package struct SagaDefinition: Sendable, Hashable {
    package static let defaultRetention = Duration.seconds(30 * 86_400)
    package static let defaultAbortWait = Duration.seconds(30)

    package var name: String
    /// From 1. Other content under the same version is refused.
    package var version: Int
    /// What it is for, in the author's words.
    package var about: String?
    /// The business key of a start that brings none: a plain path or a text of plain paths over `.input`.
    package var key: Template?
    /// Whether the key is free again once the saga has ended. Default false: it stays taken until retention frees it.
    package var reusesKey = false
    /// A message of this topic starts the saga; its payload is the input.
    package var startOn: String?
    /// Checked when the saga is first claimed.
    package var inputSchema: JSONSchema?
    /// The saga's output when it completes. Default null.
    package var output: ValueTemplate?
    /// Of the forward path; on expiry the saga aborts and compensates. Default none.
    package var timeout: Duration?
    /// After the decision to abort a callback is awaited this long at most. Default 30 s.
    package var abortWait: Duration = defaultAbortWait
    /// How long the ended saga and its history are kept. Default 30 d.
    package var retention: Duration = defaultRetention
    /// At least one.
    package var steps: [Step]
    /// What is published when the saga comes to an end, or gets stuck.
    package var hooks: [Hook: Publication] = [:]
    /// The document as canonical JSON, with its schema file read in.
    package var content: JSON

    /// `on_completed`, `on_compensated`, …
    package enum Hook: String, Sendable, Hashable, CaseIterable {
        case completed, compensated, failed, stuck, terminated
    }

    package init(name: String, version: Int, steps: [Step], content: JSON) {
        self.name = name
        self.version = version
        self.steps = steps
        self.content = content
    }
}

extension SagaDefinition {
    /// All steps, in the order of the file: a step before those that it contains.
    package var allSteps: [Step] { Self.flattened(steps) }

    private static func flattened(_ steps: [Step]) -> [Step] {
        steps.flatMap { [$0] + flattened($0.action.children) }
    }
}
