package import Primitives
package import Sagas

/// What is to come of a scenario. What is nil is not compared.
///
/// JSON values are compared in part: an object needs the given members and may have more, an array needs the given
/// elements and no others, and null also stands for a member that is not there.
package struct Expectation: Sendable, Hashable {
    package var status: SagaState.Status
    package var isSuspended: Bool?
    /// All requests in their order.
    package var calls: [ExpectedCall]?
    /// All messages in their order, those of hooks included.
    package var messages: [ExpectedMessage]?
    package var output: JSON?
    package var failure: ExpectedFailure?
    package var stuckAt: ExpectedTrouble?
    package var steps: [ExpectedStep] = []
    /// Compensations that an operator skipped.
    package var skipped: Int?
    /// The acts and signals that change nothing, by name.
    package var refused: [String]?
    /// The saga is at its end, or at rest, no later than this after its start.
    package var within: Duration?

    package init(status: SagaState.Status) {
        self.status = status
    }
}

package struct ExpectedCall: Sendable, Hashable {
    package var operation: Operation
    package var attempt: Int?
    package var method: String?
    /// Whole, or from the path on.
    package var url: String?
    package var endpoint: String?
    /// By name.
    package var headers: [String: String] = [:]
    /// The body of a request, the arguments of a statement, the input of a sub-saga.
    package var input: JSON?
    /// Since the saga's start.
    package var after: Duration?
    package var within: Duration?

    init(_ operation: Operation) {
        self.operation = operation
    }
}

package struct ExpectedMessage: Sendable, Hashable {
    package var topic: String
    package var key: String?
    package var payload: JSON?
    package var headers: [String: String] = [:]

    init(topic: String) {
        self.topic = topic
    }
}

package struct ExpectedFailure: Sendable, Hashable {
    package var type: String?
    /// A part of it.
    package var detail: String?
    package var status: Int?
    package var step: StepPath?
}

package struct ExpectedTrouble: Sendable, Hashable {
    package var operation: Operation?
    package var reason: String?
    /// A part of it.
    package var detail: String?
}

package struct ExpectedStep: Sendable, Hashable {
    package var step: StepPath
    package var status: StepState.Status?
    package var compensation: StepState.CompensationStatus?
    package var attempts: Int?
    package var output: JSON?
    package var error: ExpectedFailure?

    init(_ step: StepPath) {
        self.step = step
    }
}
