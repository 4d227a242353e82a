package import Primitives
package import Sagas

/// What comes from outside in the course of a scenario.
package struct Occurrence: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        case signal(event: String, payload: JSON)
        /// Of an operator.
        case act(SagaEvent.Act)
        /// The worker dies. Another one takes the saga up from its history after a while.
        case crash(downtime: Duration)
    }

    /// Since the saga's start.
    package var at: Duration
    package var kind: Kind
}
