/// One of the five fields: a list of values, ranges and steps.
struct CronField {
    let name: String
    let range: ClosedRange<Int>
    /// Of the first value, and so on.
    var words: [String] = []

    static let minute = CronField(name: "minute", range: 0...59)
    static let hour = CronField(name: "hour", range: 0...23)
    static let dayOfMonth = CronField(name: "day of the month", range: 1...31)
    static let month = CronField(
        name: "month", range: 1...12,
        words: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
    /// 0 and 7 are Sunday.
    static let dayOfWeek = CronField(
        name: "day of the week", range: 0...7, words: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"])

    /// - Parameter errors: those of the field's elements are added.
    func set(of word: CronWord, _ errors: inout [CronError]) -> CronSet {
        var set = CronSet()
        var offset = word.offset
        for part in word.text.split(separator: ",", omittingEmptySubsequences: false) {
            do throws(CronError) { try add(part, at: offset, to: &set) } catch { errors.append(error) }
            offset += part.utf8.count + 1
        }
        return set
    }

    private func add(_ part: Substring, at offset: Int, to set: inout CronSet) throws(CronError) {
        guard !part.isEmpty else { throw CronError("an empty element of the \(name)", expected: expected, at: offset) }
        let halves = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let step = halves.count == 2 ? try self.step(halves[1], of: halves[0], at: offset) : 1
        let values = try self.values(halves[0], at: offset)
        for value in stride(from: values.lowerBound, through: values.upperBound, by: step) { set.insert(value) }
    }

    private func values(_ text: Substring, at offset: Int) throws(CronError) -> ClosedRange<Int> {
        if text == "*" { return range.lowerBound...(words.count == 7 ? 6 : range.upperBound) }
        let ends = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        let first = try value(ends[0], at: offset)
        guard ends.count == 2 else { return first...first }
        let lastOffset = offset + ends[0].utf8.count + 1
        var last = try value(ends[1], at: lastOffset)
        // fri-sun ends with the seventh day.
        if words.count == 7, last == 0, first > 0 { last = 7 }
        guard first <= last else {
            throw CronError(
                "the range '\(text)' of the \(name) runs backwards", expected: "the smaller end first",
                suggestion: "write '\(text.prefix(ends[0].count))-\(end),\(begin)-\(ends[1])'", at: offset)
        }
        return first...last
    }

    /// The last and the first value, as ranges over the turn are written.
    private var end: String { words.count == 7 ? "sat" : words.last ?? String(range.upperBound) }
    private var begin: String { words.first ?? String(range.lowerBound) }

    private func step(_ text: Substring, of base: Substring, at offset: Int) throws(CronError) -> Int {
        guard base == "*" || base.contains("-") else {
            throw CronError(
                "a step behind '\(base)', which is no range", expected: "'*/\(text)', or a range",
                suggestion: "write '\(base)-\(end)/\(text)'", at: offset)
        }
        let largest = (words.count == 7 ? 6 : range.upperBound) - range.lowerBound
        guard let step = Self.number(text), (1...largest).contains(step) else {
            throw CronError(
                "'\(text)' stands for a step of the \(name)", expected: "a whole number from 1 to \(largest)",
                at: offset + base.utf8.count + 1)
        }
        return step
    }

    private func value(_ text: Substring, at offset: Int) throws(CronError) -> Int {
        if let index = words.firstIndex(of: text.lowercased()) { return range.lowerBound + index }
        guard let number = Self.number(text), range.contains(number) else {
            throw CronError(
                "'\(text)' stands for the \(name)", expected: expected, suggestion: suggestion(for: text), at: offset)
        }
        return number
    }

    private var expected: String {
        let numbers = "\(range.lowerBound) to \(range.upperBound)"
        return words.isEmpty ? numbers : "\(numbers), or \(words[0]) to \(words[words.count - 1])"
    }

    private func suggestion(for text: Substring) -> String? {
        if text == "?" { return "write '*'" }
        let short = String(text.lowercased().prefix(3))
        if text.count > 3, words.contains(short) { return "write '\(short)'" }
        if text.contains(where: { "LlWw#".contains($0) }), Self.number(text) == nil, text.count <= 4 {
            return "'L', 'W' and '#' are not of cron; have the handler look at the date"
        }
        return nil
    }

    private static func number(_ text: Substring) -> Int? {
        guard !text.isEmpty, text.utf8.count <= 4, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int(text)
    }
}
