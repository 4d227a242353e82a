/// How long to wait before the next attempt to connect: 100 ms doubling to 5 s, half of it random, so that workers do not come
/// back in step. Never gives up.
package struct ReconnectBackoff: Sendable {
    private var attempts = 0

    package init() {}

    package mutating func next() -> Duration {
        let delay = min(100 << min(attempts, 6), 5000)
        attempts += 1
        return .milliseconds(Int.random(in: delay / 2...delay))
    }

    package mutating func reset() {
        attempts = 0
    }
}
