package import Expressions
package import Primitives

/// What a saga's machine wants done. Facts and everything that says "same transaction" are written in one commit; only then
/// calls go out.
package enum Effect: Sendable {
    /// Same transaction.
    case record(Fact)
    /// To be answered at once, before anything is written, by `SagaEvent.evaluated`.
    case evaluate(Evaluation)
    /// After the commit.
    case call(CallEffect)
    /// In a transaction of its own, together with what the machine makes of its outcome.
    case query(QueryEffect)
    /// Same transaction.
    case publish(Message)
    /// Same transaction: starts a sub-saga of this step.
    case startChild(StepPath, saga: String, input: JSON, key: String?)
    /// Same transaction.
    case tellChild(StepPath, SagaEvent.Act)
    /// Same transaction, when the saga has a parent.
    case tellParent(SagaEvent.ChildOutcome)
    /// Same transaction: a dead letter.
    case bury(Letter)
    /// Same transaction: the open dead letters of this saga are settled, by another try or, for a reason, by giving up on it.
    case settleLetters(by: String, discarding: String? = nil)

    package struct Evaluation: Sendable, Hashable {
        package var id: Int
        package var expressions: [Expression]
        package var scope: JSON
    }

    package struct CallEffect: Sendable, Hashable {
        package var step: StepPath
        package var op: Op
        /// Tells this request's answer and callbacks from those of others of the same step.
        package var send: Int
        package var attempt: Int
        package var request: Request.HTTP
        package var body: JSON
        /// Of the request.
        package var timeout: Duration
        /// When its outcome is given up.
        package var deadline: Timestamp
        package var idempotencyKey: String
        /// Of the action that a compensation undoes.
        package var forwardKey: String?
    }

    package struct QueryEffect: Sendable, Hashable {
        package var step: StepPath
        package var op: Op
        package var send: Int
        package var statement: String
        package var arguments: [JSON]
        package var timeout: Duration
    }

    package struct Message: Sendable, Hashable {
        package enum Origin: Sendable, Hashable {
            case step(StepPath, Op)
            case hook(SagaDefinition.Hook)
        }

        package var origin: Origin
        package var topic: String
        package var key: String?
        package var payload: JSON
        package var headers: [HeaderField]
    }

    package struct HeaderField: Sendable, Hashable {
        package var name: String
        package var value: String
    }

    package struct Letter: Sendable, Hashable {
        package var step: StepPath?
        package var op: Op
        package var reason: String
        package var detail: String?
        package var attempts: Int
        package var input: JSON
    }
}
