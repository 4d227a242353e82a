import Primitives

/// An order of the demo's second part, and what must become of it by the rules of the services in `Shop/`.
struct DemoOrder: Sendable {
    let number: Int
    let items: [(article: String, count: Int)]

    private static let prices = ["tea": 4.50, "cup": 12, "kettle": 39.90, "desk": 500, "piano": 900, "comet": 77]

    /// Somebody has to approve it.
    static let large = DemoOrder(number: 2000, items: [("desk", 5)])
    /// Nobody carries it.
    static let piano = DemoOrder(number: 3000, items: [("piano", 1)])

    /// Orders of every kind, the two above first.
    static func some(_ count: Int) -> [DemoOrder] {
        [large, piano]
            + (1...count - 2).map { index in
                let items: [(String, Int)] =
                    switch index % 15 {
                    case 8: [("tea", 1), ("comet", 1)]
                    case 0...4: [("tea", 1 + index % 3)]
                    case 5...9: [("cup", 2), ("tea", 1)]
                    default: [("kettle", 1), ("cup", index % 4 + 1)]
                    }
                return DemoOrder(number: 1000 + index, items: items)
            }
    }

    var total: Cents { items.reduce(.zero) { $0 + Cents(Self.prices[$1.article]! * Double($1.count)) } }

    var counts: [String: Int] { Dictionary(items.map { ($0.article, $0.count) }) { $0 + $1 } }

    /// Otherwise it ends undone: `compensated`, or `failed` where nothing had been done. What the dead worker had under way may
    /// have been done for all that its successor knows, and is undone, so that which of the two it is depends on the moment.
    var isToComplete: Bool {
        let isDeclined = number % 10 == 4
        return !isDeclined && !items.contains { $0.article == "comet" || $0.article == "piano" }
    }

    /// The saga's input.
    var input: JSON {
        [
            "orderId": JSON(number), "total": .number(JSONNumber(digits: "\(total)")),
            "items": .array(items.map { ["sku": .string($0.article), "count": JSON($0.count)] }),
        ]
    }
}
