internal import CLibCurl
internal import Glibc
internal import Synchronization

/// What other threads want of the client's thread, and the way to wake it.
final class Inbox: Sendable {
    struct Orders {
        /// To be started.
        var requests: [HTTPRequest] = []
        /// Taken back before they were started.
        var withdrawn: [HTTPRequest] = []
        /// Everything started earlier is to be cancelled. What is in `requests` came later and is not meant.
        var cancelStarted = false
        var close = false

        var isEmpty: Bool { requests.isEmpty && withdrawn.isEmpty && !cancelStarted && !close }
    }

    private struct State {
        var orders = Orders()
        var asleep = false
        var closed = false

        mutating func cancel() {
            orders.withdrawn += orders.requests
            orders.requests = []
            orders.cancelStarted = true
        }
    }

    let onCompletion: @Sendable ([HTTPExchange]) -> Void
    /// Readable when there are orders for a thread that sleeps.
    let wakeUp: Int32
    private let state = Mutex(State())

    init(onCompletion: @escaping @Sendable ([HTTPExchange]) -> Void) {
        self.onCompletion = onCompletion
        wakeUp = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        precondition(wakeUp >= 0, "eventfd failed with errno \(errno)")
    }

    deinit {
        _ = Glibc.close(wakeUp)
    }

    /// False when the client is closed.
    func put(_ requests: [HTTPRequest]) -> Bool {
        change { state in
            if state.closed { return false }
            if state.orders.requests.isEmpty {
                state.orders.requests = requests
            } else {
                state.orders.requests += requests
            }
            return true
        }
    }

    func cancelAll() {
        change { $0.cancel() }
    }

    func close() {
        change { state in
            state.cancel()
            state.orders.close = true
            state.closed = true
        }
    }

    /// Hands over all orders; afterwards nobody bothers to wake the thread until it calls `fallAsleep`.
    func take() -> Orders {
        state.withLock { state in
            state.asleep = false
            let orders = state.orders
            state.orders = Orders()
            return orders
        }
    }

    /// False when there are orders to be taken first.
    func fallAsleep() -> Bool {
        state.withLock { state in
            state.asleep = state.orders.isEmpty
            return state.asleep
        }
    }

    private func change<Value: Sendable>(_ body: (inout sending State) -> Value) -> Value {
        let (value, wake) = state.withLock { state in
            let value = body(&state)
            let wake = state.asleep
            state.asleep = false
            return (value, wake)
        }
        if wake {
            var one: UInt64 = 1
            _ = write(wakeUp, &one, 8)
        }
        return value
    }
}
