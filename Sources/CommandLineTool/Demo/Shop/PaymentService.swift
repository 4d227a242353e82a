import Primitives

/// Charges and refunds. The last digit of an order's number says how its card behaves: 4 is declined, at 7 the service is
/// busy for a while, at 9 the first answer is lost.
struct PaymentService: Sendable {
    /// What was taken for an order and not given back.
    private(set) var kept: [Int: Cents] = [:]
    private(set) var charges = 0
    private(set) var refunds = 0
    var takesRefunds = true

    mutating func answer(_ call: ServiceCall) -> ServiceAnswer? {
        switch call {
        case "POST /payments/charges":
            guard let order = call.order, let amount = call.amount else { return .malformed }
            return charge(amount, for: order, attempt: call.attempt)
        case "POST /payments/refunds":
            return call.order.map { refund($0) } ?? .malformed
        case "PUT /payments/refunds":
            // For whoever plays with `outrider dev`: {"open": false}.
            takesRefunds = call.body["open"]?.bool ?? true
            return .done(["open": .bool(takesRefunds)])
        default: return nil
        }
    }

    private mutating func charge(_ amount: Cents, for order: Int, attempt: Int) -> ServiceAnswer {
        switch order % 10 {
        case 4: return .refused(422, "card-declined", "The card of order \(order) is declined.")
        case 7 where attempt <= 2: return .refused(503, "busy", "Payments are busy; try again in a moment.")
        default: break
        }
        kept[order, default: .zero] += amount
        charges += 1
        var answer = ServiceAnswer.done(["charge": "c-\(order)"])
        answer.isLost = order % 10 == 9
        return answer
    }

    /// Of all that was taken for the order: a saga whose charge got no answer does not know more.
    private mutating func refund(_ order: Int) -> ServiceAnswer {
        guard kept[order] != nil else { return .gone }
        guard takesRefunds else { return .refused(403, "refunds-closed", "Payments are closed for refunds.") }
        kept[order] = nil
        refunds += 1
        return .done(["refund": "r-\(order)"])
    }
}
