import Delivery
import Expressions
import Primitives
import Sagas
import Testing

/// The kinds of steps, and what their expressions see.
struct ForwardTests {
    // MARK: - Simple steps

    @Test func publishedMessageIsWrittenWithItsTransition() {
        var saga = SagaRun(
            Step.publish("order.done", .value(".input.x")).with { step in
                guard case .publish(var publication) = step.action else { return }
                step.id = "tell"
                publication.key = template("k-${ .input.x }")
                publication.headers = [HTTPCall.Header(name: "h", value: template("v"))]
                step.action = .publish(publication)
            }, input: ["x": 1])
        #expect(saga.begin() == ["publish order.done", "tell parent completed"])
        let message = saga.messages.first
        #expect(message?.origin == .step(StepPath("tell"), .action))
        #expect(message?.topic == "order.done")
        #expect(message?.key == "k-1")
        #expect(message?.payload == 1)
        #expect(message?.headers.map { [$0.name, $0.value] } == [["h", "v"]])
        #expect(saga.history == ["begun", "started tell", "succeeded tell", "completed"])
    }

    @Test func publishedMessageIsUndoneByAMessage() {
        var saga = SagaRun(.publish("a").undoneByMessage(), .fail("b", "no"))
        #expect(saga.begin() == ["publish a", "publish una", "tell parent compensated"])
    }

    @Test func setGivesItsValues() {
        var saga = SagaRun(
            .set(
                "s",
                .object([
                    .init(name: "n", value: .value(".input.x")),
                    .init(name: "t", value: .text(template("<${ .input.x }>"))),
                ])),
            input: ["x": 9]
        ) { $0.output = .value(".steps.s.output") }
        #expect(saga.begin() == ["tell parent completed"])
        #expect(saga.state.output == ["n": 9, "t": "<9>"])
    }

    @Test func failNamesTheError() {
        var saga = SagaRun(.fail("f", "out-of-stock", detail: "no ${ .input }"), input: "shoes")
        #expect(saga.begin() == ["tell parent failed"])
        #expect(saga.state.failure == Failure(step: StepPath("f"), type: "out-of-stock", detail: "no shoes"))
    }

    @Test func waitEndsWhenItsTimeHasCome() {
        var saga = SagaRun(.wait("w", .seconds(10)), .call("a"))
        #expect(saga.begin() == [])
        #expect(saga.step("w").status == .waiting)
        #expect(saga.tick(after: .seconds(9)) == [])
        #expect(saga.tick(after: .seconds(1)) == ["call a"])
    }

    @Test(arguments: [
        ("2027-01-15T09:00:00Z", Duration.seconds(3600)), ("1999-01-01T00:00:00Z", .seconds(-884_851_200)),
    ])
    func waitLastsUntilATime(time: String, expected: Duration) {
        var saga = SagaRun(Step(id: "w", action: .wait(.until(expression(".input")))), .call("a"), input: .string(time))
        _ = saga.begin()
        #expect(saga.due == expected)
        #expect(saga.tickWhenDue() == ["call a"])
    }

    @Test(arguments: ["9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00+12:00"])
    func timeAtTheEndOfTheCalendarIsKeptInTheHistory(time: String) {
        var saga = SagaRun(Step(id: "w", action: .wait(.until(expression(".input")))), .call("a"), input: .string(time))
        _ = saga.begin()
        #expect(saga.tickWhenDue() == ["call a"])
    }

    @Test func waitUntilWhatIsNoTimeFails() {
        var saga = SagaRun(Step(id: "w", action: .wait(.until(expression(".input")))), input: "tomorrow")
        #expect(saga.begin() == ["tell parent failed"])
        #expect(saga.state.failure?.detail?.contains("tomorrow") == true)
    }

    @Test func waitBeyondTheCalendarGoesOn() {
        var saga = SagaRun(.wait("w", .seconds(Int64.max)))
        _ = saga.begin()
        #expect(saga.crash() == [])
        #expect(saga.step("w").status == .waiting)
    }

