import Primitives

/// Wrong usage: printed with a hint at the help, exit 2.
struct UsageError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// The words behind a command, sorted into options and operands; and the environment behind both.
struct Arguments: Sendable {
    private(set) var operands: [String] = []
    private var values: [String: [String]] = [:]
    private var switches: Set<String> = []
    private let options: [Option]
    let environment: [String: String]
    var wantsHelp = false

    init(_ words: some Sequence<String>, options: [Option], environment: [String: String]) throws(UsageError) {
        self.options = options
        self.environment = environment
        var rest = Array(words)[...]
        while let word = rest.popFirst() {
            if word == "--" {
                operands += rest
                break
            } else if word == "-h" || word == "--help" {
                wantsHelp = true
            } else if word.hasPrefix("--") {
                try take(word.dropFirst(2), &rest)
            } else if word.hasPrefix("-"), word != "-" {
                throw UsageError("unknown option \(word); options are written out: --\(options.first?.name ?? "help")")
            } else {
                operands.append(word)
            }
        }
    }

    private mutating func take(_ word: Substring, _ rest: inout ArraySlice<String>) throws(UsageError) {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        guard let option = options.first(where: { $0.name == name }) else {
            let hint = closest(to: name, among: options.map(\.name)).map { "; did you mean --\($0)?" } ?? ""
            throw UsageError("unknown option --\(name)\(hint)")
        }
        guard let placeholder = option.value else {
            guard parts.count == 1 else { throw UsageError("--\(name) takes no value") }
            switches.insert(name)
            return
        }
        guard let value = parts.count == 2 ? String(parts[1]) : rest.popFirst() else {
            throw UsageError("--\(name) needs a value: --\(name) \(placeholder)")
        }
        if !option.isRepeatable, values[name] != nil { throw UsageError("--\(name) is given twice") }
        values[name, default: []].append(value)
    }

    // MARK: - Reading

    func has(_ name: String) -> Bool { switches.contains(name) }

    func all(_ name: String) -> [String] { values[name] ?? [] }

    /// The option's value, else that of its first environment variable that is set and not empty.
    subscript(name: String) -> String? {
        if let given = values[name]?.last { return given }
        let variables = options.first { $0.name == name }?.environment ?? []
        return variables.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
    }

    /// Where the value came from, for errors.
    private func origin(_ name: String) -> String {
        guard values[name] == nil, let option = options.first(where: { $0.name == name }) else { return "--\(name)" }
        return option.environment.first { environment[$0]?.isEmpty == false } ?? "--\(name)"
    }

    func duration(_ name: String, default fallback: Duration) throws(UsageError) -> Duration {
        guard let text = self[name] else { return fallback }
        guard let duration = Duration(text: text) else {
            throw UsageError("\(origin(name)) is '\(text)'; expected a duration such as 500ms, 30s or 5m")
        }
        return duration
    }

    func integer(_ name: String, default fallback: Int, in range: ClosedRange<Int>) throws(UsageError) -> Int {
        guard let text = self[name] else { return fallback }
        guard let number = Int(text), range.contains(number) else {
            throw UsageError(
                "\(origin(name)) is '\(text)'; expected a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func time(_ name: String) throws(UsageError) -> Timestamp? {
        guard let text = self[name] else { return nil }
        guard let time = Timestamp(rfc3339: text) else {
            throw UsageError("\(origin(name)) is '\(text)'; expected a time such as 2026-11-24T08:00:00Z")
        }
        return time
    }

    func choice<Choice: RawRepresentable & CaseIterable>(
        _ name: String, default fallback: Choice
    ) throws(UsageError) -> Choice where Choice.RawValue == String {
        guard let text = self[name] else { return fallback }
        guard let choice = Choice(rawValue: text) else {
            let all = Choice.allCases.map(\.rawValue)
            let hint = closest(to: text, among: all).map { "; did you mean \($0)?" } ?? ""
            throw UsageError("\(origin(name)) is '\(text)'; expected \(all.joined(separator: " or "))\(hint)")
        }
        return choice
    }

    func uuid(_ text: String, _ what: String) throws(UsageError) -> UUID {
        guard let uuid = UUID(text) else { throw UsageError("'\(text)' is no id of \(what); expected a UUID") }
        return uuid
    }

    /// The only operand.
    func operand(_ what: String) throws(UsageError) -> String {
        guard let first = operands.first else { throw UsageError("\(what) is missing") }
        guard operands.count == 1 else { throw UsageError("'\(operands[1])' is one word too many") }
        return first
    }

    func noOperands() throws(UsageError) {
        if let first = operands.first { throw UsageError("'\(first)' is one word too many") }
    }
}
