internal import Synchronization

/// One request at a time and its answer, for commands and tests; what sends thousands uses `HTTPClient`.
package final class HTTPCaller: Sendable {
    private let waiting: Waiting
    private let client: HTTPClient

    private final class Waiting: Sendable {
        struct State {
            var lastID: UInt64 = 0
            var continuations: [UInt64: (CheckedContinuation<HTTPExchange, Never>, callersID: UInt64)] = [:]
        }

        let state = Mutex(State())

        func resume(_ exchanges: [HTTPExchange]) {
            for exchange in exchanges {
                let waiter = state.withLock { $0.continuations.removeValue(forKey: exchange.id) }
                guard let (continuation, callersID) = waiter else { continue }
                continuation.resume(
                    returning: HTTPExchange(id: callersID, result: exchange.result, duration: exchange.duration))
            }
        }
    }

    package init() {
        let waiting = Waiting()
        self.waiting = waiting
        client = HTTPClient { waiting.resume($0) }
    }

    package func send(_ request: HTTPRequest) async -> HTTPExchange {
        await withCheckedContinuation { continuation in
            var numbered = request
            numbered.id = waiting.state.withLock { state in
                state.lastID += 1
                state.continuations[state.lastID] = (continuation, request.id)
                return state.lastID
            }
            client.submit([numbered])
        }
    }

    /// Ends what is under way as cancelled.
    package func close() {
        client.close()
    }
}