    // MARK: - Conditions

    @Test(arguments: [
        (JSON.bool(false), false), (.null, false), (0, true), ("", true), (.array([]), true), (true, true),
    ])
    func stepIsSkippedWhenItsConditionIsFalseOrNull(value: JSON, runs: Bool) {
        var saga = SagaRun(.call("a").if(".input.yes").undone(.started), .call("b"), input: ["yes": value])
        #expect(saga.begin() == [runs ? "call a" : "call b"])
        #expect(saga.step("a").status == (runs ? .running : .skipped))
    }

    @Test func skippedStepIsNotUndone() {
        var saga = SagaRun(.call("a").if(".input.yes").undone(.started), .fail("b", "no"))
        #expect(saga.begin() == ["tell parent failed"])
    }

    @Test func conditionThatFailsAborts() {
        var saga = SagaRun(.call("a").if(".input.x.y"), input: ["x": 1])
        #expect(saga.begin() == ["tell parent failed"])
        #expect(saga.state.failure?.type == "expression")
    }

    // MARK: - Output

    @Test func outputIsReshaped() {
        var saga = SagaRun(.call("a").giving(.object([.init(name: "id", value: .value(".output.x"))])), .call("b"))
        _ = saga.begin()
        #expect(saga.succeed("a", ["x": 7, "y": 8]) == ["call b"])
        #expect(saga.step("a").output == ["id": 7])
    }

    @Test func stepWhoseOutputCannotBeMadeHasHappenedAllTheSame() {
        var saga = SagaRun(.call("a").giving(.value(".output.x.y")).undone(), .call("b"))
        _ = saga.begin()
        #expect(saga.succeed("a", ["x": 1]) == ["undo a"])
    }

    @Test func outputIsReshapedWhileTheSagaAborts() {
        var saga = SagaRun(
            .parallel("p", [.call("a").giving(.value(".output.x")).undone(body: .value(".output"))], [.call("b")]))
        _ = saga.begin()
        _ = saga.refuse("p.b1.b")
        #expect(saga.succeed("p.b0.a", ["x": 1]) == ["undo p.b0.a"])
        #expect(saga.call("undo p.b0.a")?.body == 1)
    }

    @Test func outputOfAContainerIsReshaped() {
        var saga = SagaRun(
            .parallel("p", [.set("a", .literal(1))], [.set("b", .literal(2))]).giving(.value(".output.b1")),
            .call("c", body: .value(".steps.p.output")))
        #expect(saga.begin() == ["call c"])
        #expect(saga.call("call c")?.body == 2)
    }

    // MARK: - Parallel

    @Test func parallelGivesAnObjectByBranch() {
        var saga = SagaRun(.parallel("p", [.call("a"), .call("a2")], [.call("b")]))
        #expect(saga.begin() == ["call p.b0.a", "call p.b1.b"])
        #expect(saga.succeed("p.b1.b", "B") == [])
        #expect(saga.succeed("p.b0.a", "A") == ["call p.b0.a2"])
        #expect(saga.succeed("p.b0.a2", "A2") == ["tell parent completed"])
        #expect(saga.step("p").output == ["b0": "A2", "b1": "B"])
    }

    @Test func emptyBranchesEndAtOnce() {
        var saga = SagaRun(.parallel("p", [.call("a").if(".input.no")], [.call("b").if(".input.no")]))
        #expect(saga.begin() == ["tell parent completed"])
        #expect(saga.step("p").output == ["b0": .null, "b1": .null])
    }

    // MARK: - Loops

