package import Delivery
package import Primitives
package import Sagas

/// What a mocked handler does with one request.
package struct Reply: Sendable, Hashable {
    package enum Outcome: Sendable, Hashable {
        /// An HTTP answer; the body is the output if it comes to a success.
        case answer(AnswerText)
        /// A statement ran, and its transaction was committed.
        case result(JSON)
        /// A statement failed, and its transaction was rolled back.
        case sqlError(state: String, message: String)
        /// No answer within the timeout of the try.
        case timeout
        /// The connection broke after the request was sent.
        case lost
        /// No connection was made.
        case refused
        /// The worker dies while it waits for the answer; another one takes the saga up.
        case crash
        /// A sub-saga came to an end.
        case ended(SagaEvent.ChildOutcome)
        /// A sub-saga that stays at work.
        case never
    }

    /// What is sent to the callback token of the request.
    package struct Callback: Sendable, Hashable {
        /// Since the request.
        package var after: Duration
        package var content: SagaEvent.Callback
    }

    package var outcome: Outcome
    /// How long the handler takes.
    package var after: Duration = .zero
    package var callbacks: [Callback] = []

    init(_ outcome: Outcome, after: Duration = .zero) {
        self.outcome = outcome
        self.after = after
    }

    static func status(_ status: Int) -> Reply { Reply(.answer(AnswerText(status: status))) }
}

/// An HTTP answer as a scenario writes it.
package struct AnswerText: Sendable, Hashable {
    package var status: Int
    package var body = JSON.null
    package var problem: Problem?
    /// The header `Outrider-Result`.
    package var result: String?
    package var retryAfter: Duration?

    init(status: Int) {
        self.status = status
    }

    var answer: Answer { Answer(status: status, result: result, retryAfter: retryAfter, problem: problem) }
}

/// What a mocked handler does with the requests of one step.
package struct Handler: Sendable, Hashable {
    /// Not empty.
    package var replies: [Reply]
    /// Each reply is for one request, in their order. Otherwise the only one is for all.
    package var isSequence: Bool
    /// Whether a reply that no request came for is a difference: those that a scenario brings itself, not those that all
    /// scenarios of a document share.
    package var mustBeUsedUp = false

    init(_ reply: Reply) {
        replies = [reply]
        isSequence = false
    }

    init(sequence: [Reply]) {
        replies = sequence
        isSequence = true
    }
}
