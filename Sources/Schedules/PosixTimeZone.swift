internal import Primitives

/// A time zone by rule: POSIX's TZ string, as the footer of a TZif file has it for the years behind its table (RFC 8536,
/// section 3.3.1; its extension: times of rules from -167 to 167 hours).
struct PosixTimeZone: Sendable, Hashable {
    /// A day of each year, and the seconds after its midnight.
    struct Rule: Sendable, Hashable {
        enum Day: Sendable, Hashable {
            /// 1...365; 29 February is never counted.
            case julian(Int64)
            /// 0...365
            case zeroBased(Int64)
            /// The week 5 is the last one.
            case weekday(month: Int64, week: Int64, weekday: Int64)
        }

        var day: Day
        var seconds: Int64

        /// Local seconds since the epoch.
        func local(in year: Int64) -> Int64 { date(in: year) * 86_400 + seconds }

        private func date(in year: Int64) -> Int64 {
            switch day {
            case .julian(let number):
                let skipsLeapDay = GregorianCalendar.isLeap(year) && number >= 60
                return GregorianCalendar.day(year: year, month: 1, day: 1) + number - (skipsLeapDay ? 0 : 1)
            case .zeroBased(let number): return GregorianCalendar.day(year: year, month: 1, day: 1) + number
            case .weekday(let month, let week, let weekday):
                let first = GregorianCalendar.day(year: year, month: month, day: 1)
                let ahead = (weekday - GregorianCalendar.weekday(ofDay: first)).floorDivided(by: 7).remainder
                let date = first + ahead + (week - 1) * 7
                return date < first + GregorianCalendar.days(inMonth: month, of: year) ? date : date - 7
            }
        }
    }

    struct Daylight: Sendable, Hashable {
        var offset: Int64
        var start: Rule
        var end: Rule
    }

    /// Seconds east of UTC.
    let standard: Int64
    let daylight: Daylight?

    /// The changes of a year in their order, in seconds since the epoch. Where one ends as the next begins, the later one counts.
    func changes(in year: Int64) -> [(at: Int64, offset: Int64)] {
        guard let daylight else { return [] }
        let start = (at: daylight.start.local(in: year) - standard, offset: daylight.offset)
        let end = (at: daylight.end.local(in: year) - daylight.offset, offset: standard)
        return start.at < end.at ? [start, end] : [end, start]
    }

    func offset(at seconds: Int64) -> Int64 {
        let year = GregorianCalendar.date(ofDay: (seconds + standard).floorDivided(by: 86_400).quotient).year
        let nearby = (year - 1...year + 1).flatMap { self.changes(in: $0) }
        let changes = nearby.enumerated().sorted {
            // All the year round: it ends, and begins anew at the same instant.
            ($0.element.at, $0.offset) < ($1.element.at, $1.offset)
        }
        return changes.last { $0.element.at <= seconds }?.element.offset ?? standard
    }
}

// MARK: - Reading

extension PosixTimeZone {
    /// Nil for a text that is no TZ string.
    init?(_ text: some StringProtocol) {
        var scanner = Scanner(rest: ArraySlice(text.utf8))
        guard scanner.name(), let west = scanner.time(hours: 0...24) else { return nil }
        standard = -west
        guard !scanner.isAtEnd else {
            daylight = nil
            return
        }
        guard scanner.name() else { return nil }
        var offset = standard + 3600
        if !scanner.isAtEnd, !scanner.isAtComma {
            guard let west = scanner.time(hours: 0...24) else { return nil }
            offset = -west
        }
        guard let start = scanner.rule(), let end = scanner.rule(), scanner.isAtEnd else { return nil }
        daylight = Daylight(offset: offset, start: start, end: end)
    }

    private struct Scanner {
        var rest: ArraySlice<UInt8>

        var isAtEnd: Bool { rest.isEmpty }
        var isAtComma: Bool { rest.first == UInt8(ascii: ",") }

        mutating func take(_ character: Character) -> Bool {
            guard let byte = rest.first, byte == character.asciiValue else { return false }
            rest.removeFirst()
            return true
        }

        /// `CET` or `<+0330>`.
        mutating func name() -> Bool {
            if take("<") {
                guard let close = rest.firstIndex(of: UInt8(ascii: ">")) else { return false }
                rest = rest[(close + 1)...]
                return true
            }
            let letters = rest.prefix { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0 | 0x20) }
            rest = rest[letters.endIndex...]
            return letters.count >= 3
        }

        mutating func number() -> Int64? {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard !digits.isEmpty, digits.count <= 3 else { return nil }
            rest = rest[digits.endIndex...]
            return digits.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
        }

        /// `[+-]hh[:mm[:ss]]` in seconds.
        mutating func time(hours: ClosedRange<Int64>) -> Int64? {
            let isNegative = take("-")
            if !isNegative { _ = take("+") }
            guard let hour = number(), hours.contains(hour) else { return nil }
            var seconds = hour * 3600
            for unit in [60, 1] as [Int64] where take(":") {
                guard let part = number(), part < 60 else { return nil }
                seconds += part * unit
            }
            return isNegative ? -seconds : seconds
        }

        /// `,M3.5.0/2`, with the comma before it.
        mutating func rule() -> Rule? {
            guard take(","), let day = day() else { return nil }
            guard take("/") else { return Rule(day: day, seconds: 7200) }
            return time(hours: 0...167).map { Rule(day: day, seconds: $0) }
        }

        private mutating func day() -> Rule.Day? {
            if take("J") {
                guard let number = number(), (1...365).contains(number) else { return nil }
                return .julian(number)
            }
            if take("M") {
                guard let month = number(), (1...12).contains(month), take("."), let week = number(),
                    (1...5).contains(week), take("."), let weekday = number(), weekday <= 6
                else { return nil }
                return .weekday(month: month, week: week, weekday: weekday)
            }
            guard let number = number(), number <= 365 else { return nil }
            return .zeroBased(number)
        }
    }
}
