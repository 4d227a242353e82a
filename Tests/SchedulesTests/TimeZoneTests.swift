import EmbeddedPostgres
import Primitives
import Schedules
import TestSupport
import Testing

/// What a change of the clocks does to a schedule.
struct TimeZoneTests {
    @Test(arguments: [
        // The clocks are set from 2 to 3 o'clock: what is skipped fires at the first instant after the gap, once.
        (
            "30 2 * * *", "Europe/Zurich", "2026-03-27T12:00:00Z",
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        ),
        ("0 3 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]),
        (
            "*/30 * * * *", "Europe/Zurich", "2026-03-29T00:00:00Z",
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
        ),
        // From 3 to 2: what repeats fires the first time.
        ("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        (
            "0 * * * *", "Europe/Zurich", "2026-10-24T23:30:00Z",
            ["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"]
        ),
        ("*/30 * * * *", "Europe/Zurich", "2026-10-25T01:10:00Z", ["2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"]),
        ("0 3 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z", ["2026-10-25T02:00:00Z"]),
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
        // Half an hour, on the southern half of the earth.
        (
            "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z",
            ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]
        ),
        (
            "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z",
            ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"]
        ),
        // Midnight itself is skipped.
        ("0 0 * * *", "America/Asuncion", "2023-09-30T12:00:00Z", ["2023-10-01T04:00:00Z", "2023-10-02T03:00:00Z"]),
        // A whole day was.
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", ["2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"]),
        // Behind the table of the file, by the rule in its footer.
        ("30 2 * * *", "Europe/Zurich", "2099-03-28T12:00:00Z", ["2099-03-29T01:00:00Z", "2099-03-30T00:30:00Z"]),
        ("30 2 * * *", "Europe/Zurich", "2099-10-24T12:00:00Z", ["2099-10-25T00:30:00Z", "2099-10-26T01:30:00Z"]),
        ("30 2 * * *", "America/New_York", "2150-03-07T12:00:00Z", ["2150-03-08T07:00:00Z", "2150-03-09T06:30:00Z"]),
        (
            "15 2 * * *", "Australia/Lord_Howe", "2100-10-02T00:00:00Z",
            ["2100-10-02T15:30:00Z", "2100-10-03T15:15:00Z"]
        ),
        // Summer time is the standard there.
        ("0 12 * * *", "Europe/Dublin", "2099-01-10T00:00:00Z", ["2099-01-10T12:00:00Z"]),
        ("0 12 * * *", "Europe/Dublin", "2099-07-10T00:00:00Z", ["2099-07-10T11:00:00Z"]),
        ("0 12 * * *", "Asia/Kathmandu", "2099-07-10T00:00:00Z", ["2099-07-10T06:15:00Z"]),
        ("0 12 * * *", "America/Nuuk", "2099-07-10T00:00:00Z", ["2099-07-10T13:00:00Z"]),
    ])
    func changesOfTheClocksAreFollowed(cron: String, zone: String, start: String, expected: [String]) throws {
        #expect(try firings(cron, after: start, in: zone, count: expected.count) == expected)
    }

    /// Against `date`, through the nights of a year in the table and of one behind it: of each local time that clocks show, the
    /// first instant fires, and no other does.
    @Test(arguments: [
        "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/St_Johns",
        "Asia/Gaza", "America/Nuuk",
    ])
    func eachLocalTimeFiresTheFirstTimeItIsShown(name: String) async throws {
        let (cron, zone) = (try CronExpression("*/30 22-23,0-4 * * *"), try zone(name))
        for year in [2026, 2077] {
            let (start, end) = (try at("\(year)-01-01T00:00:00Z"), try at("\(year + 1)-01-01T00:00:00Z"))
            var seen: Set<Substring> = []
            let expected = try await localTimes(from: start, through: end, in: name).filter { _, local in
                let isNew = seen.insert(local).inserted
                return isNew && ["22", "23", "00", "01", "02", "03", "04"].contains(local.suffix(5).prefix(2))
            }
            var fired: [Timestamp] = []
            var next = try #require(cron.next(after: start, in: zone))
            while next <= end {
                fired.append(next)
                next = try #require(cron.next(after: next, in: zone))
            }
            #expect(fired.map(\.rfc3339) == expected.map(\.instant.rfc3339))
            #expect(fired.count > 5000)
        }
    }

    /// What clocks show at each half hour behind the start: `2026-03-29 03:00`.
    private func localTimes(
        from start: Timestamp, through end: Timestamp, in zone: String
    ) async throws -> [(instant: Timestamp, local: Substring)] {
        let step = 1_800_000_000
        let instants = stride(from: start.microseconds + Int64(step), through: end.microseconds, by: step)
        let input = instants.map { "@\($0 / 1_000_000)\n" }.joined()
        let (exit, output) = try await Program.run(
            ["env", "TZ=\(zone)", "date", "--file=-", "+%F %H:%M"], input: input)
        #expect(exit == .code(0), "\(output.prefix(200))")
        return zip(instants, output.split(separator: "\n")).map { (Timestamp(microseconds: $0), $1) }
    }

    @Test func utcNeedsNoFile() throws {
        #expect(try TimeZoneFiles(folder: "/nowhere").rules("UTC") == .utc)
        #expect(throws: TimeZoneFiles.Failure.notInstalled(folder: "/nowhere")) {
            try TimeZoneFiles(folder: "/nowhere").rules("Europe/Zurich")
        }
    }

    @Test(arguments: [
        ("Europe/Zürich", "Europe/Zurich"), ("europe/zurich", "Europe/Zurich"), ("Zurich", "Europe/Zurich"),
        ("America/New York", "America/New_York"), ("new york", "America/New_York"), ("Europe/Berlln", "Europe/Berlin"),
        ("utc", "UTC"), ("../../etc/passwd", nil), ("/etc/localtime", nil), ("Europe", nil), ("", nil),
        ("Middle/Earth", nil),
    ])
    func anUnknownZoneIsRefusedWithTheOneThatWasMeant(name: String, meant: String?) throws {
        #expect(throws: TimeZoneFiles.Failure.unknown(meant: meant)) { try zone(name) }
    }

    @Test func aFileThatIsNoTimeZoneIsRefused() throws {
        let folder = TemporaryFolder()
        folder.write("no zone", to: "Nowhere")
        #expect(throws: TimeZoneFiles.Failure.unreadable(reason: "it does not begin with TZif")) {
            try TimeZoneFiles(folder: folder.path).rules("Nowhere")
        }
    }
}
