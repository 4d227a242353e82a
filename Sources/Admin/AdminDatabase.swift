import Postgres
import Store
import Synchronization

/// The database for the API: a few connections, each made when it is first needed. A statement that waits for somebody's
/// transaction, as the start of a saga may whose key another one is about to take, holds up the other requests no longer.
final class AdminDatabase: Sendable {
    private let sessions: [Session]
    /// How many requests wait for each session.
    private let loads: Mutex<[Int]>

    /// The server had closed the connection before anything was asked of it.
    private struct Ended: Error {}

    init(_ url: String, connections: Int = 4) {
        var options = ConnectionOptions()
        options.applicationName = "outrider api"
        options.statementTimeout = .seconds(10)
        // One of few connections waits for no room in a topic: the caller may, and come again.
        options.settings = [
            ("TimeZone", "UTC"), ("default_transaction_isolation", "read committed"), ("outrider.block_for", "0"),
        ]
        sessions = (0..<connections).map { _ in Session(url, options: options) }
        loads = Mutex(Array(repeating: 0, count: connections))
    }

    func run<T: Sendable>(_ body: @escaping @Sendable (Operations) throws -> T) async throws -> T {
        let index = loads.withLock { loads in
            let index = loads.indices.min { loads[$0] < loads[$1] } ?? 0
            loads[index] += 1
            return index
        }
        defer { loads.withLock { $0[index] -= 1 } }
        do {
            return try await attempt(body, sessions[index])
        } catch is Ended {
            return try await attempt(body, sessions[index])
        }
    }

    private func attempt<T: Sendable>(
        _ body: @escaping @Sendable (Operations) throws -> T, _ session: Session
    ) async throws -> T {
        try await session.run { connection in
            // The server may have been restarted meanwhile.
            guard !connection.hasEnded else { throw Ended() }
            return try body(Operations(connection))
        }
    }

    func close() async {
        for session in sessions { await session.close() }
    }
}
