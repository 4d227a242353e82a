package import Primitives

/// When a schedule fires: its line of cron, read in its time zone, and what it does about firings that it missed.
package struct Recurrence: Sendable, Hashable {
    /// What becomes of firings that nobody was there for.
    package enum Missed: String, Sendable, Hashable, CaseIterable {
        /// The latest one is made up for.
        case once
        /// None is.
        case skip
        /// Each one is, at most `catchUpLimit`.
        case all
    }

    /// The latest of so many firings that are made up for.
    package static let catchUpLimit = 1000
    /// A firing that is no later than this was not missed.
    package static let tolerance = Duration.seconds(60)

    package var cron: CronExpression
    package var zone: TimeZoneRules
    package var missed: Missed

    package init(cron: CronExpression, zone: TimeZoneRules, missed: Missed = .once) {
        self.cron = cron
        self.zone = zone
        self.missed = missed
    }

    /// Far behind every calendar when the line has come to its end.
    package func next(after instant: Timestamp) -> Timestamp {
        cron.next(after: instant, in: zone) ?? Timestamp(microseconds: 253_402_300_799_000_000)
    }

    /// What is to be done about what came due.
    package struct Turn: Sendable, Hashable {
        /// The firings that are made now, the earliest first.
        package var firings: [Timestamp]
        /// What is due after them.
        package var next: Timestamp
        /// Whether some that came due are left out.
        package var leavesOut: Bool

        package init(firings: [Timestamp], next: Timestamp, leavesOut: Bool) {
            self.firings = firings
            self.next = next
            self.leavesOut = leavesOut
        }
    }

    /// - Parameters:
    ///   - due: the earliest firing that was not made, no later than `now`.
    ///   - resumed: when it was last paused until then: what came due before is left out in silence.
    package func turn(due: Timestamp, now: Timestamp, resumed: Timestamp? = nil) -> Turn {
        var due = due
        if let resumed, due <= resumed { due = next(after: resumed) }
        guard due <= now else { return Turn(firings: [], next: due, leavesOut: false) }
        let firings = latest(missed == .all ? Self.catchUpLimit : 1, from: due, through: now)
        let last = firings[firings.count - 1]
        if missed == .skip, now - last > Self.tolerance {
            return Turn(firings: [], next: next(after: last), leavesOut: true)
        }
        return Turn(firings: firings, next: next(after: last), leavesOut: firings[0] > due)
    }

    /// The latest firings of a span that begins with one. However long it is, only its end is looked through.
    private func latest(_ count: Int, from first: Timestamp, through end: Timestamp) -> [Timestamp] {
        var span = Duration.seconds(60) * count
        while true {
            let begin = end + (.zero - span)
            guard begin > first else { return Array(([first] + firings(after: first, through: end)).suffix(count)) }
            let found = firings(after: begin, through: end)
            if found.count >= count { return found.suffix(count) }
            span *= 4
        }
    }

    private func firings(after begin: Timestamp, through end: Timestamp) -> [Timestamp] {
        var firings: [Timestamp] = []
        var next = next(after: begin)
        while next <= end {
            firings.append(next)
            next = self.next(after: next)
        }
        return firings
    }
}
