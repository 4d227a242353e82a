import HTTPServer
import Synchronization

/// Keeps the duties to answer that a server's handler hands to it.
final class Keeper: Sendable {
    private let responders = Mutex<[Responder]>([])

    var count: Int { responders.withLock { $0.count } }
    func keep(_ responder: Responder) { responders.withLock { $0.append(responder) } }

    /// Gives all of them up: to be answered or dropped.
    func take() -> [Responder] {
        responders.withLock { responders in
            defer { responders = [] }
            return responders
        }
    }

    func respond(_ response: ServerResponse) {
        for responder in take() { responder.respond(response) }
    }
}
