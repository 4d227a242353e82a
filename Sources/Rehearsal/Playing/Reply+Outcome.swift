import Delivery
import Primitives
import Sagas

/// What the engine makes of a reply, and when. What takes longer than the try may take is a timeout, whatever the handler
/// did.
extension Reply {
    typealias Result = (after: Duration, result: SagaEvent.TryResult)

    /// By the table of answers.
    func answer(within limit: Duration, isAsync: Bool, policy: RetryPolicy) -> Result {
        let timeout = (
            after: limit,
            result: SagaEvent.TryResult.failed(
                TryError(message: "no answer within \(limit.text)"), happened: .unknown, retryAfter: nil)
        )
        guard after < limit else { return timeout }
        switch outcome {
        case .answer(let text):
            if isAsync, text.status == 202, text.result == nil { return (after, .accepted) }
            return (after, SagaEvent.TryResult(TryOutcome(text.answer, policy: policy), output: text.body))
        case .timeout: return timeout
        case .lost:
            let error = TryError(message: "the connection was lost after the request had been sent")
            return (after, .failed(error, happened: .unknown, retryAfter: nil))
        case .refused:
            return (after, .failed(TryError(message: "the connection was refused"), happened: .no, retryAfter: nil))
        case .result, .sqlError, .crash, .ended, .never: preconditionFailure("\(outcome) answers no request")
        }
    }

    /// Of a statement.
    func result(within limit: Duration, policy: RetryPolicy) -> Result {
        func failed(_ state: String, _ message: String) -> SagaEvent.TryResult {
            SagaEvent.TryResult(TryOutcome(sqlState: state, message: message, policy: policy), output: .null)
        }
        let timeout = (after: limit, result: failed("57014", "canceling statement due to statement timeout"))
        guard after < limit else { return timeout }
        switch outcome {
        case .result(let output): return (after, .succeeded(output))
        case .sqlError(let state, let message): return (after, failed(state, message))
        case .timeout: return timeout
        case .answer, .lost, .refused, .crash, .ended, .never: preconditionFailure("\(outcome) ends no statement")
        }
    }
}

extension SagaEvent.TryResult {
    fileprivate init(_ outcome: TryOutcome, output: JSON) {
        switch outcome {
        case .succeeded: self = .succeeded(output)
        case .refused(let error): self = .refused(error, isUnknown: false)
        case .failed(let error, let happened, let retryAfter):
            self = .failed(error, happened: happened, retryAfter: retryAfter)
        case .ongoing(let retryAfter): self = .ongoing(retryAfter: retryAfter)
        }
    }
}
