/// What a handler answered, reduced to what decides: the table of answers in the handler protocol.
package struct Answer: Sendable {
    package var status: Int
    /// The header `Outrider-Result`, which overrules the status.
    package var result: String?
    package var retryAfter: Duration?
    /// `type`, `title` and `detail` of an `application/problem+json` body (RFC 9457).
    package var problem: Problem?

    package init(status: Int, result: String? = nil, retryAfter: Duration? = nil, problem: Problem? = nil) {
        self.status = status
        self.result = result
        self.retryAfter = retryAfter
        self.problem = problem
    }
}

package struct Problem: Sendable, Hashable {
    package var type: String?
    package var title: String?
    package var detail: String?

    package init(type: String? = nil, title: String? = nil, detail: String? = nil) {
        self.type = type
        self.title = title
        self.detail = detail
    }
}

/// What one try came to.
package enum TryOutcome: Sendable, Hashable {
    case succeeded
    /// Not done for good; another try would be answered the same.
    case refused(TryError)
    /// Worth another try. `happened` says what is known of this one.
    case failed(TryError, happened: Knowledge, retryAfter: Duration?)
    /// Accepted and still at work: asked again without using up an attempt.
    case ongoing(retryAfter: Duration?)

    package enum Knowledge: Sendable, Hashable {
        case no
        case unknown
    }
}

/// An error as it is kept for an operator: where it came from, and what was said.
package struct TryError: Error, Sendable, Hashable {
    package var status: Int?
    package var type: String?
    /// One line of all that was said.
    package var message: String
    /// What a handler's problem said.
    package var problem: Problem?

    package init(status: Int? = nil, type: String? = nil, message: String, problem: Problem? = nil) {
        self.status = status
        self.type = type
        self.message = message
        self.problem = problem
    }
}

extension TryOutcome {
    /// The table of answers. `policy` may make a status or problem type final (`fail_on`) or worth a retry (`retry_on`).
    package init(_ answer: Answer, policy: RetryPolicy) {
        let error = TryError(answer)
        func matches(_ list: [FailureMatch]) -> Bool {
            list.contains { $0.matches(status: answer.status, problemType: answer.problem?.type) }
        }
        switch answer.result {
        case "succeeded": self = .succeeded
        case "failed": self = .refused(error)
        case "ongoing": self = .ongoing(retryAfter: answer.retryAfter)
        case "retry": self = .failed(error, happened: .unknown, retryAfter: answer.retryAfter)
        default:
            switch answer.status {
            case 200..<300: self = .succeeded
            case 425: self = .ongoing(retryAfter: answer.retryAfter)
            case _ where matches(policy.failOn): self = .refused(error)
            case 429: self = .failed(error, happened: .no, retryAfter: answer.retryAfter)
            case 408, 409, 500...: self = .failed(error, happened: .unknown, retryAfter: answer.retryAfter)
            case _ where matches(policy.retryOn): self = .failed(error, happened: .no, retryAfter: answer.retryAfter)
            default: self = .refused(error)
            }
        }
    }
}

extension TryError {
    /// Without the handler's own words, which may quote the message: for logs.
    package var summary: String {
        guard let status else { return message }
        return type.map { "HTTP \(status), \($0.prefix(200))" } ?? "HTTP \(status)"
    }

    init(_ answer: Answer) {
        let cut = { (text: String?) in text.flatMap { $0.isEmpty ? nil : String($0.prefix(1000)) } }
        let problem = answer.problem.map { Problem(type: $0.type, title: cut($0.title), detail: cut($0.detail)) }
        let said = [problem?.title, problem?.detail].compactMap(\.self)
        var message = "HTTP \(answer.status)"
        if let result = answer.result { message += ", Outrider-Result: \(result.prefix(40))" }
        if !said.isEmpty { message += ": " + said.joined(separator: ": ").prefix(1000) }
        self.init(status: answer.status, type: problem?.type, message: message, problem: problem)
    }
}
