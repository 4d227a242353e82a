import Primitives
import Schedules
import Testing

/// Which lines of cron there are, and when they fire where clocks never change.
struct CronTests {
    @Test(arguments: [
        ("* * * * *", "2026-01-31T23:59:00Z", ["2026-02-01T00:00:00Z", "2026-02-01T00:01:00Z"]),
        ("*/15 * * * *", "2026-01-01T00:00:00Z", ["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"]),
        ("0 3 * * *", "2026-01-01T03:00:00Z", ["2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"]),
        ("0 3 * * *", "2026-01-01T02:59:59.999999Z", ["2026-01-01T03:00:00Z"]),
        ("0 3 * * *", "2026-01-01T03:00:00.000001Z", ["2026-01-02T03:00:00Z"]),
        (
            "5,10-12 8-9 * * *", "2026-01-01T08:10:00Z",
            ["2026-01-01T08:11:00Z", "2026-01-01T08:12:00Z", "2026-01-01T09:05:00Z"]
        ),
        ("0 0-23/6 * * *", "2026-01-01T01:00:00Z", ["2026-01-01T06:00:00Z", "2026-01-01T12:00:00Z"]),
        ("0 0 1 jan,JUL *", "2026-01-01T00:00:00Z", ["2026-07-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
        ("0 0 * * mon-fri", "2026-11-27T00:00:00Z", ["2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"]),
        ("0 0 * * 7", "2026-11-23T00:00:00Z", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
        ("0 0 * * sun", "2026-11-23T00:00:00Z", ["2026-11-29T00:00:00Z"]),
        (
            "0 0 * * fri-sun", "2026-11-23T00:00:00Z",
            ["2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z", "2026-12-04T00:00:00Z"]
        ),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 0 29 2 *", "2096-03-01T00:00:00Z", ["2104-02-29T00:00:00Z"]),
        ("0 0 31 * *", "2026-01-31T00:00:00Z", ["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"]),
        ("59 23 31 12 *", "2026-12-31T23:59:00Z", ["2027-12-31T23:59:00Z"]),
        // Day of the month or of the week, where both are restricted …
        (
            "0 0 13 * fri", "2026-11-01T00:00:00Z",
            [
                "2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z",
                "2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z",
            ]
        ),
        ("0 0 30 2 mon", "2026-01-31T00:00:00Z", ["2026-02-02T00:00:00Z", "2026-02-09T00:00:00Z"]),
        // … and both, where one begins with a star: odd days that are Mondays.
        (
            "0 0 */2 * mon", "2026-11-01T00:00:00Z",
            ["2026-11-09T00:00:00Z", "2026-11-23T00:00:00Z", "2026-12-07T00:00:00Z"]
        ),
        ("@hourly", "2026-01-01T00:30:00Z", ["2026-01-01T01:00:00Z"]),
        ("@daily", "2026-01-01T00:30:00Z", ["2026-01-02T00:00:00Z"]),
        ("@midnight", "2026-01-01T00:30:00Z", ["2026-01-02T00:00:00Z"]),
        ("@weekly", "2026-11-23T00:00:00Z", ["2026-11-29T00:00:00Z"]),
        ("@Monthly", "2026-01-01T00:30:00Z", ["2026-02-01T00:00:00Z"]),
        ("@yearly", "2026-01-01T00:30:00Z", ["2027-01-01T00:00:00Z"]),
        (" @annually ", "2026-01-01T00:30:00Z", ["2027-01-01T00:00:00Z"]),
        ("  0   3\t* *  * ", "2026-01-01T00:00:00Z", ["2026-01-01T03:00:00Z"]),
        ("0 0 * * *", "1969-12-30T12:00:00Z", ["1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"]),
    ])
    func aLineFiresWhenItSays(cron: String, start: String, expected: [String]) throws {
        #expect(try firings(cron, after: start, count: expected.count) == expected)
    }

    @Test(arguments: [
        (
            "", 0,
            "an empty cron line; expected five fields: minute, hour, day of the month, month, day of the week; such as '0 3 * * *'"
        ),
        (
            "0 3 * *", 0,
            "a cron line with 4 fields; expected five fields: minute, hour, day of the month, month, day of the week"
        ),
        (
            "0 0 3 * * *", 10,
            "a cron line with 6 fields; expected five fields: minute, hour, day of the month, month, day of the week; there are no seconds"
        ),
        ("60 3 * * *", 0, "'60' stands for the minute; expected 0 to 59"),
        ("0 24 * * *", 2, "'24' stands for the hour; expected 0 to 23"),
        ("0 3 0 * *", 4, "'0' stands for the day of the month; expected 1 to 31"),
        ("0 3 1,32 * *", 6, "'32' stands for the day of the month; expected 1 to 31"),
        ("0 3 * 13 *", 6, "'13' stands for the month; expected 1 to 12, or jan to dec"),
        ("0 3 * january *", 6, "'january' stands for the month; expected 1 to 12, or jan to dec; write 'jan'"),
        ("0 3 * * 8", 8, "'8' stands for the day of the week; expected 0 to 7, or sun to sat"),
        ("0 3 * * mon-8", 12, "'8' stands for the day of the week; expected 0 to 7, or sun to sat"),
        (
            "0 22-2 * * *", 2,
            "the range '22-2' of the hour runs backwards; expected the smaller end first; write '22-23,0-2'"
        ),
        (
            "0 3 * nov-feb *", 6,
            "the range 'nov-feb' of the month runs backwards; expected the smaller end first; write 'nov-dec,jan-feb'"
        ),
        (
            "0 3 * * sat-mon", 8,
            "the range 'sat-mon' of the day of the week runs backwards; expected the smaller end first; write 'sat-sat,sun-mon'"
        ),
        ("*/0 * * * *", 2, "'0' stands for a step of the minute; expected a whole number from 1 to 59"),
        ("*/60 * * * *", 2, "'60' stands for a step of the minute; expected a whole number from 1 to 59"),
        ("0 */24 * * *", 4, "'24' stands for a step of the hour; expected a whole number from 1 to 23"),
        ("5/15 * * * *", 0, "a step behind '5', which is no range; expected '*/15', or a range; write '5-59/15'"),
        ("1,,2 * * * *", 2, "an empty element of the minute; expected 0 to 59"),
        ("0 3 ? * mon", 4, "'?' stands for the day of the month; expected 1 to 31; write '*'"),
        (
            "0 3 L * *", 4,
            "'L' stands for the day of the month; expected 1 to 31; 'L', 'W' and '#' are not of cron; have the handler look at the date"
        ),
        ("-5 * * * *", 0, "'' stands for the minute; expected 0 to 59"),
        (
            "@dayly", 0,
            "'@dayly' stands for a time; expected @annually, @daily, @hourly, @midnight, @monthly, @weekly, @yearly; did you mean '@daily'?"
        ),
        ("0 0 30 2 *", 4, "a cron line that never fires: no month of it has a day 30; expected a day that comes"),
        (
            "0 0 31 4,6,9,11 *", 4,
            "a cron line that never fires: no month of it has a day 31; expected a day that comes"
        ),
        ("0 0 30 2 */2", 4, "a cron line that never fires: no month of it has a day 30; expected a day that comes"),
    ])
    func aWrongLineIsRefusedWhereItIsWrong(cron: String, offset: Int, message: String) throws {
        let errors = try #require(throws: CronErrors.self) { try CronExpression(cron) }.all
        #expect(errors.count == 1)
        let error = try #require(errors.first)
        #expect(error.description == message)
        #expect(error.offset == offset)
    }

    @Test func allThatIsWrongWithALineIsTold() throws {
        let errors = try #require(throws: CronErrors.self) { try CronExpression("61,x 25 0 13 9") }.all
        #expect(errors.map(\.offset) == [0, 3, 5, 8, 10, 13])
    }
}
