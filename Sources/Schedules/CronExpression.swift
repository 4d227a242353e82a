/// A line of cron: at which minutes of which days, in local time, something is to happen. Five fields as in crontab(5), or one of
/// the names `@hourly @daily @midnight @weekly @monthly @yearly @annually`.
package struct CronExpression: Sendable, Hashable {
    /// As it was written.
    package let source: String
    let minutes: CronSet
    let hours: CronSet
    let daysOfMonth: CronSet
    let months: CronSet
    /// 0 is Sunday.
    let daysOfWeek: CronSet
    /// Neither field of days begins with `*`: then a day is meant when either matches, else when both do.
    let eitherDay: Bool

    /// - Throws: all that is wrong with it, in the order of the line; also that it matches no date of any year.
    package init(_ source: String) throws(CronErrors) {
        self.source = source
        var line = source
        if let name = source.trimmed, name.hasPrefix("@") {
            guard let meant = Self.shorthands[name.lowercased()] else {
                throw CronErrors([.unknownShorthand(name, in: source)])
            }
            line = meant
        }
        let words = Self.words(of: line)
        guard words.count == 5 else { throw CronErrors([.fieldCount(words, in: source)]) }
        var errors: [CronError] = []
        minutes = CronField.minute.set(of: words[0], &errors)
        hours = CronField.hour.set(of: words[1], &errors)
        daysOfMonth = CronField.dayOfMonth.set(of: words[2], &errors)
        months = CronField.month.set(of: words[3], &errors)
        daysOfWeek = CronField.dayOfWeek.set(of: words[4], &errors).foldingSunday
        eitherDay = !words[2].text.hasPrefix("*") && !words[4].text.hasPrefix("*")
        guard errors.isEmpty else { throw CronErrors(errors) }
        if !eitherDay, let month = monthsAreTooShort {
            throw CronErrors([.never(month, daysOfMonth.first ?? 0, at: words[2].offset)])
        }
    }

    package static let shorthands = [
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
    ]

    private static func words(of line: String) -> [CronWord] {
        var words: [CronWord] = []
        var offset = 0
        for part in line.utf8.split(omittingEmptySubsequences: false, whereSeparator: { $0 <= 0x20 }) {
            if !part.isEmpty { words.append(CronWord(text: String(Substring(part)), offset: offset)) }
            offset += part.count + 1
        }
        return words
    }

    /// The longest month, when the first of the days lies behind its end.
    private var monthsAreTooShort: Int? {
        let longest = months.values.max { Self.longest($0) < Self.longest($1) }
        guard let longest, let day = daysOfMonth.first, day > Self.longest(longest) else { return nil }
        return longest
    }

    private static func longest(_ month: Int) -> Int {
        switch month {
        case 2: 29
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}

/// A word of the line, and where it begins, in UTF-8 bytes.
struct CronWord {
    let text: String
    let offset: Int
}

/// Small numbers, as bits.
struct CronSet: Sendable, Hashable {
    private(set) var bits: UInt64 = 0

    mutating func insert(_ value: Int) { bits |= 1 << UInt64(value) }

    func contains(_ value: Int) -> Bool { bits >> UInt64(value) & 1 == 1 }

    /// The smallest that is no less.
    func first(from value: Int) -> Int? {
        guard value < 64 else { return nil }
        let rest = bits & (UInt64.max << UInt64(value))
        return rest == 0 ? nil : rest.trailingZeroBitCount
    }

    var first: Int? { first(from: 0) }

    var values: [Int] { (0..<64).filter(contains) }

    /// Of days of the week: 7 is Sunday as well.
    var foldingSunday: CronSet {
        var folded = self
        if contains(7) { folded.bits = bits & 0x7F | 1 }
        return folded
    }
}

extension String {
    /// Without white space around it; nil when nothing is left.
    fileprivate var trimmed: String? {
        let isSpace = { (character: Character) in character.isWhitespace }
        let rest = drop(while: isSpace).reversed().drop(while: isSpace).reversed()
        return rest.isEmpty ? nil : String(rest)
    }
}
