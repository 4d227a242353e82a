package import Primitives
package import Sagas

/// What happened in a scenario.
package struct Performance: Sendable {
    /// A request to a handler: an HTTP call, a statement, or what a sub-saga is told.
    package struct Call: Sendable, Hashable {
        /// Since the saga's start.
        package var at: Duration
        package var operation: Operation
        package var attempt: Int
        package var content: Content

        package enum Content: Sendable, Hashable {
            case http(Request.HTTP, body: JSON)
            case sql(statement: String, arguments: [JSON])
            case start(saga: String, input: JSON, key: String?)
            case undo
        }
    }

    package struct Message: Sendable, Hashable {
        package var at: Duration
        package var content: Effect.Message
    }

    /// A line of the course of events.
    package struct Entry: Sendable, Hashable {
        package var at: Duration
        package var event: String
        package var operation: Operation?
        package var detail: String
    }

    package internal(set) var calls: [Call] = []
    package internal(set) var messages: [Message] = []
    package internal(set) var timeline: [Entry] = []
    package internal(set) var state = SagaState()
    /// When the saga ended or got stuck; of one that did neither, when nothing was left to happen.
    package internal(set) var duration = Duration.zero
    /// Replies that no request came for: the step as the scenario spells it, and how many.
    package internal(set) var leftOver: [(operation: Operation, used: Int, given: Int)] = []
    /// Why the scenario could not be played to its end.
    package internal(set) var breakdown: String?
}
