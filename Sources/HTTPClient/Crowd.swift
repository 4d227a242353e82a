/// How many transfers run at once, found by trying.
///
/// A thread that is busy all the time gets no more done by having more transfers under way: each then only waits longer for its
/// turn, and costs more, since what belongs to it has left the processor's caches. With handlers that answer at once 640 transfers
/// cost a third more time each than 64; handlers that take their time need that many. So a busy thread tries half as many, and
/// keeps to that if as many ended meanwhile. As soon as it has time to sleep there is no limit. A value without a clock.
package struct Crowd {
    /// How many may run.
    package private(set) var most = Int.max

    private enum Phase {
        /// Nothing is tried before.
        case resting(until: ContinuousClock.Instant)
        /// What runs beyond the limit that is tried has to end first.
        case settling(Trial)
        case measuring(Trial)
    }

    private struct Trial {
        /// The limit before, and how many ended in a second with it.
        var most: Int
        var rate: Double
    }

    private var phase: Phase
    private var windowBegan: ContinuousClock.Instant
    private var slept = Duration.zero
    private var ended = 0

    /// Fewer are not tried: near handlers have answered before that many are sent.
    private static let least = 64
    /// Between two decisions, at least.
    private static let window = Duration.milliseconds(100)
    /// From a trial that failed to the next.
    private static let pause = Duration.seconds(5)

    package init(now: ContinuousClock.Instant) {
        windowBegan = now
        phase = .resting(until: now)
    }

    /// The thread has made a turn.
    ///
    /// - Parameters:
    ///   - slept: how long it had nothing to do in it.
    ///   - ended: how many transfers ended.
    ///   - running: how many are under way.
    package mutating func turned(slept: Duration, ended: Int, running: Int, now: ContinuousClock.Instant) {
        self.slept += slept
        self.ended += ended
        let length = now - windowBegan
        guard length >= Self.window else { return }
        decide(idle: self.slept / length, rate: Double(self.ended) / (length / .seconds(1)), running: running, now)
        windowBegan = now
        self.slept = .zero
        self.ended = 0
    }

    private mutating func decide(idle: Double, rate: Double, running: Int, _ now: ContinuousClock.Instant) {
        if idle > 0.25 {
            if most < .max { phase = .resting(until: now + Self.pause) }
            most = .max
            return
        }
        switch phase {
        case .resting(let until):
            if now >= until, idle < 0.1 { tryFewer(than: min(most, running), rate) }
        case .settling(let trial):
            phase = .measuring(trial)
        case .measuring(let trial):
            if rate < trial.rate * 0.95 {
                most = trial.most
                phase = .resting(until: now + Self.pause)
            } else {
                phase = .resting(until: now)
                tryFewer(than: most, max(rate, trial.rate))
            }
        }
    }

    private mutating func tryFewer(than running: Int, _ rate: Double) {
        guard running > Self.least else { return }
        phase = .settling(Trial(most: most, rate: rate))
        most = max(Self.least, running / 2)
    }
}
