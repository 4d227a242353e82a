/// Keeps requests from an endpoint that does not answer (Nygard, "Release It!", 2nd edition, section "Circuit Breaker"). One
/// worker's part: what the others found out comes in as events, and what they are to know goes out as actions.
///
/// - `closed`: requests go out. Can transition to: `open`.
/// - `open`: none goes out; from `retryAt` on this worker may ask for the probe. Can transition to: `asking`, `closed`.
/// - `asking`: it asks for the probe, which one worker of all gets. Can transition to: `probing`, `open`, `closed`.
/// - `probing`: it has the probe, sent or not. Can transition to: `open`, `closed`.
///
/// A value without a clock.
package struct CircuitBreaker: Sendable {
    package struct Policy: Sendable, Hashable {
        /// So many failures with no success among them open it. Default 20.
        package var failures = 20
        /// Within this time. Default 10 s.
        package var within: Duration = .seconds(10)
        /// How long nothing is sent before one request tries. Default 15 s.
        package var openFor: Duration = .seconds(15)

        package init() {}
    }

    package enum State: Sendable, Hashable {
        case closed
        case open(retryAt: ContinuousClock.Instant)
        case asking
        case probing(sentAt: ContinuousClock.Instant?)
    }

    package enum Admission: Sendable, Hashable {
        case send(isProbe: Bool)
        /// Until then, or until another worker closes it.
        case wait(until: ContinuousClock.Instant)
        /// The probe is to be asked for; nothing goes out meanwhile.
        case ask
        /// The answer to that, or to the probe, decides.
        case waitForWord
    }

    package enum Action: Sendable, Hashable {
        case none
        /// All workers are to know.
        case open
        case close
    }

    package var policy: Policy
    package private(set) var state = State.closed
    /// When requests failed with no success since, oldest first.
    private var failures: [ContinuousClock.Instant] = []
    /// The same of all other workers, as last heard.
    private var failuresElsewhere = 0

    package init(_ policy: Policy) {
        self.policy = policy
    }

    // MARK: - Sending

    package mutating func admission(now: ContinuousClock.Instant) -> Admission {
        switch state {
        case .closed: return .send(isProbe: false)
        case .open(let retryAt):
            guard retryAt <= now else { return .wait(until: retryAt) }
            state = .asking
            return .ask
        case .asking: return .waitForWord
        case .probing(sentAt: nil):
            state = .probing(sentAt: now)
            return .send(isProbe: true)
        case .probing: return .waitForWord
        }
    }

    // MARK: - Events here

    /// - Parameter isProbe: an answer to any other request says nothing about an endpoint whose breaker has opened since.
    package mutating func succeeded(isProbe: Bool) -> Action {
        switch state {
        case .closed:
            failures = []
            return .none
        case .probing where isProbe:
            close()
            return .close
        case .open, .asking, .probing: return .none
        }
    }

    package mutating func failed(isProbe: Bool, now: ContinuousClock.Instant) -> Action {
        switch state {
        case .closed:
            forget(now)
            failures.append(now)
            return openIfTooMany(now)
        case .probing where isProbe:
            state = .open(retryAt: now + policy.openFor)
            return .open
        case .open, .asking, .probing: return .none
        }
    }

    /// The request ended and said nothing of the endpoint, or was not sent after all: another one is to be the probe.
    package mutating func endedWithoutWord(isProbe: Bool) {
        if isProbe, case .probing = state { state = .probing(sentAt: nil) }
    }

    /// Failures of this worker that count now.
    package mutating func count(now: ContinuousClock.Instant) -> Int {
        forget(now)
        return failures.count
    }

    private mutating func forget(_ now: ContinuousClock.Instant) {
        if let first = failures.first, first <= now - policy.within { failures.removeAll { $0 <= now - policy.within } }
        // More than enough are not kept.
        if failures.count > policy.failures { failures.removeFirst(failures.count - policy.failures) }
    }

    private mutating func openIfTooMany(_ now: ContinuousClock.Instant) -> Action {
        guard case .closed = state, !failures.isEmpty, failures.count + failuresElsewhere >= policy.failures else {
            return .none
        }
        state = .open(retryAt: now + policy.openFor)
        return .open
    }

    private mutating func close() {
        state = .closed
        failures = []
        failuresElsewhere = 0
    }

    // MARK: - Events elsewhere

    /// What other workers count now.
    package mutating func counted(elsewhere count: Int, now: ContinuousClock.Instant) -> Action {
        failuresElsewhere = count
        forget(now)
        return openIfTooMany(now)
    }

    /// Somebody opened it, perhaps this worker.
    ///
    /// - Parameters:
    ///   - retryAt: when it was found to end.
    ///   - isOwn: whether this worker has the probe.
    package mutating func wasOpen(retryAt: ContinuousClock.Instant, isOwn: Bool) {
        switch state {
        case .probing where isOwn: break
        case .closed, .open, .asking, .probing:
            state = isOwn ? .probing(sentAt: nil) : .open(retryAt: retryAt)
            failures = []
        }
    }

    /// Nobody holds it open.
    package mutating func wasClosed() {
        switch state {
        case .closed: break
        case .open, .asking, .probing: close()
        }
    }
}
