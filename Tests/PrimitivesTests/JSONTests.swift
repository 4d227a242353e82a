import Primitives
import Testing

struct JSONTests {
    @Test(arguments: [
        "null", "true", "[]", "{}", "9007199254740993", "1.10", "-0", "1e400", #"{"b":1,"a":2}"#,
        #"["ä","\"","\\","\n"]"#,
        "123456789012345678901234567890.000",
    ])
    func keepsWhatItReads(text: String) throws {
        #expect(try JSON(parsing: text).text == text)
    }

    @Test func escapesAreRead() throws {
        #expect(try JSON(parsing: #""\u00e4\ud83d\ude00\/\t""#).string == "ä😀/\t")
    }

    @Test(arguments: [
        "", "nul", "[1,]", "{\"a\" 1}", "01", "1.", "\"\\x\"", "\"\\ud800\"", "[1] 2", "\"\u{01}\"", "{a:1}", "+1",
        "'a'",
    ])
    func refusesWhatIsNotJSON(text: String) {
        #expect(throws: JSONError.self) { try JSON(parsing: text) }
    }

    @Test func deepNestingIsAnErrorNotACrash() {
        #expect(throws: JSONError.self) { try JSON(parsing: String(repeating: "[", count: 1_000_000)) }
    }

    @Test func invalidUTF8IsAnError() {
        #expect(throws: JSONError.self) { try JSON(parsing: [0x22, 0xFF, 0x22] as [UInt8]) }
    }
}
