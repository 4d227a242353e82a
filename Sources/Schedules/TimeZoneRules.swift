internal import Primitives

/// What clocks on the wall show: the offsets from UTC of one time zone, for all times.
package struct TimeZoneRules: Sendable, Hashable {
    /// From then on the clocks are so many seconds ahead of UTC.
    struct Change: Sendable, Hashable {
        let at: Int64
        let offset: Int64
    }

    /// `Europe/Zurich`
    package let name: String
    /// In rising order; what the table of a TZif file holds.
    let table: [Change]
    /// Before the first of the table.
    let first: Int64
    /// For the time after the table.
    let rule: PosixTimeZone?

    package static let utc = TimeZoneRules(name: "UTC", table: [], first: 0, rule: nil)

    // All in seconds; a local time is counted as if it were UTC.

    func offset(at seconds: Int64) -> Int64 {
        // The first change that is later.
        var (low, high) = (0, table.count)
        while low < high {
            let middle = (low + high) / 2
            if table[middle].at <= seconds { low = middle + 1 } else { high = middle }
        }
        if low == table.count, let rule { return rule.offset(at: seconds) }
        return low == 0 ? first : table[low - 1].offset
    }

    /// The instant of a local time: of one that repeats the first, of one that is skipped the first after the gap.
    func instant(ofLocal local: Int64) -> Int64 {
        // No offset is a day.
        let (begin, end) = (local - 86_400, local + 86_400)
        let before = offset(at: begin)
        let changes = changes(after: begin, through: end)
        if changes.isEmpty { return local - before }
        var previous = before
        for change in changes {
            // With the clocks as they are set before the change.
            if local - previous < change.at { return local - previous }
            // They are set forward, over the local time.
            if local - change.offset < change.at { return change.at }
            previous = change.offset
        }
        return local - previous
    }

    private func changes(after begin: Int64, through end: Int64) -> [Change] {
        var found: [Change] = []
        // Most times lie behind the table, or at its end.
        if let last = table.last, last.at > begin {
            found = table.filter { $0.at > begin && $0.at <= end }
        }
        if let rule, rule.daylight != nil {
            let covered = max(begin, table.last?.at ?? begin)
            let years = (Self.year(begin) - 1)...(Self.year(end) + 1)
            var offset = offset(at: covered)
            for change in years.flatMap({ rule.changes(in: $0) }).sorted(by: { $0.at < $1.at })
            where change.at > covered && change.at <= end && rule.offset(at: change.at) != offset {
                offset = rule.offset(at: change.at)
                found.append(Change(at: change.at, offset: offset))
            }
        }
        return found
    }

    private static func year(_ seconds: Int64) -> Int64 {
        GregorianCalendar.date(ofDay: seconds.floorDivided(by: 86_400).quotient).year
    }
}
