import Synchronization
import TestSupport
import Testing

@testable import Engine

struct BeatAlarmTests {
    private final class Sleeper: Sendable {
        let hasWoken = Atomic(false)
    }

    /// A short delay does not wait for a beat that is far away.
    @Test func whatIsDueSoonerEndsTheWait() async throws {
        let alarm = BeatAlarm()
        let sleeper = Sleeper()
        let thread = Task.detached {
            alarm.wait(for: .seconds(3600))
            sleeper.hasWoken.store(true, ordering: .relaxed)
        }
        try await eventually("it wakes") {
            alarm.expect(.now + .seconds(60))
            return sleeper.hasWoken.load(ordering: .relaxed)
        }
        await thread.value
    }
}
