import Primitives
import Testing

struct DurationTests {
    @Test(arguments: [
        ("250ms", Duration.milliseconds(250)), ("5s", .seconds(5)), ("10m", .seconds(600)), ("2h", .seconds(7200)),
        ("7d", .seconds(604_800)), ("1.5s", .milliseconds(1500)), ("PT5S", .seconds(5)),
        ("P1DT2H30M", .seconds(95_400)),
        ("PT0.25S", .milliseconds(250)), ("0s", .zero),
    ])
    func reads(text: String, duration: Duration) {
        #expect(Duration(text: text) == duration)
    }

    @Test(arguments: [
        "", "5", "s", "-5s", "5 s", "5S", "1e3s", "P", "PT", "P1M", "P1Y", "PT5", "1w", ".5s", "5.s", "99999999999d",
    ])
    func refuses(text: String) {
        #expect(Duration(text: text) == nil)
    }

    @Test(arguments: [
        ("5 s", "5s"), ("5S", "5s"), ("4hours", "4h"), ("1 hour", "1h"), ("1h30m", "90m"), ("1h 30 min", "90m"),
        ("1.5 Days", "36h"), ("1w", "7d"), ("500 millis", "500ms"), ("", nil), ("5", nil), ("s", nil), ("-5s", nil),
        ("5 parsecs", nil), ("1.2.3s", nil), ("٣s", nil), ("9223372036854775807w", nil), ("9999d9999d", nil),
    ])
    func tellsWhatWasMeant(text: String, meant: String?) {
        #expect(Duration.meant(by: text) == meant)
    }

    @Test(arguments: [
        (Duration.seconds(90), "90s"), (.seconds(120), "2m"), (.milliseconds(1500), "1500ms"),
        (.seconds(604_800), "7d"), (.microseconds(250), "0.250ms"), (.zero, "0s"),
    ])
    func printsTheShortestExactForm(duration: Duration, text: String) {
        #expect(duration.text == text)
    }
}
