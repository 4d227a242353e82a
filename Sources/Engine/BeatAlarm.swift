import Postgres
import Synchronization

/// When the next beat is, and how to have it sooner: whoever schedules something that is due before it says so, lest a short
/// delay takes as long as a beat.
final class BeatAlarm: Sendable {
    private let wakeup = Wakeup()
    private let next = Mutex(ContinuousClock.now)

    /// Blocks the thread for the duration, or until somebody wants the beat sooner.
    func wait(for duration: Duration) {
        next.withLock { $0 = .now + duration }
        wakeup.wait(for: duration)
    }

    /// Something is due then. The beat that this brings about finds out when exactly.
    func expect(_ due: ContinuousClock.Instant) {
        if next.withLock({ due < $0 }) { wakeup.signal() }
    }

    func ring() {
        wakeup.signal()
    }
}
