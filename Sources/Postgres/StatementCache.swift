/// Names of prepared statements by their text and the types of their parameters; the one unused longest makes room.
struct StatementCache {
    enum Use: Equatable {
        case known(String)
        /// To be prepared under this name; `evicted` is of no use any more.
        case new(String, evicted: String?)
    }

    private struct Entry {
        let name: String
        /// A text with other types is another statement: the server took its types over when it was prepared.
        let types: [UInt32]
        var usedAt: Int
    }

    private let capacity: Int
    private var entries: [String: Entry] = [:]
    private var clock = 0

    init(capacity: Int) {
        self.capacity = capacity
    }

    mutating func use(_ text: String, types: some Sequence<UInt32>) -> Use {
        clock += 1
        var evicted: String?
        if let entry = entries[text] {
            if entry.types.elementsEqual(types) {
                entries[text]?.usedAt = clock
                return .known(entry.name)
            }
            evicted = entry.name
        } else if entries.count == capacity, let oldest = entries.min(by: { $0.value.usedAt < $1.value.usedAt }) {
            entries[oldest.key] = nil
            evicted = oldest.value.name
        }
        let name = "s\(clock)"
        entries[text] = Entry(name: name, types: Array(types), usedAt: clock)
        return .new(name, evicted: evicted)
    }

    @discardableResult
    mutating func forget(_ text: String) -> String? {
        entries.removeValue(forKey: text)?.name
    }
}
