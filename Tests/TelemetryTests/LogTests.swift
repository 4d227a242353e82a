import Primitives
import Synchronization
import Telemetry
import Testing

/// A log whose lines and clock are the test's.
private final class Journal: Sendable {
    private let lines = Mutex<[String]>([])
    private let clock = Mutex(Timestamp(microseconds: 1_764_000_000_123_999))

    func log(_ format: Log.Format = .text, level: Log.Level = .info) -> Log {
        let write: @Sendable ([UInt8]) -> Void = { line in
            self.lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) }
        }
        return Log(level: level, format: format, now: { self.clock.withLock { $0 } }, sink: write)
    }

    var written: [String] { lines.withLock { $0 } }
    func pass(_ duration: Duration) { clock.withLock { $0 = $0 + duration } }
}

struct LogTests {
    private let id = UUID(high: 0x0192_0000_0000_7000, low: 0x8000_0000_0000_0001)

    @Test func aTextLineIsForPeople() {
        let journal = Journal()
        journal.log().warning(
            "delivery.failed",
            [
                "message": id, "subscription": "mail", "attempt": 3, "after": Duration.milliseconds(1500),
                "error": "it said \"no\"", "late": true, "worker": nil as String?, "empty": "", "ratio": 0.5,
            ])
        #expect(
            journal.written == [
                #"2025-11-24T16:00:00.123Z warning delivery.failed          message=\#(id) subscription=mail attempt=3 "#
                    + #"after=1500ms error="it said \"no\"" late=true empty="" ratio=0.5"# + "\n"
            ])
    }

    @Test func aJSONLineIsOneObject() throws {
        let journal = Journal()
        journal.log(.json).error(
            "delivery.failed",
            [
                "message": id, "attempt": 3, "after": Duration.seconds(90),
                "error": "a \"b\" \\ \u{1} \r\n\t\u{2028} ä",
                "late": false, "worker": nil as String?, "ratio": Double.infinity,
                "at_most": Timestamp(microseconds: 0), "token": Secret("hush"),
            ])
        let line = try #require(journal.written.first)
        #expect(line.hasSuffix("}\n"))
        #expect(line.unicodeScalars.filter { $0 == "\n" }.count == 1)
        let object = try JSON(parsing: line)
        #expect(object["at"] == "2025-11-24T16:00:00.123Z")
        #expect(object["level"] == "error")
        #expect(object["event"] == "delivery.failed")
        #expect(object["message"]?.string == id.description)
        #expect(object["attempt"] == 3)
        #expect(object["after"] == "90s")
        #expect(object["error"] == "a \"b\" \\ \u{1} \r\n\t\u{2028} ä")
        #expect(object["late"] == false)
        #expect(object["worker"] == nil)
        #expect(object["ratio"] == "inf")
        #expect(object["at_most"] == "1970-01-01T00:00:00Z")
        #expect(object["token"] == "[secret]")
    }

    @Test(arguments: [Log.Format.text, .json])
    func noValueForgesALineOrMovesTheCursor(format: Log.Format) {
        let journal = Journal()
        for value in [
            "a\nb", "a\r\nb", "a\u{1B}[2Jb", "a\u{85}b", "a\u{200F}b", "a\u{2029}b", "a\u{202E}b", "a\u{2066}b",
            "a\u{7F}b",
        ] {
            journal.log(format).info("it.happened", ["value": value])
        }
        for line in journal.written {
            #expect(
                line.unicodeScalars.dropLast().allSatisfy { $0.value >= 0x20 && $0.value < 0x7F },
                "\(line.debugDescription)")
        }
        #expect(journal.written.count == 9)
    }

    @Test func linesBelowTheLevelCostNothing() {
        let journal = Journal()
        let log = journal.log(level: .warning)
        func expensive() -> String {
            Issue.record("the fields of a dropped line were evaluated")
            return ""
        }
        log.debug("a", ["x": expensive()])
        log.info("b", ["x": expensive()])
        log.warning("c")
        log.error("d")
        #expect(journal.written.map { $0.split(separator: " ").last } == ["c\n", "d\n"])
    }

    @Test func aLimitLeavesOutWhatIsTooMuchAndSaysHowMuch() {
        let journal = Journal()
        let log = journal.log(.json)
        for _ in 0..<10 { log.warning("often", limitPerSecond: 3) }
        #expect(journal.written.count == 3)
        // Other events have limits of their own.
        log.warning("seldom", limitPerSecond: 3)
        #expect(journal.written.count == 4)
        journal.pass(.seconds(1))
        for _ in 0..<2 { log.warning("often", limitPerSecond: 3) }
        #expect(journal.written.count == 6)
        #expect(journal.written[4].contains(#""suppressed":7"#))
        #expect(!journal.written[5].contains("suppressed"))
        // Without a limit everything is written.
        for _ in 0..<10 { log.error("always") }
        #expect(journal.written.count == 16)
    }
}
