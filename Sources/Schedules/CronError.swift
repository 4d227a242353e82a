internal import Primitives

/// All that is wrong with a line of cron; at least one.
package struct CronErrors: Error, Sendable {
    package let all: [CronError]

    init(_ all: [CronError]) {
        self.all = all
    }
}

/// What is wrong with a line of cron, and where.
package struct CronError: Error, Hashable, Sendable {
    package let found: String
    package let expected: String?
    /// A whole phrase.
    package let suggestion: String?
    /// In the line, in UTF-8 bytes.
    package let offset: Int

    init(_ found: String, expected: String?, suggestion: String? = nil, at offset: Int) {
        self.found = found
        self.expected = expected
        self.suggestion = suggestion
        self.offset = offset
    }
}

extension CronError: CustomStringConvertible {
    package var description: String {
        found + (expected.map { "; expected \($0)" } ?? "") + (suggestion.map { "; \($0)" } ?? "")
    }
}

extension CronError {
    private static let fields = "five fields: minute, hour, day of the month, month, day of the week"

    static func unknownShorthand(_ name: String, in line: String) -> CronError {
        let names = CronExpression.shorthands.keys.sorted()
        return CronError(
            "'\(name)' stands for a time", expected: names.joined(separator: ", "),
            suggestion: closest(to: name, among: names).map { "did you mean '\($0)'?" }, at: offset(of: "@", in: line))
    }

    static func fieldCount(_ words: [CronWord], in line: String) -> CronError {
        guard words.count > 5 else {
            return CronError(
                words.isEmpty ? "an empty cron line" : "a cron line with \(words.count) fields", expected: fields,
                suggestion: words.isEmpty ? "such as '0 3 * * *'" : nil, at: 0)
        }
        return CronError(
            "a cron line with \(words.count) fields", expected: fields,
            suggestion: words.count == 6 ? "there are no seconds" : nil, at: words[5].offset)
    }

    static func never(_ month: Int, _ day: Int, at offset: Int) -> CronError {
        CronError(
            "a cron line that never fires: no month of it has a day \(day)", expected: "a day that comes",
            at: offset)
    }

    private static func offset(of character: Character, in line: String) -> Int {
        line.utf8.firstIndex { $0 == character.asciiValue }.map {
            line.utf8.distance(from: line.utf8.startIndex, to: $0)
        } ?? 0
    }
}
