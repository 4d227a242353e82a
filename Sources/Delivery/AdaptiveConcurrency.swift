/// Finds how many requests at once a handler can take, by its latency and its errors: additive increase while the latency stays
/// near its minimum, as TCP Vegas does (Brakmo and Peterson, "TCP Vegas", 1995), multiplicative decrease when the handler says
/// that it is too much (Jacobson, "Congestion Avoidance and Control", 1988). The minimum is measured anew now and then at half
/// the concurrency, as BBR does (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016): a handler that has become
/// slower for good is not taken for one that is overloaded, nor one that is overloaded all the time for a slow one.
///
/// Of a window of answers the latency is compared that a quarter of them stayed below: when requests wait for each other all of
/// them take longer, and when a machine has something else to do only some. A value without a clock.
package struct AdaptiveConcurrency: Sendable {
    /// How many requests may be in flight.
    package private(set) var limit: Int
    private let most: Int

    /// Seconds, in the best window; nil before the first.
    private var base: Double?
    /// Of the window under way: latencies in seconds, answers, and whether the limit was what held requests back.
    private var latencies: [Double] = []
    private var answers = 0
    private var wasFull = false
    private var hasBackedOff = false
    /// Doubles until the first sign of too much, as slow start does.
    private var isFirstRise = true
    private var windowsUntilRest = windowsBetweenRests
    /// The limit to return to after a window at half of it.
    private var resting: Int?

    private static let first = 8
    private static let windowsBetweenRests = 50
    private static let mostKept = 500
    /// Latency, against its minimum, up to which there is room, and from which there is too much: as a factor, and in seconds
    /// for those whose minimum is next to nothing.
    private static let room = (factor: 1.1, seconds: 0.001)
    private static let tooMuch = (factor: 1.3, seconds: 0.003)

    /// - Parameter most: what the worker sends at all.
    package init(most: Int) {
        self.most = max(1, most)
        limit = min(Self.first, max(1, most))
    }

    /// The handler answered at its own pace.
    ///
    /// - Parameter inFlight: when the answer came, itself included.
    package mutating func answered(in latency: Duration, inFlight: Int) {
        let (seconds, attoseconds) = latency.components
        if latencies.count < Self.mostKept { latencies.append(Double(seconds) + Double(attoseconds) / 1e18) }
        wasFull = wasFull || inFlight >= limit
        countTowardsWindow()
    }

    /// The handler could not take it: a timeout, 429, 503, a refused connection. The requests that were in flight with it will
    /// say the same: once a window is enough.
    package mutating func refused() {
        if !hasBackedOff {
            limit = max(1, (resting ?? limit) * 7 / 10)
            resting = nil
            isFirstRise = false
            hasBackedOff = true
            startWindow()
        }
        countTowardsWindow()
    }

    private mutating func countTowardsWindow() {
        answers += 1
        guard answers >= max(2 * limit, 10) else { return }
        if !latencies.isEmpty { endWindow() }
        startWindow()
        hasBackedOff = false
    }

    private mutating func startWindow() {
        latencies.removeAll(keepingCapacity: true)
        answers = 0
        wasFull = false
    }

    private mutating func endWindow() {
        let latency = latencies.sorted()[latencies.count / 4]
        if let before = resting {
            // Half as many at once: this is what it takes when nothing waits. As long as halving helps, it is halved again soon.
            let isBetter = latency < (base ?? latency) * 0.8
            base = latency
            limit = before
            resting = nil
            windowsUntilRest = isBetter ? 3 : Self.windowsBetweenRests
            return
        }
        let least = min(base ?? latency, latency)
        base = least
        windowsUntilRest -= 1
        // What arrives too seldom to fill it says nothing of how much more would go.
        guard wasFull, !hasBackedOff else { return }
        let tooMuch = max(least * Self.tooMuch.factor, least + Self.tooMuch.seconds)
        if latency <= max(least * Self.room.factor, least + Self.room.seconds) {
            limit = min(most, isFirstRise ? limit * 2 : limit + max(1, limit / 8))
        } else {
            if isFirstRise { windowsUntilRest = 0 }
            isFirstRise = false
            if latency > tooMuch {
                limit = max(1, Int(Double(limit) * max(0.5, tooMuch / latency)))
                // If that does not help, it is the handler that has become slower.
                windowsUntilRest = 0
            }
        }
        if windowsUntilRest <= 0 {
            resting = limit
            limit = max(1, limit / 2)
        }
    }
}
