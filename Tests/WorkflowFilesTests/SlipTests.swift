import Testing
import WorkflowFiles

/// A slip hides nothing: what stands behind it is read as if it were mended.
struct SlipTests {
    private static let brackets = "an unquoted expression inside [ … ] or { … }; expected the whole text in quotes"
    private static let colon =
        "an unquoted expression with a colon and a space, which YAML reads as a key; expected the whole text in quotes"

    @Test func allErrorsOfAFileWithSlipsShowAtOnce() async {
        let outcome = await Workflows(
            """
            subscription: mail
            topics: [ *.created, b ]
            filter: ${ {a: .total} == {a: 1} } # as agreed
            deliver: { http: POST ${ $env.A }/${ $env.B }, timeout: 5 }
            deliver: x
            retention: 1d
            ---
            topic: B
            ---
            saga: s
            version: 1
            steps:
              - id: a
                set: { x: ${ .inptu } }
              - id: a
                set: { x: 1 }
                on_error: [ 1 ]
            """
        ).check()
        #expect(
            outcome.messages.map { $0.replacing("a.yaml:", with: "").prefix { $0 != ";" } } == [
                "2:11: error: an unquoted text that begins with '*', which begins an alias in YAML",
                "3:9: error: an unquoted expression with a colon and a space, which YAML reads as a key",
                "3:16: error: a filter sees no '.total'",
                "4:23: error: an unquoted expression inside [ … ] or { … }",
                "4:48: error: unknown key 'timeout' of deliver",
                "5:1: error: the key 'deliver' stands twice",
                "6:1: error: unknown key 'retention' of a subscription",
                "8:8: error: 'B' stands for the name of a topic",
                "14:15: error: an unquoted expression inside [ … ] or { … }",
                "14:18: error: a step sees no '.inptu'",
                "15:9: error: the id 'a' stands twice",
                "17:5: error: unknown key 'on_error' of a step",
            ])
    }

    /// Each of them alone, and what is left of it when it is mended.
    @Test(arguments: [
        ("x: [ ${ .input.a } ]", "6:12: error: \(brackets); write \"${ .input.a }\""),
        ("x: { y: ${ .input.a } }", "6:15: error: \(brackets); write \"${ .input.a }\""),
        ("x: ${ {a: .input.a} }", "6:10: error: \(colon); write \"${ {a: .input.a} }\""),
        ("x: ${ {\n        a: .input.a} }", "6:10: error: \(colon); quote the whole text: '… ${ … } …'"),
        (
            "x: \"${ .input.a == \"b\" }\"",
            "6:11: error: an expression with \" inside a text in \" quotes; expected single quotes around it; write '${ … }', or \\\" inside"
        ),
        (
            "x: *.a",
            "6:10: error: an unquoted text that begins with '*', which begins an alias in YAML; expected it in quotes; write \"*.a\""
        ),
        ("x: @a", "6:10: error: a character that cannot begin a value; quote texts that begin with '%', '@' or '`'"),
    ])
    func aSlipIsOneError(line: String, message: String) async {
        let saga = Workflows.saga("  - id: a\n    set: { b: 1 }\n").replacing("{ b: 1 }", with: "\n      \(line)")
        #expect(await Workflows(saga).check().text == message)
    }

    /// The brace of an expression that was left open may be anyone's.
    @Test func anOpenExpressionCoversNothing() async {
        let outcome = await Workflows("topic: a\nx: [ ${ .a\ny: }, b ]\n---\ntopic: B").check()
        #expect(outcome.messages.map { $0.prefix(11) } == ["a.yaml:2:6:", "a.yaml:5:8:"])
    }

    @Test func slipsAreToldUpToALimit() async {
        let line = "  - ${ {a: .b} }\n"
        let few = await Workflows("topic: a\nx:\n" + String(repeating: line, count: 60)).check()
        #expect(few.messages.count == 61, "and the unknown key")
        let start = ContinuousClock.now
        let many = await Workflows("topic: a\nx:\n" + String(repeating: line, count: 50_000)).check()
        #expect(many.messages.count == 101)
        #expect(many.text.contains("102:5: error: what follows was not read: the file has too many slips"))
        let documents = await Workflows(String(repeating: "---\na: [\n", count: 100_000)).check()
        #expect(documents.messages.count == 101)
        #expect(start.duration(to: .now) < .seconds(60))
    }

    @Test func aLongDocumentIsNotReadAgainForEachSlip() async {
        let long = "#" + String(repeating: "x", count: 600_000) + "\n"
        let outcome = await Workflows("topic: a\n" + long + "x:\n" + String(repeating: "  - ${ {a: .b} }\n", count: 90))
            .check()
        #expect(outcome.messages.count == 15, "14 times 600 kB are more than 8 MiB")
    }

    @Test func aControlCharacterStopsNothing() async {
        let outcome = await Workflows("topic: a\u{1}\nretension: 1d\n---\ntopic: B\u{7F}\u{86}").check()
        #expect(
            outcome.messages.map { $0.prefix(22) } == [
                "a.yaml:1:9: error: a c", "a.yaml:2:1: error: unk", "a.yaml:4:8: error: 'Bx", "a.yaml:4:9: error: a c",
                "a.yaml:4:10: error: a ",
            ])
    }
}
