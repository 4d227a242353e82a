import Primitives
internal import Synchronization

/// A thread for work that blocks, whose end tasks can await: the cooperative pool is as wide as the processor, and a blocked
/// thread of it is missing everywhere.
package final class DedicatedThread: Sendable {
    private final class Outcome: Sendable {
        struct State {
            var result: Result<Void, any Error>?
            var waiting: [CheckedContinuation<Void, any Error>] = []
        }

        let state = Mutex(State())
    }

    private let outcome: Outcome
    private let thread: JoinableThread

    /// - Parameter name: at most 15 bytes, as `top -H` shows it.
    package init(name: String, _ body: @escaping @Sendable () throws -> Void) {
        let outcome = Outcome()
        self.outcome = outcome
        thread = JoinableThread(name: name) {
            let result = Result(catching: body)
            let waiting = outcome.state.withLock { state in
                state.result = result
                return state.waiting
            }
            for continuation in waiting { continuation.resume(with: result) }
        }
    }

    /// Waits for the end of the body, and throws what it threw.
    package func join() async throws {
        try await withCheckedThrowingContinuation { continuation in
            let result = outcome.state.withLock { state in
                if state.result == nil { state.waiting.append(continuation) }
                return state.result
            }
            if let result { continuation.resume(with: result) }
        }
    }
}
