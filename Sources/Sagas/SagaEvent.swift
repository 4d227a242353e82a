package import Delivery
package import Expressions
package import Primitives

/// What a saga's machine is told.
package enum SagaEvent: Sendable {
    /// The saga is claimed for the first time.
    case begin
    /// It was taken up again from its history; what was in flight then is lost.
    case recovered
    /// Time has passed; see `SagaMachine.nextDue`.
    case tick
    case evaluated(id: Int, Result<[JSON], ExpressionError>)
    /// A request ended. `send` is that of its `CallEffect`.
    case answered(StepPath, Op, send: Int, TryResult)
    /// By token.
    case calledBack(StepPath, Op, send: Int, Callback)
    case signalled(event: String, payload: JSON, by: String)
    /// A sub-saga that this saga started, or told to undo itself, has come to an end.
    case childEnded(StepPath, ChildOutcome)
    case asked(Act, by: String)

    package enum TryResult: Sendable, Hashable {
        case succeeded(JSON)
        /// 202 of an async call.
        case accepted
        case ongoing(retryAfter: Duration?)
        case failed(TryError, happened: TryOutcome.Knowledge, retryAfter: Duration?)
        /// Its endpoint is kept from requests: the same try is due later, and uses up no attempt.
        case postponed(TryError, happened: TryOutcome.Knowledge, after: Duration)
        /// Final. `isUnknown`: it may have happened all the same.
        case refused(TryError, isUnknown: Bool)
    }

    package enum Callback: Sendable, Hashable {
        case completed(JSON)
        case failed(Failure)
        case heartbeat(Duration)
    }

    package struct ChildOutcome: Sendable, Hashable {
        package var status: SagaState.Status
        package var output: JSON
        package var failure: Failure?

        package init(status: SagaState.Status, output: JSON = .null, failure: Failure? = nil) {
            self.status = status
            self.output = output
            self.failure = failure
        }
    }

    /// What an operator, or the parent of a sub-saga, asks for.
    package enum Act: Sendable, Hashable {
        case cancel(reason: String)
        case terminate(reason: String)
        case suspend(reason: String? = nil)
        case resume(reason: String? = nil)
        case retry(input: JSON?, reason: String? = nil)
        case skip(step: String, reason: String, output: JSON)
        case resolve(step: String, happened: Bool, output: JSON, reason: String? = nil)
        /// Of the parent, which aborts: undo what has completed.
        case undo(reason: String)

        package var name: String {
            switch self {
            case .cancel: "cancel"
            case .terminate: "terminate"
            case .suspend: "suspend"
            case .resume: "resume"
            case .retry: "retry"
            case .skip: "skip"
            case .resolve: "resolve"
            case .undo: "undo"
            }
        }
    }
}
