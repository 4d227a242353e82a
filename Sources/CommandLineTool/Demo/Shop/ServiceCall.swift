import HTTPServer
import Primitives

/// A request of a saga's step, as one of the shop's services sees it.
struct ServiceCall: Sendable {
    let method: String
    let path: [String]
    let body: JSON
    let attempt: Int

    /// What the body says of an order.
    var order: Int? { body["orderId"]?.int }
    var amount: Cents? { body["amount"]?.double.map { Cents($0) } }
    var items: [String: Int] {
        (body["items"]?.array ?? []).reduce(into: [:]) { counts, item in
            counts[item["sku"]?.string ?? "", default: 0] += item["count"]?.int ?? 0
        }
    }

    /// `POST /banks/*/withdrawals`: a star stands for one segment, as an expression does in the workflow file.
    static func ~= (pattern: String, call: ServiceCall) -> Bool {
        let parts = pattern.split(whereSeparator: { $0 == " " || $0 == "/" })
        return parts.count == call.path.count + 1 && parts[0] == call.method
            && zip(parts.dropFirst(), call.path).allSatisfy { $0 == "*" || $0 == $1 }
    }
}

/// What a service answers. A 2xx says that it was done: the same request gets the same answer again, and nothing is done.
struct ServiceAnswer: Sendable {
    let response: ServerResponse
    /// It was done, but the answer does not arrive: a gateway says that it has heard nothing.
    var isLost = false

    static func done(_ body: JSON = ["done": true]) -> ServiceAnswer {
        ServiceAnswer(response: .json(body, status: 201))
    }

    static let undone = ServiceAnswer(response: ServerResponse(status: 204))
    static let gone = refused(404, "gone", "There is no such thing any more, or there never was.")
    static let malformed = refused(400, "malformed", "The body lacks what this request needs.")

    static func refused(_ status: Int, _ type: String, _ detail: String) -> ServiceAnswer {
        ServiceAnswer(
            response: .problem(
                status: status, title: type.replacing("-", with: " "), detail: detail,
                type: "https://shop.example/problems/\(type)"))
    }

    var isDone: Bool { response.status < 300 }
}

/// Money, to the cent.
struct Cents: Sendable, Hashable, Comparable, CustomStringConvertible {
    var count: Int

    init(count: Int) { self.count = count }
    init(_ amount: Double) { count = Int((amount * 100).rounded()) }

    static let zero = Cents(count: 0)
    static func < (left: Cents, right: Cents) -> Bool { left.count < right.count }
    static func + (left: Cents, right: Cents) -> Cents { Cents(count: left.count + right.count) }
    static func - (left: Cents, right: Cents) -> Cents { Cents(count: left.count - right.count) }
    static func += (left: inout Cents, right: Cents) { left.count += right.count }
    static func -= (left: inout Cents, right: Cents) { left.count -= right.count }

    /// `42.50`
    var description: String {
        let cents = abs(count % 100)
        return "\(count < 0 ? "-" : "")\(abs(count / 100)).\(cents < 10 ? "0" : "")\(cents)"
    }
}
