import Postgres
import Synchronization

/// Connections for statements of workflow files, which may take their time and are to hold up nobody else: so many at once,
/// each made when it is first needed.
final class StatementPool: Sendable {
    enum Lent<Value: Sendable>: Sendable {
        case value(Value)
        /// The pool was cancelled.
        case stopped
        /// There is no session to be had.
        case failed(String)
    }

    private struct State: Sendable {
        var sessions: [Session] = []
        var idle: [Int] = []
        var waiting: [CheckedContinuation<Int, Never>] = []
        /// Of the statements under way.
        var cancellers: [Int: Canceller] = [:]
        var isCancelled = false
    }

    private let state = Mutex(State())
    private let databaseURL: String
    private let options: ConnectionOptions
    /// Statements at once.
    let connections: Int

    /// - Parameter name: of the worker.
    init(databaseURL: String, worker name: String, connections: Int) {
        var options = ConnectionOptions()
        options.applicationName = "outrider \(name) steps"
        options.settings =
            [
                ("jit", "off"), ("client_min_messages", "warning"),
                // The statement of a worker that was killed ends with it, and does not go on holding its locks.
                ("client_connection_check_interval", "1s"),
            ] + ConnectionOptions.sessionOfAWorker
        self.databaseURL = databaseURL
        self.options = options
        self.connections = connections
    }

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Ends what is under way, and refuses what comes.
    func cancelAll() {
        let (cancellers, waiting) = state.withLock { state in
            state.isCancelled = true
            defer { state.waiting = [] }
            return (Array(state.cancellers.values), state.waiting)
        }
        for one in waiting { one.resume(returning: -1) }
        // Where the server cannot be reached there is nothing to cancel.
        for canceller in cancellers { try? canceller.cancel() }
    }

    func close() async {
        cancelAll()
        for session in state.withLock({ $0.sessions }) { await session.close() }
    }

    /// Lends a connection; waits while all are lent.
    ///
    /// - Parameter body: gives nil when the session turns out to be gone before anything was done: of one that was lost while
    ///   it was idle one hears only when it is used.
    func lend<Value: Sendable>(_ body: @escaping @Sendable (Connection) throws -> Value?) async -> Lent<Value> {
        let number = await enter()
        guard number >= 0, let session = state.withLock({ $0.isCancelled ? nil : $0.sessions[number] }) else {
            return .stopped
        }
        defer { leave(number) }
        for _ in 1...2 {
            do {
                let value = try await session.run { [self] connection in
                    state.withLock { $0.cancellers[number] = connection.canceller() }
                    defer { state.withLock { $0.cancellers[number] = nil } }
                    return try body(connection)
                }
                if let value { return .value(value) }
            } catch {
                return .failed("\(error)")
            }
        }
        return .failed("the session with the database is lost again and again")
    }

    /// The number of a connection that nobody uses; waits while there is none.
    private func enter() async -> Int {
        await withCheckedContinuation { continuation in
            let number: Int? = state.withLock { state in
                if state.isCancelled { return -1 }
                if let idle = state.idle.popLast() { return idle }
                if state.sessions.count < connections {
                    state.sessions.append(Session(databaseURL, options: options))
                    return state.sessions.count - 1
                }
                state.waiting.append(continuation)
                return nil
            }
            if let number { continuation.resume(returning: number) }
        }
    }

    private func leave(_ number: Int) {
        let next = state.withLock { state in
            if state.waiting.isEmpty {
                state.idle.append(number)
                return CheckedContinuation<Int, Never>?.none
            }
            return state.waiting.removeFirst()
        }
        next?.resume(returning: number)
    }
}
