internal import Synchronization

/// What all requests of one server share.
final class Core: Sendable {
    let maxBodyBytes: Int
    let handler: @Sendable (ServerRequest, Responder) -> Void

    private struct State {
        var waiting: [ObjectIdentifier: Exchange] = [:]
        var stopping = false
    }

    private let state = Mutex(State())

    init(maxBodyBytes: Int, handler: @escaping @Sendable (ServerRequest, Responder) -> Void) {
        self.maxBodyBytes = maxBodyBytes
        self.handler = handler
    }

    /// Notes an exchange that is about to be suspended; false when the server is stopping and nothing may be suspended.
    func willWait(_ exchange: Exchange) -> Bool {
        state.withLock { state in
            if state.stopping { return false }
            state.waiting[ObjectIdentifier(exchange)] = exchange
            return true
        }
    }

    func hasWaited(_ exchange: Exchange) {
        state.withLock { _ = $0.waiting.removeValue(forKey: ObjectIdentifier(exchange)) }
    }

    /// From now on nothing is suspended, and nothing is left so.
    func resumeAll() {
        let waiting = state.withLock { state in
            state.stopping = true
            return Array(state.waiting.values)
        }
        for exchange in waiting { exchange.respond(.stopping) }
    }
}

extension ServerResponse {
    static let stopping = problem(status: 503, title: "Service Unavailable", detail: "The server is stopping.")
}
