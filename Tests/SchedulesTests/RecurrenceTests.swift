import Primitives
import Schedules
import Testing

/// What becomes of firings that nobody was there for.
struct RecurrenceTests {
    private func turn(
        _ missed: Recurrence.Missed, _ cron: String = "0 3 * * *", due: String, now: String, resumed: String? = nil
    ) throws -> Recurrence.Turn {
        let recurrence = Recurrence(cron: try CronExpression(cron), zone: .utc, missed: missed)
        return recurrence.turn(due: try at(due), now: try at(now), resumed: try resumed.map { try at($0) })
    }

    private func turn(_ firings: [String], next: String, leavesOut: Bool = false) throws -> Recurrence.Turn {
        Recurrence.Turn(firings: try firings.map { try at($0) }, next: try at(next), leavesOut: leavesOut)
    }

    @Test(arguments: Recurrence.Missed.allCases)
    func whatIsOnTimeFires(missed: Recurrence.Missed) throws {
        let expected = try turn(["2026-01-05T03:00:00Z"], next: "2026-01-06T03:00:00Z")
        for now in ["2026-01-05T03:00:00Z", "2026-01-05T03:01:00Z"] {
            #expect(try turn(missed, due: "2026-01-05T03:00:00Z", now: now) == expected)
        }
    }

    @Test func onceFiresTheLatestThatWasMissed() throws {
        #expect(
            try turn(.once, due: "2026-01-05T03:00:00Z", now: "2026-01-08T02:00:00Z")
                == turn(["2026-01-07T03:00:00Z"], next: "2026-01-08T03:00:00Z", leavesOut: true))
        #expect(
            try turn(.once, due: "2026-01-05T03:00:00Z", now: "2026-01-05T09:00:00Z")
                == turn(["2026-01-05T03:00:00Z"], next: "2026-01-06T03:00:00Z"))
    }

    @Test func skipFiresOnlyWhatIsOnTime() throws {
        #expect(
            try turn(.skip, due: "2026-01-05T03:00:00Z", now: "2026-01-05T03:01:01Z")
                == turn([], next: "2026-01-06T03:00:00Z", leavesOut: true))
        #expect(
            try turn(.skip, due: "2026-01-03T03:00:00Z", now: "2026-01-05T03:00:30Z")
                == turn(["2026-01-05T03:00:00Z"], next: "2026-01-06T03:00:00Z", leavesOut: true))
    }

    @Test func allFiresEachThatWasMissed() throws {
        #expect(
            try turn(.all, due: "2026-01-05T03:00:00Z", now: "2026-01-07T09:00:00Z")
                == turn(
                    ["2026-01-05T03:00:00Z", "2026-01-06T03:00:00Z", "2026-01-07T03:00:00Z"],
                    next: "2026-01-08T03:00:00Z"))
    }

    @Test func allFiresTheLatestThousandAtMost() throws {
        let turn = try turn(.all, "* * * * *", due: "2026-01-01T00:00:00Z", now: "2026-01-02T00:00:30Z")
        #expect(turn.firings.count == Recurrence.catchUpLimit)
        #expect(turn.firings.first == (try at("2026-01-01T07:21:00Z")))
        #expect(turn.firings.last == (try at("2026-01-02T00:00:00Z")))
        #expect(turn.leavesOut)
    }

    /// Ten years of minutes are not walked through one by one: that would take minutes itself.
    @Test func aLongOutageIsNotWalkedThrough() throws {
        let turn = try turn(.once, "* * * * *", due: "2016-01-01T00:00:00Z", now: "2026-01-01T00:00:30Z")
        #expect(try turn == self.turn(["2026-01-01T00:00:00Z"], next: "2026-01-01T00:01:00Z", leavesOut: true))
    }

    @Test(arguments: Recurrence.Missed.allCases)
    func whatCameDueDuringAPauseIsNotMadeUpFor(missed: Recurrence.Missed) throws {
        #expect(
            try turn(missed, due: "2026-01-05T03:00:00Z", now: "2026-01-07T10:00:00Z", resumed: "2026-01-07T09:00:00Z")
                == turn([], next: "2026-01-08T03:00:00Z"))
        // Missed after it was resumed.
        #expect(
            try turn(.once, due: "2026-01-05T03:00:00Z", now: "2026-01-08T10:00:00Z", resumed: "2026-01-07T09:00:00Z")
                == turn(["2026-01-08T03:00:00Z"], next: "2026-01-09T03:00:00Z"))
    }
}