    @Test func loopGivesAnArrayInTheOrderOfItsItems() {
        var saga = SagaRun(
            .foreach("each", in: ".input", as: "it", limit: 3, .call("a", body: .value(".it"))), input: [1, 2, 3])
        #expect(saga.begin() == ["call each[0].a", "call each[1].a", "call each[2].a"])
        #expect(saga.call("call each[1].a")?.body == 2)
        #expect(saga.succeed("each[2].a", "C") == [])
        #expect(saga.succeed("each[0].a", "A") == [])
        #expect(saga.succeed("each[1].a", "B") == ["tell parent completed"])
        #expect(saga.step("each").output == ["A", "B", "C"])
    }

    @Test func loopStartsNoMoreThanItsLimitAtOnce() {
        var saga = SagaRun(
            .foreach("each", in: ".input", as: "it", limit: 2, .call("a"), .call("b")), input: [1, 2, 3, 4])
        #expect(saga.begin() == ["call each[0].a", "call each[1].a"])
        #expect(saga.succeed("each[1].a") == ["call each[1].b"])
        #expect(saga.succeed("each[1].b") == ["call each[2].a"])
        #expect(saga.succeed("each[2].a") == ["call each[2].b"])
        #expect(saga.succeed("each[0].a") == ["call each[0].b"])
        #expect(saga.succeed("each[0].b") == ["call each[3].a"])
    }

    @Test func loopOverNothingEndsAtOnce() {
        var saga = SagaRun(.foreach("each", in: ".input", as: "it", .call("a")), input: [])
        #expect(saga.begin() == ["tell parent completed"])
        #expect(saga.step("each").output == [])
    }

    @Test func loopOverAThousandItemsIsTheLongest() {
        let items = { (count: Int) in JSON.array((0..<count).map { JSON($0) }) }
        var saga = SagaRun(.foreach("each", in: ".input", as: "it", .set("s", .value(".it"))), input: items(1000))
        #expect(saga.begin() == ["tell parent completed"])
        #expect(saga.step("each").output == items(1000))
        var longer = SagaRun(.foreach("each", in: ".input", as: "it", .set("s", .value(".it"))), input: items(1001))
        #expect(longer.begin() == ["tell parent failed"])
        #expect(longer.state.failure?.detail?.contains("1001 items; expected at most 1000") == true)
    }

    @Test func loopOverWhatIsNoArrayFails() {
        var saga = SagaRun(.foreach("each", in: ".input", as: "it", .call("a")), input: ["x": 1])
        #expect(saga.begin() == ["tell parent failed"])
        #expect(saga.state.failure?.detail?.contains("is object; expected an array") == true)
    }

    @Test func nestedLoopsSeeBothItemsAndTheirOwnIteration() throws {
        let body = ValueTemplate.array([
            .value(".row"), .value(".cell"), .value(".steps.first.output"), .value(".steps.outer.output"),
        ])
        var saga = SagaRun(
            .set("outer", .literal("O")),
            .foreach(
                "rows", in: ".input", as: "row", limit: 9,
                .foreach(
                    "cells", in: ".row", as: "cell", limit: 9, .set("first", .value(".cell")),
                    .call("a", body: body).undone(body: body))),
            input: [["a", "b"], ["c"]])
        #expect(saga.begin() == ["call rows[0].cells[0].a", "call rows[0].cells[1].a", "call rows[1].cells[0].a"])
        #expect(saga.call("call rows[0].cells[1].a")?.body == [["a", "b"], "b", "b", "O"])
        #expect(saga.call("call rows[1].cells[0].a")?.body == [["c"], "c", "c", "O"])
        _ = saga.succeed("rows[0].cells[0].a", 1)
        _ = saga.succeed("rows[1].cells[0].a", 3)
        #expect(saga.step("rows[1].cells").output == [3])
        #expect(saga.answer("rows[0].cells[1].a", .unknown) == ["undo rows[1].cells[0].a"])
        #expect(saga.call("undo rows[1].cells[0].a")?.body == [["c"], "c", "c", "O"])
    }

