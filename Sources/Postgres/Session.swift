import Primitives
internal import Synchronization

/// A connection that is lent to one unit of work after the other, on a thread of its own: one hop for a unit, whatever it does.
/// A lost connection is made anew for the next unit.
package final class Session: Sendable {
    private typealias Unit = @Sendable (inout Connection?) -> Void

    private struct State: Sendable {
        var units: [Unit] = []
        var isClosed = false
    }

    private final class Inbox: Sendable {
        let state = Mutex(State())
        let wakeup = Wakeup()
    }

    private let inbox = Inbox()
    private let conninfo: String
    private let options: ConnectionOptions
    private let thread: DedicatedThread

    package init(_ conninfo: String, options: ConnectionOptions = ConnectionOptions()) {
        self.conninfo = conninfo
        self.options = options
        let inbox = inbox
        thread = DedicatedThread(name: "outrider-sql") {
            var connection: Connection?
            while true {
                let (units, isClosed) = inbox.state.withLock { state in
                    defer { state.units = [] }
                    return (state.units, state.isClosed)
                }
                for unit in units { unit(&connection) }
                if isClosed { return }
                if units.isEmpty { inbox.wakeup.wait(for: .seconds(3600)) }
            }
        }
    }

    deinit {
        inbox.state.withLock { $0.isClosed = true }
        inbox.wakeup.signal()
    }

    /// Runs the body with the connection. Bodies run one after the other.
    package func run<T: Sendable>(_ body: @escaping @Sendable (Connection) throws -> T) async throws -> T {
        let (conninfo, options) = (conninfo, options)
        return try await withCheckedThrowingContinuation { continuation in
            let unit: Unit = { connection in
                let result = Result {
                    let current = try connection ?? Connection(conninfo, options: options)
                    connection = current
                    return try body(current)
                }
                // Also when the body kept the error to itself.
                if connection?.isLost == true || result.isLoss { connection = nil }
                continuation.resume(with: result)
            }
            let isClosed = inbox.state.withLock { state in
                if !state.isClosed { state.units.append(unit) }
                return state.isClosed
            }
            if isClosed {
                continuation.resume(throwing: PostgresError.connectionLost("the session was closed"))
            } else {
                inbox.wakeup.signal()
            }
        }
    }

    /// Waits for what is under way, and disconnects.
    package func close() async {
        inbox.state.withLock { $0.isClosed = true }
        inbox.wakeup.signal()
        // The thread's body throws nothing.
        try? await thread.join()
    }
}

extension Result {
    fileprivate var isLoss: Bool {
        if case .failure(let error as PostgresError) = self { error.kind == .connectionLost } else { false }
    }
}
