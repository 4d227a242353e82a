import Store

/// When one queue is looked at next. A value without I/O.
///
/// - `due`: looks at the next exchange. Can transition to: all.
/// - `at`: looks again at an instant, 5 to 50 ms apart while publishers are active. Can transition to: `due`, `asleep`, `benched`.
/// - `asleep`: holds the sleep lock, so that whoever makes work notifies. Can transition to: `due`.
/// - `benched`: another worker holds the sleep lock; this one is called when that one has its hands full. Can transition to: `due`.
struct Polling: Sendable {
    enum State: Sendable, Equatable {
        case due
        case at(ContinuousClock.Instant)
        case asleep
        case benched
    }

    private(set) var state = State.due
    /// Whether the next look also tries to fall asleep: after one that found nothing.
    private(set) var wantsSleep = false
    /// Whether the sleep lock is to be given back with the next exchange.
    private(set) var holdsLockAwake = false
    private var interval = Self.shortestInterval

    private static let shortestInterval = Duration.milliseconds(5)
    private static let longestInterval = Duration.milliseconds(50)

    /// Whether the sleep lock is held, awake or asleep.
    var holdsLock: Bool { state == .asleep || holdsLockAwake }

    mutating func found(_ count: Int, of asked: Int, now: ContinuousClock.Instant) {
        if count == 0 {
            guard state != .asleep, state != .benched else { return }
            if wantsSleep {
                state = .at(now + interval)
                interval = min(interval * 2, Self.longestInterval)
            } else {
                wantsSleep = true
                state = .due
            }
            return
        }
        if state == .asleep { holdsLockAwake = true }
        wantsSleep = false
        interval = Self.shortestInterval
        state = count == asked ? .due : .at(now + interval)
    }

    /// The answer to a try for the sleep lock; the claim of the same exchange is reported after it.
    mutating func sleepTried(_ attempt: Exchange.SleepAttempt) {
        if attempt.isHeld { state = .asleep } else if attempt.isHeldByOther { state = .benched }
    }

    /// Somebody made work, or the beat found some.
    mutating func woken() {
        switch state {
        case .asleep:
            holdsLockAwake = true
            state = .due
        case .benched, .at:
            state = .due
        case .due: break
        }
        wantsSleep = false
        interval = Self.shortestInterval
    }

    mutating func gaveLockBack() {
        holdsLockAwake = false
    }

    /// Under a new definition: looks at once, and gives the lock back if it has it.
    mutating func startOver() {
        self = Polling(holdsLockAwake: holdsLock)
    }

    /// A new session has none of the locks of the old one.
    init(holdsLockAwake: Bool = false) {
        self.holdsLockAwake = holdsLockAwake
    }
}