    @Test func iterationsDoNotSeeEachOther() {
        var saga = SagaRun(
            .foreach(
                "each", in: ".input", as: "it", .set("a", .value(".it")), .set("b", .value(".steps.a.output"))),
            .call("after", body: .value(".steps")), input: Self.letters)
        #expect(saga.begin() == ["call after"])
        // Neither the second of eleven nor the eleventh sees the first.
        #expect(saga.step("each").output == Self.letters)
        #expect(saga.call("call after")?.body == ["each": ["output": Self.letters]])
    }

    private static let letters: JSON = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]

    // MARK: - Switch

    @Test func switchTakesTheFirstCaseThatMatches() {
        var saga = SagaRun(
            .choose("s", (".input.a", [.call("x")]), (".input.b", [.call("y")]), (nil, [.call("z")])),
            input: ["b": true])
        #expect(saga.begin() == ["call s.y"])
        #expect(saga.succeed("s.y", 5) == ["tell parent completed"])
        #expect(saga.step("s").output == 5)
        #expect(saga.step("s").choice == 1)
    }

    @Test func switchTakesOtherwiseWhenNothingMatches() {
        var saga = SagaRun(.choose("s", (".input.a", [.call("x")]), (nil, [.call("z")])))
        #expect(saga.begin() == ["call s.z"])
    }

    @Test func switchOfWhichNothingMatchesDoesNothing() {
        var saga = SagaRun(.choose("s", (".input.a", [.call("x")])), .call("b"))
        #expect(saga.begin() == ["call b"])
        #expect(saga.step("s").status == .succeeded)
        #expect(saga.step("s").output == .null)
    }

    @Test func conditionBehindTheOneThatMatchesIsNotAsked() {
        var saga = SagaRun(.choose("s", (".input.a", [.call("x")]), ("bad()", [.call("y")])), input: ["a": 1])
        #expect(saga.begin() == ["call s.x"])
    }

    @Test func conditionOfASwitchThatFailsAborts() {
        var saga = SagaRun(.choose("s", ("bad()", [.call("y")]), (nil, [.call("z")])))
        #expect(saga.begin() == ["tell parent failed"])
    }

    // MARK: - Signals

    @Test func awaitTakesTheEventsPayload() {
        var saga = SagaRun(.await("w", "paid"), .call("a", body: .value(".steps.w.output")))
        #expect(saga.begin() == [])
        #expect(saga.step("w").status == .waiting)
        #expect(saga.signal("other", 1) == [])
        #expect(saga.signal("paid", ["x": 1]) == ["call a"])
        #expect(saga.call("call a")?.body == ["x": 1])
    }

    @Test func eventThatCameBeforeIsKept() {
        var saga = SagaRun(.call("a"), .await("w", "paid"), .call("b", body: .value(".steps.w.output")))
        _ = saga.begin()
        #expect(saga.signal("paid", 1) == [])
        #expect(saga.crash() == ["call a#2"])
        #expect(saga.succeed("a") == ["call b"])
        #expect(saga.call("call b")?.body == 1)
    }

    @Test func eventThatCameBeforeTheBeginningIsKept() {
        var saga = SagaRun(.await("w", "paid"), .call("b"))
        #expect(saga.signal("paid", 1) == [])
        #expect(saga.begin() == ["call b"])
    }

    @Test func eventsAreTakenInTheirOrderEachOnce() {
        var saga = SagaRun(.await("v", "e"), .await("w", "e"), .await("x", "e"))
        _ = saga.signal("e", 1)
        _ = saga.signal("e", 2)
        _ = saga.begin()
        #expect(saga.step("v").output == 1)
        #expect(saga.step("w").output == 2)
        #expect(saga.step("x").status == .waiting)
        #expect(saga.signal("e", 3) == ["tell parent completed"])
    }

    @Test func awaitThatTimesOutFails() {
        var saga = SagaRun(.await("w", "paid", timeout: .seconds(60)))
        _ = saga.begin()
        #expect(saga.due == .seconds(60))
        #expect(saga.tickWhenDue() == ["tell parent failed"])
        #expect(saga.state.failure == Failure(step: StepPath("w"), type: "timeout", detail: "no paid came in time"))
    }

    @Test func awaitThatTimesOutCanGoOn() {
        var saga = SagaRun(.await("w", "paid", timeout: .seconds(60), onTimeout: .continue), .call("a"))
        _ = saga.begin()
        #expect(saga.tickWhenDue() == ["call a"])
        #expect(saga.step("w").output == .null)
    }

    @Test func awaitedStepIsUndone() {
        var saga = SagaRun(.await("w", "paid").undone(body: .value(".output")), .fail("f", "no"))
        _ = saga.begin()
        #expect(saga.signal("paid", 4) == ["undo w"])
        #expect(saga.call("undo w")?.body == 4)
    }

    @Test func signalToASagaThatHasEndedIsRefused() {
        var saga = SagaRun(.set("s", .literal(1)))
        _ = saga.begin()
        let before = saga.state
        #expect(saga.signal("x") == [])
        #expect(saga.state == before)
        #expect(saga.history.last == "refused")
    }

    // MARK: - Approval

    @Test(arguments: [JSON.null, true, ["approved": true], ["approved": true, "by": "me"]])
    func approvalGoesOn(payload: JSON) {
        var saga = SagaRun(.approve("ok"), .call("a"))
        _ = saga.begin()
        #expect(saga.step("ok").action.input == ["prompt": "Really?"])
        #expect(saga.signal("ok", payload) == ["call a"])
        #expect(saga.step("ok").output == payload)
    }

    @Test(arguments: [
        JSON.bool(false), ["approved": false, "reason": "too dear"], "yes", [:], ["approved": "true"], 1,
    ])
    func anythingElseRejects(payload: JSON) {
        var saga = SagaRun(.approve("ok"), .call("a"))
        _ = saga.begin()
        #expect(saga.signal("ok", payload) == ["tell parent failed"])
        #expect(saga.state.failure?.type == "rejected")
        #expect(saga.state.failure?.detail == payload["reason"]?.string)
    }

    @Test func approvalTimesOut() {
        var saga = SagaRun(.approve("ok", timeout: .seconds(5)))
        _ = saga.begin()
        #expect(saga.tickWhenDue() == ["tell parent failed"])
    }

    // MARK: - The saga

    @Test func inputThatDoesNotFitTheSchemaFails() {
        var rules = JSONSchema.Rules()
        rules.types = [.object]
        rules.required = ["x"]
        var saga = SagaRun(.call("a")) { $0.inputSchema = .rules(rules) }
        #expect(saga.begin() == ["tell parent failed"])
        #expect(saga.state.failure == Failure(type: "invalid-input", detail: "the input has no member 'x'"))
    }

    @Test func expressionsSeeTheSaga() throws {
        var saga = SagaRun(.call("a", body: .value(".saga")))
        _ = saga.begin()
        #expect(
            saga.call("call a")?.body == [
                "id": .string("\(SagaRun.id)"), "name": "test", "version": 1, "key": "k",
                "started_at": "2027-01-15T08:00:00Z",
            ])
    }

    @Test func expressionsSeeTheErrorOfAStepThatWasSkippedByAnOperatorNoMore() {
        var saga = SagaRun(
            .set("p", .literal(1)).pivot(), .call("a", body: .value("bad()")), .call("b", body: .value(".steps.a")))
        _ = saga.begin()
        #expect(saga.status == .stuck)
        #expect(saga.ask(.skip(step: "a", reason: "by hand", output: 3)) == ["settle letters", "call b"])
        #expect(saga.call("call b")?.body == ["output": 3])
    }

    @Test func numbersKeepTheirDigits() throws {
        let input = try JSON(parsing: Array(#"{"n": 9007199254740993.10}"#.utf8))
        var saga = SagaRun(.call("a", body: .value(".input.n")), input: input)
        _ = saga.begin()
        #expect(saga.call("call a")?.body.text == "9007199254740993.10")
    }
}
