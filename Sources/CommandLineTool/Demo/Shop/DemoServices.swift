import HTTPServer
import Primitives
import Synchronization

/// The services that the sagas of `Workflows/` call. Each does its work in a file of its own; what all have in common is here:
/// they take their time, do nothing twice, and refuse an action whose undo came first.
final class DemoServices: Sendable {
    /// What they did, by their own books.
    struct Ledger: Sendable {
        var reserved: [Int: [String: Int]]
        var kept: [Int: Cents]
        var charges: Int
        var refunds: Int
        var parcels: [Int]
        var requests: Int
        /// Requests that came again after they had been done: recognised by their key, done once.
        var repeats: Int
    }

    fileprivate struct State: Sendable {
        var stock = StockService()
        var payments = PaymentService()
        var shipping = ShippingService()
        var banks = BankService()
        var office = OfficeService()
        /// Answers to what was done, by `Idempotency-Key`.
        var answers: [String: ServiceAnswer] = [:]
        /// Keys of actions that were undone, or are never to be done.
        var undone: Set<String> = []
        var requests = 0
        var repeats = 0

        mutating func answer(_ call: ServiceCall) -> ServiceAnswer? {
            switch call.path.first {
            case "stock": stock.answer(call)
            case "payments": payments.answer(call)
            case "shipping": shipping.answer(call)
            case "banks": banks.answer(call)
            case "it", "facilities": office.answer(call)
            default: nil
            }
        }
    }

    private let state = Mutex(State())

    var ledger: Ledger {
        state.withLock { state in
            Ledger(
                reserved: state.stock.reserved, kept: state.payments.kept, charges: state.payments.charges,
                refunds: state.payments.refunds, parcels: state.shipping.parcels, requests: state.requests,
                repeats: state.repeats)
        }
    }

    func takeRefunds(_ takesRefunds: Bool) {
        state.withLock { $0.payments.takesRefunds = takesRefunds }
    }

    /// Does at once what it is asked, and says so after a while. Nil when no service knows the path.
    func answer(_ request: ServerRequest) -> (response: ServerResponse, delay: Duration)? {
        let call = ServiceCall(
            method: request.method, path: request.segments, body: (try? JSON(parsing: request.body)) ?? .null,
            attempt: request.headers["outrider-attempt"].flatMap(Int.init) ?? 1)
        let key = request.headers["idempotency-key"]
        let forwardKey = request.headers["outrider-forward-idempotency-key"]
        guard let answer = state.withLock({ $0.answer(call, key: key, forwardKey: forwardKey) }) else { return nil }
        let response =
            answer.isLost
            ? .problem(status: 504, title: "Gateway timeout", detail: "The service did not answer in time.")
            : answer.response
        return (response, Self.time(of: call))
    }

    /// How long it takes: not the same for all, and the same in every run.
    private static func time(of call: ServiceCall) -> Duration {
        let spread = (call.order ?? 0) * 7 % 10
        return switch call.path.first {
        case "stock": .milliseconds(20 + 4 * spread)
        case "payments": .milliseconds(60 + 10 * spread)
        case "shipping": .milliseconds(150 + 20 * spread)
        default: .milliseconds(30)
        }
    }
}

extension DemoServices.State {
    /// - Parameter forwardKey: of the action that this request undoes.
    fileprivate mutating func answer(_ call: ServiceCall, key: String?, forwardKey: String?) -> ServiceAnswer? {
        requests += 1
        if let key, var answer = answers[key] {
            repeats += 1
            // Only the first one got lost.
            answer.isLost = false
            return answer
        }
        if let key, undone.contains(key) {
            return .refused(422, "undone", "What this would do has been undone already.")
        }
        guard let answer = answer(call) else { return nil }
        if let forwardKey, answer.isDone || answer.response.status == 404 { undone.insert(forwardKey) }
        if let key, answer.isDone { answers[key] = answer }
        return answer
    }
}
