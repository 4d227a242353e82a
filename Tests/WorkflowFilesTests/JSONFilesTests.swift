import Primitives
import Sagas
import Testing
import WorkflowFiles

/// Files that end in `.json` are JSON, all of it, and nothing else.
struct JSONFilesTests {
    private static func saga(_ value: String, name: String = "x") -> String {
        #"{"saga": "s", "version": 1, "steps": [{"id": "a", "set": {"\#(name)": \#(value)}}]}"#
    }

    private static func check(_ text: String) async -> Workflows.Outcome {
        await Workflows(text, file: "a.json").check()
    }

    @Test(
        arguments: [
            (#""\ud83d\ude00""#, "😀"), ("\"\u{7F}\"", "\u{7F}"), (#""a\/b""#, "a/b"), ("1E+2", 100), ("\n-0.50", -0.50),
        ] as [(String, any Sendable)])
    func allOfJSONIsRead(value: String, meant: any Sendable) async throws {
        let outcome = await Self.check(Self.saga(value))
        #expect(outcome.messages == [])
        let step = try #require(outcome.sagas.first?.steps.first)
        guard case .set(.object(let members)) = step.action, case .literal(let literal)? = members.first?.value else {
            Issue.record("\(step)")
            return
        }
        #expect(literal.string == meant as? String)
        #expect(meant is String || literal.double == (meant as? Double ?? (meant as? Int).map(Double.init)))
    }

    @Test func namesMayBeLongAndTheColonFarFromThem() async {
        let name = String(repeating: "n", count: 2000)
        #expect(await Self.check(Self.saga("1", name: name)).messages == [])
        #expect(await Self.check("{\"topic\"\n:\"a\"}").messages == [])
    }

    @Test func aFileMeansTheSameInBothLanguages() async {
        let text = Self.saga(#"[1, 1.50, -0, 1e3, true, null, "${ .input.a }", {"b": ".nan"}]"#)
        let json = await Self.check(text)
        #expect(json.messages == [])
        #expect(json.definitions == (await Workflows(text).check()).definitions)
    }

    @Test(arguments: [
        ("{\"topic\": \"a\",\n}", "2:1: error: this is not JSON: a member's name in quotes was expected"),
        ("{\"topic\": a}", "1:11: error: this is not JSON: a value was expected"),
        ("topic: a", "1:1: error: this is not JSON: a value was expected"),
        ("{\"topic\": \"ä\u{1}\"}", "1:13: error: this is not JSON: a control character in a string"),
        (
            "{\"topic\": \"a\",\n \"topic\": \"b\"}",
            "2:2: error: the key 'topic' stands twice; first at line 1; expected each key once"
        ),
        (
            "{\"topic\": \"a\", \"retention\": \"5\"}",
            "1:29: error: '5' stands for retention; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S"
        ),
        (
            " \n",
            "1:1: error: the file declares nothing; expected a document with saga, subscription, topic, endpoint or schedule; remove the file, or give it another ending"
        ),
    ])
    func errorsHavePlaces(text: String, message: String) async {
        #expect(await Self.check(text).messages == ["a.json:\(message)"])
    }

    @Test func oneBrokenDocumentDoesNotHideTheOthers() async {
        let outcome = await Self.check("{\"topic\": \"A\"}\n---\n{\"topic\": }\n---\n\n{\"topic\": \"B\"}\n---\n")
        #expect(
            outcome.messages.map { $0.prefix(18) } == [
                "a.json:1:11: error", "a.json:3:11: error", "a.json:6:11: error",
            ])
    }

    @Test func limitsAreThoseOfYAML() async {
        let deep = String(repeating: "[", count: 65) + String(repeating: "]", count: 65)
        #expect(
            await Self.check(deep).messages == ["a.json:1:65: error: this is not JSON: more than 64 levels of nesting"])
        let wide = "[" + String(repeating: "1,", count: 100_000) + "1]"
        #expect(
            await Self.check(wide).messages == [
                "a.json:1:200000: error: the document has more than 100000 values; expected at most 100000"
            ])
    }
}
