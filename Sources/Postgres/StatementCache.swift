/// Names of prepared statements by their text; the one unused longest makes room.
struct StatementCache {
    enum Use: Equatable {
        case known(String)
        case new(String, evicted: String?)
    }

    private let capacity: Int
    private var entries: [String: (name: String, usedAt: Int)] = [:]
    private var clock = 0

    init(capacity: Int) {
        self.capacity = capacity
    }

    mutating func use(_ text: String) -> Use {
        clock += 1
        if let entry = entries[text] {
            entries[text] = (entry.name, clock)
            return .known(entry.name)
        }
        var evicted: String?
        if entries.count == capacity, let oldest = entries.min(by: { $0.value.usedAt < $1.value.usedAt }) {
            entries[oldest.key] = nil
            evicted = oldest.value.name
        }
        let name = "s\(clock)"
        entries[text] = (name, clock)
        return .new(name, evicted: evicted)
    }

    @discardableResult
    mutating func forget(_ text: String) -> String? {
        entries.removeValue(forKey: text)?.name
    }
}
