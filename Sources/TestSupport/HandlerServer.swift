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
    private let held: Held
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
        let (journal, held) = (Journal(), Held())
        self.journal = journal
        self.held = held
        server = try HTTPServer(address: "127.0.0.1:0") { request, responder in
            let received = Received(request: request, at: .now)
            let response = behaviour.answer(received)
            journal.received.withLock { $0.append(received) }
            if let response { responder.respond(response) } else { held.hold(responder) }
        }
    }

    /// Requests that are left hanging stay open until they are answered after all, or the server stops.
    private final class Held: Sendable {
        private let state = Mutex((responders: [Responder](), answer: ServerResponse?.none))

        func hold(_ responder: Responder) {
            let answer = state.withLock { state in
                if state.answer == nil { state.responders.append(responder) }
                return state.answer
            }
            if let answer { responder.respond(answer) }
        }

        func release(_ answer: ServerResponse) {
            let responders = state.withLock { state in
                state.answer = answer
                defer { state.responders = [] }
                return state.responders
            }
            for responder in responders { responder.respond(answer) }
        }
    }

    deinit { server.stop() }

    package var url: String { "http://127.0.0.1:\(server.port)" }
    package var received: [Received] { journal.received.withLock { $0 } }
    package func received(at path: String) -> [Received] { received.filter { $0.request.path == path } }
    package func count(_ path: String? = nil) -> Int { path.map { received(at: $0).count } ?? received.count }
    package func forget() { journal.received.withLock { $0 = [] } }
    package func stop() { server.stop() }
    /// Answers what was left unanswered, and at once what would be from now on.
    package func answerHeld(_ response: ServerResponse = .text("ok")) { held.release(response) }

    package func wait(for count: Int, at path: String? = nil, within limit: Duration = .seconds(20)) async throws {
        try await eventually("the handler has \(count) requests (has \(self.count(path)))", within: limit) {
            self.count(path) >= count
        }
    }
}
