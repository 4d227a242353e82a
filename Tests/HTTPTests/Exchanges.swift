import HTTPClient
import HTTPServer
import Synchronization
import TestSupport
import Testing

/// An `HTTPClient` that keeps what was reported to it.
final class Exchanges: Sendable {
    private final class Journal: Sendable {
        let ended = Mutex<[HTTPExchange]>([])
    }

    private let journal: Journal
    let client: HTTPClient

    init() {
        let journal = Journal()
        self.journal = journal
        client = HTTPClient { exchanges in journal.ended.withLock { $0 += exchanges } }
    }

    var ended: [HTTPExchange] { journal.ended.withLock { $0 } }

    func wait(for count: Int) async throws {
        try await eventually("\(count) requests end") { self.ended.count >= count }
    }
}

/// Sends one request with a client of its own.
func send(_ request: HTTPRequest) async -> HTTPExchange {
    let caller = HTTPCaller()
    defer { caller.close() }
    return await caller.send(request)
}

extension HTTPExchange {
    /// Fails the test when there is no answer.
    var response: HTTPResponse {
        get throws { try result.get() }
    }

    /// Fails the test when there is an answer.
    var failure: TransportFailure {
        get throws {
            guard case .failure(let failure) = result else { throw UnexpectedAnswer(exchange: self) }
            return failure
        }
    }
}

struct UnexpectedAnswer: Error {
    let exchange: HTTPExchange
}

extension HTTPResponse {
    var text: String { String(decoding: body, as: UTF8.self) }
}

extension HTTPServer {
    var url: String { "http://127.0.0.1:\(port)" }
}
