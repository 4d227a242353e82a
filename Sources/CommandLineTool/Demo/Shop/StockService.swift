/// What lies on the shelves, and for which orders it is kept.
struct StockService: Sendable {
    /// Reserved for an order and not released: counts by article.
    private(set) var reserved: [Int: [String: Int]] = [:]
    private var shelves = ["tea": 1000, "cup": 1000, "kettle": 500, "desk": 100, "piano": 20]

    mutating func answer(_ call: ServiceCall) -> ServiceAnswer? {
        switch call {
        case "POST /stock/reservations": call.order.map { reserve(call.items, for: $0) } ?? .malformed
        case "DELETE /stock/reservations/*": release(Int(call.path[2]) ?? 0)
        default: nil
        }
    }

    private mutating func reserve(_ items: [String: Int], for order: Int) -> ServiceAnswer {
        if let (article, count) = items.first(where: { shelves[$0.key, default: 0] < $0.value }) {
            return .refused(422, "out-of-stock", "There are no \(count) of \(article) left.")
        }
        for (article, count) in items {
            shelves[article]! -= count
            reserved[order, default: [:]][article, default: 0] += count
        }
        return .done()
    }

    private mutating func release(_ order: Int) -> ServiceAnswer {
        guard let items = reserved.removeValue(forKey: order) else { return .gone }
        for (article, count) in items { shelves[article]! += count }
        return .undone
    }
}
