import Primitives

/// What happens to a delivery after a try: a pure decision over the attempt, the policy and the outcome.
package struct DeliveryMachine: Sendable {
    /// What is left of a delivery whose tries are used up.
    package enum Exhausted: String, Sendable, Hashable {
        case deadLetter = "dead_letter"
        case drop
    }

    package enum Decision: Sendable, Hashable {
        case succeed
        /// Another try after the delay. `countsAttempt` is false when the answer was "ongoing" or the request was never sent.
        case retry(after: Duration, countsAttempt: Bool, TryError?)
        case deadLetter(reason: Reason, TryError)
        case drop(TryError)
    }

    /// Why a delivery ended as a dead letter; stored as it is spelt here.
    package enum Reason: String, Sendable, Hashable {
        /// All attempts were used.
        case exhausted
        /// The next try would have come after `max_elapsed`.
        case elapsed
        /// The handler said no for good.
        case refused
        /// The handler's answer was too large to read.
        case outputTooLarge = "output-too-large"
        /// The filter could not be evaluated.
        case expression
        /// Its answer could not be published.
        case reply
        /// Its delivery was taken over from a dead worker again and again.
        case abandoned
    }

    /// How long a handler may go on answering "ongoing" when the policy has no `max_elapsed`.
    package static let ongoingLimit = Duration.seconds(3600)

    package var policy: RetryPolicy
    package var onExhausted: Exhausted

    package init(policy: RetryPolicy, onExhausted: Exhausted = .deadLetter) {
        self.policy = policy
        self.onExhausted = onExhausted
    }

    /// - Parameters:
    ///   - attempt: the number of this try, from 1.
    ///   - elapsed: since the first try began.
    ///   - random: uniform in 0..<1, for jitter.
    package func decide(_ outcome: TryOutcome, attempt: Int, elapsed: Duration, random: Double) -> Decision {
        switch outcome {
        case .succeeded:
            return .succeed
        case .refused(let error):
            return giveUp(.refused, error)
        case .ongoing(let retryAfter):
            let delay = longer(policy.ongoingInterval, retryAfter)
            let limit = policy.maxElapsed ?? Self.ongoingLimit
            guard elapsed + delay <= limit else {
                return giveUp(.elapsed, TryError(message: "still ongoing after \(limit.text)"))
            }
            return .retry(after: delay, countsAttempt: false, nil)
        case .failed(let error, _, let retryAfter):
            if case .limited(let most) = policy.attempts, attempt >= most { return giveUp(.exhausted, error) }
            let delay = longer(policy.delay(after: attempt, random: random), retryAfter)
            if let limit = policy.maxElapsed, elapsed + delay > limit { return giveUp(.elapsed, error) }
            return .retry(after: delay, countsAttempt: true, error)
        }
    }

    /// It failed while its endpoint was kept from requests: whatever came of it, that was not its own fault.
    package func forgive(_ error: TryError, attempt: Int, retryAfter: Duration?, random: Double) -> Decision {
        let delay = longer(policy.delay(after: attempt, random: random), retryAfter)
        return .retry(after: delay, countsAttempt: false, error)
    }

    package func giveUp(_ reason: Reason, _ error: TryError) -> Decision {
        switch onExhausted {
        case .deadLetter: .deadLetter(reason: reason, error)
        case .drop: .drop(error)
        }
    }

    private func longer(_ delay: Duration, _ retryAfter: Duration?) -> Duration {
        max(delay, min(retryAfter ?? .zero, policy.retryAfterMax))
    }
}
