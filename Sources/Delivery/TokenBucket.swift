/// How much may be sent at a rate: in any length of time T at most `rate * T` and one burst (RFC 2215, section 3.6).
///
/// A value without a clock. Its bucket is small, a twentieth of a second of its rate and at least one: several workers' buckets, and
/// what they had left when they shared the rate anew, stay within a tenth of it in any second; and a wake-up that comes a little
/// late loses nothing.
package struct TokenBucket: Sendable {
    /// How many a second.
    package private(set) var rate: Double
    private var level: Double
    private var filledAt: ContinuousClock.Instant

    /// - Parameter isFull: whether a burst may be sent at once. A rate that another worker gave away begins empty: its burst
    ///   was spent there.
    package init(rate: Double, isFull: Bool, now: ContinuousClock.Instant) {
        self.rate = rate
        level = isFull ? Self.capacity(rate) : 0
        filledAt = now
    }

    private static func capacity(_ rate: Double) -> Double { max(1, rate / 20) }

    private mutating func fill(_ now: ContinuousClock.Instant) {
        guard now > filledAt else { return }
        level = min(Self.capacity(rate), level + rate * (now - filledAt).seconds)
        filledAt = now
    }

    /// From now on, so many a second.
    package mutating func changed(to rate: Double, now: ContinuousClock.Instant) {
        fill(now)
        self.rate = rate
        level = min(level, Self.capacity(rate))
    }

    /// Takes one; false when there is none now.
    package mutating func take(now: ContinuousClock.Instant) -> Bool {
        fill(now)
        // What rounding leaves of a whole one is one.
        guard level >= 1 - 1e-9 else { return false }
        level -= 1
        return true
    }

    /// When one more will be there than `ahead` others take before; nil when never.
    package mutating func next(behind ahead: Int = 0, now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        fill(now)
        let lacking = Double(ahead + 1) - level
        if lacking <= 1e-9 { return now }
        guard rate > 0 else { return nil }
        return now + .microseconds(Int64(min(lacking / rate, 86_400) * 1_000_000) + 1)
    }
}

extension Duration {
    fileprivate var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}
