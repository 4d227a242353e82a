package import HTTPServer
import Synchronization

/// A handler for tests: keeps every request, answers what the test says.
package final class HandlerServer: Sendable {
    package struct Received: Sendable {
        package let request: ServerRequest
        package let at: ContinuousClock.Instant
        package var body: String { String(decoding: request.body, as: UTF8.self) }
        package func header(_ name: String) -> String? { request.headers[name] }
    }

    private let journal: Journal
    private let server: HTTPServer

    private final class Journal: Sendable {
        let received = Mutex<[Received]>([])
    }

    /// What it does with a request.
    package struct Behaviour: Sendable {
        fileprivate let answer: @Sendable (Received) -> ServerResponse?

        package static let answersOK = answers(.text("ok"))
        /// Takes the request and never answers.
        package static let hangs = decides { _ in nil }

        package static func answers(_ response: ServerResponse) -> Behaviour { decides { _ in response } }

        /// - Parameter answer: called for each request on the server's thread; nil leaves it unanswered.
        package static func decides(_ answer: @escaping @Sendable (Received) -> ServerResponse?) -> Behaviour {
            Behaviour(answer: answer)
        }
    }

    package init(_ behaviour: Behaviour = .answersOK) throws {
        let journal = Journal()
        let held = Mutex<[Responder]>([])
        let keeper = Held(held)
        self.journal = journal
        server = try HTTPServer(address: "127.0.0.1:0") { request, responder in
            let received = Received(request: request, at: .now)
            let response = behaviour.answer(received)
            journal.received.withLock { $0.append(received) }
            if let response { responder.respond(response) } else { keeper.hold(responder) }
        }
    }

    /// Requests that are left hanging stay open until the server stops.
    private final class Held: Sendable {
        private let responders: Mutex<[Responder]>
        init(_ responders: consuming Mutex<[Responder]>) { self.responders = responders }
        func hold(_ responder: Responder) { responders.withLock { $0.append(responder) } }
    }

    deinit { server.stop() }

    package var url: String { "http://127.0.0.1:\(server.port)" }
    package var received: [Received] { journal.received.withLock { $0 } }
    package func received(at path: String) -> [Received] { received.filter { $0.request.path == path } }
    package func count(_ path: String? = nil) -> Int { path.map { received(at: $0).count } ?? received.count }
    package func forget() { journal.received.withLock { $0 = [] } }
    package func stop() { server.stop() }

    package func wait(for count: Int, at path: String? = nil, within limit: Duration = .seconds(20)) async throws {
        try await eventually("the handler has \(count) requests (has \(self.count(path)))", within: limit) {
            self.count(path) >= count
        }
    }
}
