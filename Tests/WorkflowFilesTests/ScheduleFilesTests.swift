import Primitives
import Schedules
import Testing
import WorkflowFiles

/// Documents that declare schedules.
struct ScheduleFilesTests {
    /// What a schedule needs besides its line and what it does, in line 1.
    private static func schedule(_ lines: String) -> String { "schedule: nightly\n" + lines }

    private static let publishes = "publish: { topic: a, payload: {} }"

    @Test func aScheduleSaysWhenAndWhat() async throws {
        let outcome = await Workflows(
            """
            schedule: nightly-settlement
            cron: "0 3 * * *"
            timezone: Europe/Zurich
            publish:
              topic: settlement.due
              key: ${ $env.REGION }
              payload:
                day: ${ .scheduled_at }
                text: on ${ .scheduled_at | .[0:10] }
              headers: { X-Region: "${ $env.REGION }" }
            missed: all
            """
        ).check()
        #expect(outcome.messages == [])
        guard case .schedule(let schedule)? = outcome.definitions.first else { throw Unexpected() }
        #expect(schedule.name == "nightly-settlement")
        #expect(schedule.recurrence.cron.source == "0 3 * * *")
        #expect(schedule.recurrence.zone.name == "Europe/Zurich")
        #expect(schedule.recurrence.missed == .all)
        #expect(schedule.expressions.count == 4)
        #expect(try Definition(content: schedule.content) == .schedule(schedule))
    }

    @Test func aScheduleStartsASaga() async throws {
        let saga = "---\nsaga: settle\nversion: 1\nsteps: [ { id: a, set: { x: 1 } } ]\n"
        let outcome = await Workflows(
            Self.schedule(
                "cron: '@daily'\nstart: { saga: settle, input: { day: \"${ .scheduled_at }\" }, key: \"${ .scheduled_at }\" }\n"
                    + saga)
        ).check()
        #expect(outcome.messages == [])
        let schedule = try #require(
            outcome.definitions.compactMap { if case .schedule(let schedule) = $0 { schedule } else { nil } }.first)
        #expect(schedule.recurrence.zone == .utc)
        #expect(schedule.recurrence.missed == .once)
        #expect(try Definition(content: schedule.content) == .schedule(schedule))
    }

    private struct Unexpected: Error {}

    @Test func itsSagaIsFoundInOtherFilesAndInTheDatabase() async {
        let text = Self.schedule("cron: '@daily'\nstart: { saga: settle }")
        #expect(await Workflows(text).check(known: .init(sagas: ["settle"])).text == "")
        #expect(
            await Workflows(text).check(known: .init(sagas: ["setle"])).text
                == "3:16: error: the saga 'settle' is declared nowhere; expected a document 'saga: settle' in these files; did you mean 'setle'?"
        )
    }

    @Test func aNameIsDeclaredOnce() async {
        let text = Self.schedule("cron: '@daily'\n\(Self.publishes)\n")
        #expect(
            await Workflows(text + "---\n" + text).check().text
                == "5:11: error: the schedule 'nightly' is declared twice; first at 1:11; expected each name once"
        )
    }

    @Test(arguments: [
        ("\(publishes)", "1:1: error: a schedule without 'cron'; expected cron: \"0 3 * * *\""),
        ("cron: 5\n\(publishes)", "2:7: error: the number 5 stands for cron; expected a text; quote it: \"5\""),
        (
            "cron: \"0 25 * * *\"\n\(publishes)",
            "2:10: error: '25' stands for the hour; expected 0 to 23"
        ),
        ("cron: 0 3 * foo *\n\(publishes)", "2:13: error: 'foo' stands for the month; expected 1 to 12, or jan to dec"),
        (
            "cron: 0 0 30 2 *\n\(publishes)",
            "2:11: error: a cron line that never fires: no month of it has a day 30; expected a day that comes"
        ),
        (
            "cron: */5 * 1,15 * *   # often\n\(publishes)",
            "2:7: error: an unquoted text that begins with '*', which begins an alias in YAML; expected it in quotes; write \"*/5 * 1,15 * *\""
        ),
        (
            "cron: * * * * *\n\(publishes)",
            "2:7: error: an unquoted text that begins with '*', which begins an alias in YAML; expected it in quotes; write \"* * * * *\""
        ),
        (
            "cron: @daily\n\(publishes)",
            "2:7: error: a character that cannot begin a value; quote texts that begin with '%', '@' or '`'"
        ),
        (
            "cron: '@daily'\ntimezone: Europe/Zurick\n\(publishes)",
            "3:11: error: there is no time zone 'Europe/Zurick'; expected UTC, or a name such as Europe/Zurich; did you mean 'Europe/Zurich'?"
        ),
        (
            "cron: '@daily'\ntimezone: Zurich\n\(publishes)",
            "3:11: error: there is no time zone 'Zurich'; expected UTC, or a name such as Europe/Zurich; did you mean 'Europe/Zurich'?"
        ),
        (
            "cron: '@daily'\ntimezone: +02:00\n\(publishes)",
            "3:11: error: there is no time zone '+02:00'; expected UTC, or a name such as Europe/Zurich"
        ),
        (
            "cron: '@daily'",
            "1:1: error: a schedule that does nothing; expected publish: { topic: …, payload: … }, or start: { saga: …, input: … }"
        ),
        (
            "cron: '@daily'\n\(publishes)\nstart: { saga: s }",
            "4:8: error: a schedule with 'publish' and 'start'; expected exactly one of them; a second schedule can do the other"
        ),
        (
            "cron: '@daily'\npublsh: {}",
            "3:1: error: unknown key 'publsh' of a schedule; did you mean 'publish'?"
        ),
        ("cron: '@daily'\npublish: { topic: a }", "3:10: error: publish without 'payload'; expected payload: a value"),
        ("cron: '@daily'\nstart: { input: {} }", "3:8: error: start without 'saga'; expected saga: the name of a saga"),
        (
            "cron: '@daily'\n\(publishes)\nmissed: twice",
            "4:9: error: 'twice' stands for missed; expected once, skip or all"
        ),
        (
            "cron: '@daily'\npublish: { topic: a, payload: \"${ .schedule_at }\" }",
            "3:35: error: a schedule sees no '.schedule_at'; expected .scheduled_at; did you mean '.scheduled_at'?"
        ),
        (
            "cron: '@daily'\nstart: { saga: s, input: \"${ .input }\" }",
            "3:30: error: a schedule sees no '.input'; expected .scheduled_at"
        ),
        (
            "cron: '@daily'\npublish: { topic: a, payload: {}, headers: { Outrider-X: a } }",
            "3:46: error: the header 'Outrider-X' is set by Outrider itself; expected another header"
        ),
    ])
    func aWrongOptionIsRefusedWhereItStands(lines: String, message: String) async {
        #expect(await Workflows(Self.schedule(lines)).check(known: .init(sagas: ["s"])).text == message)
    }

    @Test func allErrorsShowAtOnce() async {
        let text = Self.schedule(
            "cron: '61 * * * *'\ntimezone: Nowhere\nmissed: no\npublish: { topic: '*', payload: {} }")
        #expect(await Workflows(text).check().messages.count == 4)
    }
}
