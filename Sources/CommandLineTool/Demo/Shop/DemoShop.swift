import HTTPServer
import Primitives
import Synchronization

/// A small shop: what the workflow files in `Workflows/` deliver to. Mail, warehouse and billing take messages, which is
/// here; what sagas call is `DemoServices`.
///
/// They behave like real ones: mail is sometimes busy, the warehouse can be taken down, and the billing refuses orders of
/// blocked cards until somebody unblocks them. Each keeps a ledger of what it did, by idempotency key, which is what the
/// demo is checked against in the end.
final class DemoShop: Sendable {
    struct Ledger: Sendable {
        /// Numbers of orders that were created, by service.
        var orders: [String: Set<Int>] = [:]
        /// What else the warehouse was told of orders, once for each message: numbers by topic.
        var told: [String: [Int]] = [:]
        var requests = 0
        var refusals = 0
        /// Requests that repeated one that had been done: recognised by their key, done once.
        var repeats = 0
        fileprivate var keys: Set<String> = []
    }

    private struct State: Sendable {
        var ledger = Ledger()
        var isWarehouseDown = false
        var blocksCards = true
    }

    let services = DemoServices()
    private let state = Mutex(State())

    var ledger: Ledger { state.withLock { $0.ledger } }

    func takeWarehouse(down: Bool) {
        state.withLock { $0.isWarehouseDown = down }
    }

    func unblockCards() {
        state.withLock { $0.blocksCards = false }
    }

    func answer(_ request: ServerRequest, _ responder: Responder) {
        let service = String(request.path.dropFirst())
        if ["email", "warehouse", "bills"].contains(service) {
            responder.respond(answer(request, of: service))
        } else if let (response, delay) = services.answer(request) {
            Task {
                try await Task.sleep(for: delay)
                responder.respond(response)
            }
        } else {
            responder.respond(
                .problem(
                    status: 404, title: "No such service",
                    detail: "The shop has /email, /warehouse and /bills, and what the sagas in Workflows call."))
        }
    }

    private func answer(_ request: ServerRequest, of service: String) -> ServerResponse {
        guard let order = (try? JSON(parsing: request.body))?["orderId"]?.int,
            let key = request.headers["idempotency-key"]
        else {
            return .problem(
                status: 400, title: "Not an order", detail: "Expected a body with an orderId, and an Idempotency-Key.")
        }
        let attempt = request.headers["outrider-attempt"].flatMap(Int.init) ?? 1
        return state.withLock { state in
            state.ledger.requests += 1
            if let refusal = refusal(of: order, by: service, attempt: attempt, state) {
                state.ledger.refusals += 1
                return refusal
            }
            let topic = request.headers["ce-type"] ?? "order.created"
            if !state.ledger.keys.insert("\(service) \(key)").inserted {
                state.ledger.repeats += 1
            } else if topic == "order.created" {
                state.ledger.orders[service, default: []].insert(order)
            } else {
                state.ledger.told[topic, default: []].append(order)
            }
            return .json(["done": true])
        }
    }

    private func refusal(of order: Int, by service: String, attempt: Int, _ state: State) -> ServerResponse? {
        switch service {
        case "email" where order % 7 == 0 && attempt <= 2:
            .problem(status: 503, title: "Mail server busy", detail: "Try again in a moment.")
        case "warehouse" where state.isWarehouseDown:
            .problem(status: 502, title: "Bad gateway", detail: "The warehouse does not answer.")
        case "bills" where order % 100 == 42 && state.blocksCards:
            .problem(
                status: 422, title: "Card blocked", detail: "The card of order \(order) is blocked.",
                type: "https://shop.example/problems/card-blocked")
        default: nil
        }
    }
}
