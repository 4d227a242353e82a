import Expressions
import Glibc
import Primitives
import Testing

@Suite struct EvaluatorTests {
    /// Patient, so that a busy machine fails no test; those of runaways take one with the default limit of 1 s.
    private let evaluator = Evaluator(
        executable: OutriderExecutable.path, environment: ["REGION": "eu"], timeLimit: .seconds(20))

    private func value(_ source: String, _ input: JSON = nil) async throws -> JSON {
        try await evaluator.evaluate(try Expression(source), input: input)
    }

    private func error(_ source: String, _ input: JSON = nil) async -> ExpressionError? {
        await #expect(throws: ExpressionError.self) { try await value(source, input) }
    }

    @Test(arguments: [
        ("1 + 1", "null", "2"),
        (".payload.total > 0", #"{"payload":{"total":42.50}}"#, "true"),
        (#"[.items[] | select(.qty > 1) | .sku]"#, #"{"items":[{"sku":"a","qty":1},{"sku":"b","qty":2}]}"#, #"["b"]"#),
        (#"{input: .a, "x y": .b}"#, #"{"a":1,"b":"ä😀\n"}"#, #"{"input":1,"x y":"ä😀\n"}"#),
        (#""\(.a)-\("x" + "}")""#, #"{"a":"é"}"#, #""é-x}""#),
        ("$env.REGION + \"\"", "null", #""eu""#),
        (".a", #"{"a":12345678901234567890.10}"#, "12345678901234567890.10"),
        (".a[-1].b", #"{"a":[1,{"b":2e400}]}"#, "2e400"),
        ("$env.REGION", "null", #""eu""#),
        (". # a comment", #"{"a":1}"#, #"{"a":1}"#),
        ("9007199254740992", "null", "9007199254740992"),
        ("try error(\"x\") catch .", "null", #""x""#),
    ])
    func expressionHasItsValue(source: String, input: String, expected: String) async throws {
        let value = try await value(source, try JSON(parsing: input))
        #expect(value.text == expected)
    }

    @Test(arguments: [
        (".a.b + 1", #"{"a":1}"#, #"Cannot index number with string "b""#),
        (".a.b", #"{"a":1}"#, #"Cannot index number with string "b""#),
        (".a[0]", #"{"a":"x"}"#, "Cannot index string with number"),
        (#"error("no stock")"#, "null", "no stock"),
        (#"error({type: "x"})"#, "null", #"{"type":"x"}"#),
        ("empty", "null", "the expression gave no value; expected exactly one value"),
        ("1, 2", "null", "the expression gave more than one value; expected exactly one value"),
        (
            ".a + 1", #"{"a":1,"b":9007199254740993}"#,
            "the integer 9007199254740993 is beyond 2^53 and would lose digits in jq; use a plain path, or a string"
        ),
        (
            ".a * 10", #"{"a":-9007199254740992}"#,
            "the integer -90071992547409920 is beyond 2^53 and would lose digits in jq; use a plain path, or a string"
        ),
        (
            "$env.HOME", "null",
            "the variable HOME is not available; expected it to be set and listed in OUTRIDER_EXPOSE_ENV"
        ),
    ])
    func expressionFailsWithAReason(source: String, input: String, expected: String) async throws {
        let error = await error(source, try JSON(parsing: input))
        #expect(error?.description == expected)
    }

    @Test func environmentShowsNothingButWhatIsExposed() async throws {
        #expect(try await value("$env | keys") == ["REGION"])
        #expect(try await value("$env.HOME // \"none\"") == "none")
    }

    @Test func runawayIsStoppedAndTheNextOneRuns() async throws {
        let evaluator = Evaluator(executable: OutriderExecutable.path)
        let runaway = try Expression("last(range(2e9))")
        let next = try Expression("1 + 1")
        await #expect(throws: ExpressionError.timeLimit(.seconds(1))) {
            try await evaluator.evaluate(runaway, input: nil)
        }
        #expect(try await evaluator.evaluate(next, input: nil) == 2)
    }

    @Test func memoryHogIsStoppedAndTheNextOneRuns() async throws {
        #expect(await error("[range(1e8)] | length") == .memoryLimit(megabytes: 64))
        #expect(await error("reduce range(40) as $i (\"0123456789\"; . + .) | length") == .memoryLimit(megabytes: 64))
        #expect(try await value("[range(1e5)] | length") == 100_000)
    }

    @Test func onlyTheCulpritOfABatchFails() async throws {
        let evaluator = Evaluator(executable: OutriderExecutable.path)
        let good = try Expression(". + 1")
        let bad = try Expression("last(range(2e9))")
        let results = await evaluator.evaluate([
            (good, Array("1".utf8)), (bad, Array("null".utf8)), (good, Array("2".utf8)), (bad, Array("null".utf8)),
            (try Expression("."), Array("3".utf8)), (good, Array("{".utf8)), (good, Array("4".utf8)),
        ])
        #expect(results.map { try? $0.get().int } == [2, nil, 3, nil, 3, nil, 5])
        #expect(results[1] == .failure(.timeLimit(.seconds(1))))
    }

    @Test func killedProcessIsReplaced() async throws {
        #expect(try await value("1 + 1") == 2)
        let first = try #require(evaluator.processID)
        kill(first, SIGKILL)
        #expect(try await value("2 + 1") == 3)
        #expect(evaluator.processID != first)
        #expect(evaluator.processID != nil)
    }

    @Test func programThatKillsItsProcessFails() async throws {
        // Deeper than libjq can free: it overflows its C stack.
        #expect(await error("reduce range(1e6) as $i (1; [.])") == .crashed("was ended by signal 11"))
        #expect(try await value("1 + 1") == 2)
    }

    @Test func manyProgramsRunInOneBatch() async throws {
        let batch = try (0..<60).map { (try Expression("\($0) + 0"), Array("null".utf8)) }
        let results = await evaluator.evaluate(batch)
        #expect(results.map { try? $0.get().int } == Array(0..<60))
    }

    @Test func deepAndLargeInputCostsOnlyItself() async throws {
        let deep = Array((String(repeating: "[", count: 400) + String(repeating: "]", count: 400)).utf8)
        let large = Array(("[" + String(repeating: "1,", count: 3_000_000) + "1]").utf8)
        let length = try Expression("length + 0")
        let results = await evaluator.evaluate([(length, deep), (length, large), (length, Array("[1]".utf8))])
        #expect(throws: ExpressionError.self) { try results[0].get() }
        #expect(results[1] == .failure(.memoryLimit(megabytes: 64)))
        #expect(results[2] == .success(1))
    }

    @Test func checkTellsWhatDoesNotCompile() async throws {
        let errors = await evaluator.check([
            try Expression(".a"), try Expression(".a |"), try Expression("nosuch(1)"), try Expression(". + 1"),
            try Expression("$x"),
        ])
        #expect(
            errors.map { $0?.description } == [
                nil, "syntax error, unexpected $end", "nosuch/1 is not defined", nil, "$x is not defined",
            ])
    }

    @Test func amongManyExpressionsThoseAreToldThatDoNotCompile() async throws {
        var sources = (0..<500).map { ". + \($0) # one of many" }
        for index in [0, 127, 128, 300, 499] { sources[index] = "nosuch\(index)" }
        sources += ["nosuch0", "def f: 1; f", ". as $x | $x"]
        let errors = await evaluator.check(try sources.map { try Expression($0) })
        let told = errors.enumerated().filter { $0.element != nil }
        #expect(told.map(\.offset) == [0, 127, 128, 300, 499, 500])
        #expect(told[3].element?.description == "nosuch300/0 is not defined")
    }

    @Test func missingExecutableIsAnError() async throws {
        let evaluator = Evaluator(executable: "/nonexistent/outrider")
        let expression = try Expression("1 + 1")
        await #expect(
            throws: ExpressionError.unavailable("/nonexistent/outrider cannot be started: No such file or directory")
        ) { try await evaluator.evaluate(expression, input: nil) }
    }

    @Test func executableThatIsNoneOfOursIsAnError() async throws {
        let evaluator = Evaluator(executable: "/bin/true")
        let expression = try Expression("1 + 1")
        await #expect(
            throws: ExpressionError.unavailable("/bin/true did not start as a process for expressions")
        ) { try await evaluator.evaluate(expression, input: nil) }
    }

    @Test func closedEvaluatorRefusesAndItsProcessEnds() async throws {
        let evaluator = Evaluator(executable: OutriderExecutable.path)
        let expression = try Expression("1 + 1")
        #expect(try await evaluator.evaluate(expression, input: nil) == 2)
        evaluator.close()
        await #expect(throws: ExpressionError.unavailable("the evaluator is closed")) {
            try await evaluator.evaluate(expression, input: nil)
        }
    }
}
