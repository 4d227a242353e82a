package import Primitives

extension CronExpression {
    /// The next firing after an instant; nil when there is none before the year 10000.
    ///
    /// A local time that the time zone skips fires at the first instant after the gap, at which all that was skipped is one
    /// firing. One that repeats fires the first time it comes, and not again.
    package func next(after instant: Timestamp, in zone: TimeZoneRules) -> Timestamp? {
        let seconds = instant.microseconds.floorDivided(by: 1_000_000).quotient
        var minute = (seconds + zone.offset(at: seconds)).floorDivided(by: 60).quotient
        while let match = firstMatch(from: minute) {
            let firing = Timestamp(microseconds: zone.instant(ofLocal: match * 60) * 1_000_000)
            if firing > instant { return firing }
            // Not even in the minute of the instant, or in one that it repeats.
            minute = match + 1
        }
        return nil
    }

    /// The first local minute that matches, from one on; counted from the epoch.
    private func firstMatch(from start: Int64) -> Int64? {
        let (startDay, startMinute) = start.floorDivided(by: 1440)
        var day = startDay
        var from = Int(startMinute)
        while true {
            let (year, month, dayOfMonth) = GregorianCalendar.date(ofDay: day)
            guard year < 10_000 else { return nil }
            guard months.contains(Int(month)) else {
                day += GregorianCalendar.days(inMonth: month, of: year) - dayOfMonth + 1
                from = 0
                continue
            }
            if matches(dayOfMonth: Int(dayOfMonth), weekday: Int(GregorianCalendar.weekday(ofDay: day))),
                let minute = firstMinute(from: from)
            {
                return day * 1440 + Int64(minute)
            }
            day += 1
            from = 0
        }
    }

    private func matches(dayOfMonth: Int, weekday: Int) -> Bool {
        let (matchesDate, matchesWeekday) = (daysOfMonth.contains(dayOfMonth), daysOfWeek.contains(weekday))
        return eitherDay ? matchesDate || matchesWeekday : matchesDate && matchesWeekday
    }

    /// The first minute of a day, from one on.
    private func firstMinute(from start: Int) -> Int? {
        if hours.contains(start / 60), let minute = minutes.first(from: start % 60) { return start / 60 * 60 + minute }
        guard let hour = hours.first(from: start / 60 + 1), let minute = minutes.first else { return nil }
        return hour * 60 + minute
    }
}
