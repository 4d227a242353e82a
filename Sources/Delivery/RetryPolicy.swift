import Primitives

/// How often and how far apart a delivery is tried. A value and pure functions of the attempt: no clock, no randomness of its own.
package struct RetryPolicy: Sendable, Hashable {
    package enum Attempts: Sendable, Hashable {
        case limited(Int)
        case forever
    }

    package enum Jitter: String, Sendable, Hashable, CaseIterable {
        case none
        /// Anywhere between zero and the delay.
        case full
        /// Half of the delay fixed, the other half random.
        case equal
    }

    /// Tries in total: 1 means no retry. Default 5.
    package var attempts: Attempts = .limited(5)
    /// The delay before the second try. Default 500 ms.
    package var initial: Duration = .milliseconds(500)
    /// What the delay grows by from try to try; 1 is constant. Default 2.
    package var multiplier: Double = 2
    /// The longest delay, before jitter. Default 30 s.
    package var max: Duration = .seconds(30)
    /// Default full: see Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    package var jitter: Jitter = .full
    /// No try begins later than this after the first one. Default none.
    package var maxElapsed: Duration?
    /// The longest `Retry-After` that is honoured. Default 10 min.
    package var retryAfterMax: Duration = .seconds(600)
    /// How often an answer "ongoing" is asked again. Default 1 s.
    package var ongoingInterval: Duration = .seconds(1)
    /// Answers that are final at once though the table of answers would try again.
    package var failOn: [FailureMatch] = []
    /// Answers that are tried again though the table would call them final.
    package var retryOn: [FailureMatch] = []

    package init() {}

    /// The delay before the try after `attempt`: `min(max, initial * multiplier^(attempt-1))`, then jitter.
    /// Overflow goes to `max`.
    ///
    /// - Parameter random: uniform in 0..<1.
    package func delay(after attempt: Int, random: Double) -> Duration {
        let base = initial.seconds
        var seconds = base
        if multiplier != 1, base > 0 {
            seconds = base * power(multiplier, Swift.max(0, attempt - 1), limit: max.seconds / base)
        }
        seconds = min(seconds, max.seconds)
        switch jitter {
        case .none: break
        case .full: seconds *= random
        case .equal: seconds = seconds / 2 + seconds / 2 * random
        }
        return .microseconds(Int64(seconds * 1_000_000))
    }

    /// `base^exponent`, given up as soon as it passes `limit`.
    private func power(_ base: Double, _ exponent: Int, limit: Double) -> Double {
        var result = 1.0
        for _ in 0..<exponent {
            result *= base
            if result >= limit || result == 0 { break }
        }
        return result
    }
}

/// An answer that a policy treats in its own way.
package enum FailureMatch: Sendable, Hashable {
    case status(Int)
    /// The `type` of a problem document (RFC 9457), whole or by its last segment.
    case problemType(String)

    package func matches(status: Int?, problemType: String?) -> Bool {
        switch self {
        case .status(let expected): return status == expected
        case .problemType(let expected):
            guard let problemType else { return false }
            return problemType == expected
                || problemType.split(whereSeparator: { $0 == "/" || $0 == "#" || $0 == ":" }).last.map(String.init)
                    == expected
        }
    }
}
