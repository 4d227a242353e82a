/// How many transfers run at once, found by how busy their thread is.
///
/// A thread that never sleeps gets no more done by having more transfers under way: each then only waits longer for its turn, and
/// costs more, since what belongs to it has left the processor's caches. With handlers that answer at once 640 transfers cost
/// a third more time each than 64. So while the thread is busy, fewer may run, and more as soon as it has time: where handlers
/// take their time, it sleeps, and there is no limit. A value without a clock.
package struct Crowd {
    /// How many may run.
    package private(set) var most = Int.max

    private var windowBegan: ContinuousClock.Instant
    private var slept = Duration.zero

    /// Fewer never help: a near handler has answered before the next one is sent.
    private static let least = 64
    /// Milliseconds between two decisions, at least.
    static let window: Int32 = 10

    package init(now: ContinuousClock.Instant) {
        windowBegan = now
    }

    /// The thread waited for something to happen.
    package mutating func slept(from start: ContinuousClock.Instant, until end: ContinuousClock.Instant, running: Int) {
        slept += end - start
        let length = end - windowBegan
        guard length >= .milliseconds(Int(Self.window)) else { return }
        switch slept / length {
        case ..<0.25: most = max(Self.least, min(most, running) / 10 * 9)
        case ..<0.4: break
        case ..<0.6: most = most < Int.max / 2 ? most + most / 4 : .max
        default: most = .max
        }
        windowBegan = end
        slept = .zero
    }
}
