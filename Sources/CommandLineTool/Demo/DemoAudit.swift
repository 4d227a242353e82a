/// The services' ledgers against the sagas' outcomes: what the orders of completed sagas need was done, once, and nothing else.
struct DemoAudit {
    let completed: [DemoOrder]
    private let undone: [DemoOrder]
    private let orders: [DemoOrder]
    private let statuses: [Int: String]
    private let ledger: DemoServices.Ledger
    private let told: [String: [Int]]

    /// - Parameters:
    ///   - statuses: of the sagas, by order.
    ///   - told: what the warehouse heard of, by topic.
    init(orders: [DemoOrder], statuses: [Int: String], ledger: DemoServices.Ledger, told: [String: [Int]]) {
        self.orders = orders
        self.statuses = statuses
        self.ledger = ledger
        self.told = told
        completed = orders.filter { statuses[$0.number] == "completed" }
        undone = orders.filter { statuses[$0.number] == "compensated" }
    }

    var lines: [String] {
        let money = ledger.kept.values.reduce(.zero, +)
        let wanted = completed.reduce(.zero) { $0 + $1.total }
        let things = ledger.reserved.values.reduce(0) { $0 + $1.values.reduce(0, +) }
        let wantedThings = completed.reduce(0) { $0 + $1.counts.values.reduce(0, +) }
        return [
            "money kept: \(money), the orders' totals: \(wanted) (charges: \(ledger.charges), refunds: \(ledger.refunds))",
            "stock reserved: \(things) articles for \(ledger.reserved.count) orders, their items: \(wantedThings)",
            "parcels: \(ledger.parcels.count)",
            """
            the warehouse was told of \(told["order.shipped", default: []].count) shipped orders and \
            \(told["order.cancelled", default: []].count) cancelled ones, of \(undone.count) that were undone
            """,
            "requests that repeated a done one, and were not done again: \(ledger.repeats) of \(ledger.requests)",
        ]
    }

    /// What does not agree, order by order.
    var differences: [String] {
        var differences = orders.compactMap { order -> String? in
            let expected = order.isToComplete ? ["completed"] : ["compensated", "failed"]
            let status = statuses[order.number] ?? "not there"
            return expected.contains(status)
                ? nil : "order \(order.number) is \(status); expected \(expected.joined(separator: " or "))"
        }
        differences += compare("money", ledger.kept, completed.map { ($0.number, $0.total) })
        differences += compare("stock", ledger.reserved, completed.map { ($0.number, $0.counts) })
        differences += compare("parcels", counts(ledger.parcels), completed.map { ($0.number, 1) })
        differences += compare("shipped", counts(told["order.shipped", default: []]), completed.map { ($0.number, 1) })
        differences += compare("cancelled", counts(told["order.cancelled", default: []]), undone.map { ($0.number, 1) })
        return differences
    }

    private func counts(_ numbers: [Int]) -> [Int: Int] {
        Dictionary(numbers.map { ($0, 1) }, uniquingKeysWith: +)
    }

    private func compare<Value: Equatable>(
        _ what: String, _ found: [Int: Value], _ pairs: [(Int, Value)]
    ) -> [String] {
        let expected = Dictionary(uniqueKeysWithValues: pairs)
        return Set(found.keys).union(expected.keys).sorted().filter { found[$0] != expected[$0] }.map {
            "\(what) of order \($0): \(found[$0].map { "\($0)" } ?? "none"); expected \(expected[$0].map { "\($0)" } ?? "none")"
        }
    }
}
