internal import Delivery
internal import Glibc
internal import Primitives
internal import Sagas

/// How long a step can take at most, with all its tries and the delays between them.
enum LongestTime {
    case limited(Duration)
    /// For as long as it likes; says why.
    case endless(String)

    /// Nil when that is not for the step to say.
    ///
    /// - Parameter retryAfter: what each answer asks to wait at least.
    init?(of step: Step, retryAfter: Duration = .zero) {
        if let deadline = step.deadline {
            self = .limited(deadline)
            return
        }
        switch step.action {
        case .call: self.init(tries: step.retry, timeout: step.timeout, retryAfter)
        case .await(let event): self = event.timeout.map { .limited($0) } ?? .endless("it has no timeout")
        case .approve(let approve): self = approve.timeout.map { .limited($0) } ?? .endless("it has no timeout")
        case .wait(.duration(let time)): self = .limited(time)
        case .publish, .set, .parallel, .foreach, .choose, .wait(.until), .run, .fail: return nil
        }
    }

    private init(tries policy: RetryPolicy, timeout: Duration, _ retryAfter: Duration) {
        // A try that begins just within max_elapsed still has its time.
        let elapsed = policy.maxElapsed.map { $0 + timeout }
        switch policy.attempts {
        case .forever: self = elapsed.map { .limited($0) } ?? .endless("it is tried forever")
        case .limited(let count):
            let delays = policy.longest(delays: Double(count - 1), eachAtLeast: retryAfter.seconds)
            let all = timeout.seconds * Double(count) + delays
            let time = Duration.microseconds(Int64(min(all, 1e12) * 1_000_000))
            self = .limited(min(time, elapsed ?? time))
        }
    }
}

extension RetryPolicy {
    /// The sum of so many delays, in seconds, when jitter takes nothing off.
    fileprivate func longest(delays: Double, eachAtLeast least: Double) -> Double {
        let first = min(initial, max).seconds
        guard least > first else { return longest(delays: delays) }
        guard least < max.seconds, first > 0, multiplier > 1 else { return delays * least }
        // So many of them are shorter.
        let short = Swift.min(delays, (log(least / first) / log(multiplier)).rounded(.up))
        return longest(delays: delays) - longest(delays: short) + short * least
    }

    private func longest(delays: Double) -> Double {
        let (first, longest) = (min(initial, max).seconds, max.seconds)
        guard delays > 0, first > 0 else { return 0 }
        guard multiplier > 1 else { return first * delays }
        // A geometric series up to the longest delay, and that one from there on.
        let rising = Swift.min(delays, (log(longest / first) / log(multiplier)).rounded(.up))
        return first * (pow(multiplier, rising) - 1) / (multiplier - 1) + (delays - rising) * longest
    }
}

extension Duration {
    /// To whole seconds, for messages.
    var rounded: Duration { self < .seconds(10) ? self : .seconds(Int64(seconds)) }
}
