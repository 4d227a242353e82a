internal import Primitives

/// The options of one mapping; keys that it does not know are reported when it is made.
///
/// A decoder reads all its options before it gives up, so that all errors show at once.
package struct Fields {
    package let mapping: Node.Mapping
    package let report: Report
    /// What the mapping is, for messages: `a subscription`.
    let what: String
    private let known: [String]
    private let later: [String]

    /// - Parameters:
    ///   - known: the keys that have a meaning.
    ///   - later: the keys that the language has and this release does not.
    package init(_ mapping: Node.Mapping, of what: String, known: [String], later: [String] = [], _ report: Report) {
        self.mapping = mapping
        self.report = report
        self.what = what
        self.known = known
        self.later = later
        for entry in mapping.entries where !known.contains(entry.name) { refuse(entry) }
    }

    /// The same, of a value that ought to be a mapping; nil, and reported, when it is none.
    package init?(_ node: Node, of what: String, known: [String], later: [String] = [], _ report: Report) {
        guard case .mapping(let mapping) = node else {
            let keys = known.prefix(3).joined(separator: ", ") + (known.count > 3 ? ", …" : "")
            report.error(at: node.position, "\(node.called) stands for \(what)", expected: "a mapping with \(keys)")
            return nil
        }
        self.init(mapping, of: what, known: known, later: later, report)
    }

    private func refuse(_ entry: Node.Entry) {
        if later.contains(entry.name) {
            report.notYet("'\(entry.name)' of \(what)", at: entry.namePosition)
            return
        }
        let meant = meant(by: entry)
        report.error(
            at: entry.namePosition, "unknown key '\(entry.name)' of \(what)",
            expected: meant == nil ? (known.count == 1 ? "" : "one of ") + known.joined(separator: ", ") : nil,
            suggestion: meant.map { "did you mean '\($0)'?" })
    }

    /// The key that was misspelt.
    private func meant(by entry: Node.Entry) -> String? {
        known.contains(entry.name) ? nil : closest(to: entry.name, among: known + later)
    }

    /// The value of a key; nil when it is absent.
    package subscript(key: String) -> Node? {
        assert(known.contains(key), "\(key) is not among the keys of \(what)")
        return mapping[key]?.value
    }

    package func required(_ key: String, expected: String) -> Node? {
        if let node = self[key] { return node }
        // A misspelt one has been reported as such.
        guard !isMisspelt([key]) else { return nil }
        report.error(at: mapping.position, "\(what) without '\(key)'", expected: "\(key): \(expected)")
        return nil
    }

    /// Whether one of these keys was meant by a key that is not known.
    func isMisspelt(_ keys: [String]) -> Bool {
        mapping.entries.contains { meant(by: $0).map(keys.contains) ?? false }
    }

    /// Reports options that have no meaning beside another one.
    func refuse(_ options: [String], beside other: String, expected: String) {
        for entry in mapping.entries where options.contains(entry.name) {
            report.error(
                at: entry.namePosition, "'\(entry.name)' has no meaning beside '\(other)'", expected: expected)
        }
    }

    /// Reads an optional value; what it stands for stays at its default when it is absent or wrong.
    package func read<Value>(_ key: String, into value: inout Value, _ decode: (Node, Report) -> Value?) {
        guard let node = self[key], let decoded = decode(node, report) else { return }
        value = decoded
    }

    package func read<Value>(_ key: String, into value: inout Value?, _ decode: (Node, Report) -> Value?) {
        guard let node = self[key], let decoded = decode(node, report) else { return }
        value = decoded
    }
}
