import Delivery
import Testing

/// The table of answers in the handler protocol, row by row.
struct AnswerTests {
    private enum Kind: String { case succeeded, refused, ongoing, unknown, notDone }

    private func kind(_ answer: Answer, _ policy: RetryPolicy = RetryPolicy()) -> Kind {
        switch TryOutcome(answer, policy: policy) {
        case .succeeded: .succeeded
        case .refused: .refused
        case .ongoing: .ongoing
        case .failed(_, .unknown, _): .unknown
        case .failed(_, .no, _): .notDone
        }
    }

    @Test func statusesDecide() {
        for status in [200, 201, 202, 204, 299] { #expect(kind(Answer(status: status)) == .succeeded, "\(status)") }
        for status in [301, 302, 308, 400, 401, 403, 404, 410, 422] {
            #expect(kind(Answer(status: status)) == .refused, "\(status)")
        }
        for status in [408, 409, 500, 502, 503, 504, 599] {
            #expect(kind(Answer(status: status)) == .unknown, "\(status)")
        }
        #expect(kind(Answer(status: 429)) == .notDone)
        #expect(kind(Answer(status: 425)) == .ongoing)
    }

    @Test func outriderResultOverrulesTheStatus() {
        #expect(kind(Answer(status: 500, result: "succeeded")) == .succeeded)
        #expect(kind(Answer(status: 200, result: "failed")) == .refused)
        #expect(kind(Answer(status: 200, result: "ongoing")) == .ongoing)
        #expect(kind(Answer(status: 200, result: "retry")) == .unknown)
        #expect(kind(Answer(status: 200, result: "nonsense")) == .succeeded)
    }

    @Test func policyMakesAnswersFinalOrWorthARetry() {
        var policy = RetryPolicy()
        policy.failOn = [.status(503), .problemType("card-declined")]
        policy.retryOn = [.status(404)]
        #expect(kind(Answer(status: 503), policy) == .refused)
        #expect(kind(Answer(status: 500, problem: Problem(type: "https://x/card-declined")), policy) == .refused)
        #expect(kind(Answer(status: 404), policy) == .notDone)
        #expect(kind(Answer(status: 200), policy) == .succeeded)
    }

    @Test func theErrorTellsWhatTheProblemDocumentSaid() {
        let answer = Answer(
            status: 422, problem: Problem(type: "t", title: "Card declined", detail: "Insufficient funds"))
        guard case .refused(let error) = TryOutcome(answer, policy: RetryPolicy()) else { return #expect(Bool(false)) }
        #expect(
            error
                == TryError(
                    status: 422, type: "t", message: "HTTP 422: Card declined: Insufficient funds",
                    problem: Problem(type: "t", title: "Card declined", detail: "Insufficient funds")))
    }
}
