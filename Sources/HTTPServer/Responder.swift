/// The duty to answer one request: at once or later, from any thread. Dropped without an answer it answers 500.
package struct Responder: Sendable {
    private let duty: Duty

    private final class Duty: Sendable {
        let exchange: Exchange

        init(_ exchange: Exchange) {
            self.exchange = exchange
        }

        deinit {
            // Of no effect when there was an answer: the first one counts.
            exchange.respond(.unanswered)
        }
    }

    init(_ exchange: Exchange) {
        duty = Duty(exchange)
    }

    /// Only the first answer counts. It is dropped in silence when the client has gone.
    package func respond(_ response: ServerResponse) {
        duty.exchange.respond(response)
    }
}

extension ServerResponse {
    fileprivate static let unanswered = problem(
        status: 500, title: "Internal Server Error", detail: "The request was not answered.")
}
