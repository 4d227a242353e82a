import Delivery
import Expressions
import Plans
import Primitives
import Sagas
import Testing

/// What is undone where, beyond what `MachineTests` compares.
struct WayBackTests {
    private func step(_ id: String, isPivot: Bool = false) throws -> Step {
        var step = try Samples.call(.post, "https://a.example", id: id)
        step.isPivot = isPivot
        if !isPivot { step.compensation = try Samples.compensation(.delete, "https://a.example") }
        return step
    }

    private func choice(_ id: String, _ cases: [[Step]], otherwise: [Step]? = nil) throws -> Step {
        var all = try cases.enumerated().map { Switch.Case(condition: try Expression(".input.x == \($0)"), steps: $1) }
        if let otherwise { all.append(Switch.Case(condition: nil, steps: otherwise)) }
        return Step(id: id, action: .choose(Switch(cases: all)))
    }

    private func point(_ id: String, of steps: [Step]) throws -> FailurePoint {
        try #require(SagaPlan(Samples.saga(steps)).failures.first { $0.place == .step(id) })
    }

    @Test func aCallThatFailsIsUndoneIfItMayHaveHappened() throws {
        #expect(
            try point("b", of: [step("a"), step("b")]).undone == [.step("b", .mayHaveHappened), .step("a", .always)])
    }

    @Test func aStatementThatFailsHasNotHappened() throws {
        var statement = Step(id: "b", action: .call(.sql(SQLCall(statement: "select 1", arguments: []))))
        statement.compensation = Compensation(action: .call(.sql(SQLCall(statement: "select 2", arguments: []))))
        #expect(try point("b", of: [step("a"), statement]).undone == [.step("a", .always)])
        // But what it did is done when its output cannot be made of it.
        statement.output = Samples.text("${ .output.id }")
        #expect(
            try point("b", of: [step("a"), statement]).undone == [.step("b", .mayHaveHappened), .step("a", .always)])
    }

    @Test func whatHasNoCompensationStays() throws {
        let bare = try Samples.call(.post, "https://a.example", id: "bare")
        let read = try Samples.call(.get, "https://a.example", id: "read")
        let last = try point("last", of: [step("a"), bare, read, step("last")])
        #expect(last.stays == ["bare"])
        #expect(last.undone == [.step("last", .mayHaveHappened), .step("a", .always)])
        #expect(try point("bare", of: [step("a"), bare]).stays == ["bare"])
    }

    @Test func stepsBehindThePivotHaveNoUndoing() throws {
        let sub = Step(id: "sub", action: .run(Run(saga: "other", input: .literal([:]))))
        let plan = SagaPlan(Samples.saga([sub, try step("pivot", isPivot: true)]))
        #expect(plan.steps[0].undo?.does == "the sub-saga other as one unit")
        let behind = SagaPlan(Samples.saga([try step("pivot", isPivot: true), sub]))
        #expect(behind.steps[1].undo == nil)
        #expect(behind.failures.last?.outcome == .stuck(behind: ["pivot"]))
    }

    @Test func behindAPivotInOneCaseItDepends() throws {
        let carrier = try choice("carrier", [[step("pivot", isPivot: true)], [step("b")]])
        let last = try point("last", of: [step("a"), carrier, step("last")])
        #expect(last.outcome == .undoneUnlessPast(["pivot"]))
        #expect(
            last.words
                == "stuck if pivot has succeeded; else undo last (if it may have happened), [carrier, the case that ran: b], a"
        )
    }

    @Test func behindAPivotInEveryCaseNothingIsUndone() throws {
        let carrier = try choice(
            "carrier", [[step("one", isPivot: true)]], otherwise: [step("two", isPivot: true)])
        #expect(try point("last", of: [step("a"), carrier, step("last")]).outcome == .stuck(behind: ["one", "two"]))
        // A case that always fails leads nowhere.
        let refuse = Step(id: "refuse", action: .fail(Fail(type: "no")))
        let refusing = try choice("carrier", [[step("one", isPivot: true)]], otherwise: [refuse])
        #expect(try point("last", of: [step("a"), refusing, step("last")]).outcome == .stuck(behind: ["one"]))
    }

    @Test func aPivotThatMayBeSkippedIsPerhapsPassed() throws {
        var pivot = try step("pivot", isPivot: true)
        pivot.condition = try Expression(".input.paid")
        #expect(try point("last", of: [pivot, step("last")]).outcome == .undoneUnlessPast(["pivot"]))
    }

    @Test func aPivotWhoseOutcomeIsAlwaysKnownIsNeverStuck() throws {
        var pivot = Step(id: "pivot", action: .call(.sql(SQLCall(statement: "select 1", arguments: []))))
        pivot.isPivot = true
        #expect(try point("pivot", of: [step("a"), pivot]).outcome == .undone)
    }

    @Test func aContainerIsUndoneAfterWhatItContains() throws {
        var loop = Step(
            id: "loop",
            action: .foreach(
                Foreach(items: try Expression(".input.items"), name: "item", steps: [try step("a"), try step("b")])))
        loop.compensation = try Samples.compensation(.delete, "https://a.example")
        #expect(
            try point("last", of: [loop, step("last")]).words
                == "undo last (if it may have happened), [loop, each iteration, the last first: b, a], loop")
        // It has not succeeded.
        #expect(
            try point("b", of: [loop]).words
                == "undo b (if it may have happened), a, [loop, each earlier iteration, the last first: b, a]")
        loop.compensation?.when = .started
        #expect(
            try point("a", of: [loop]).words
                == "undo a (if it may have happened), [loop, each earlier iteration, the last first: b, a], loop")
    }

    @Test func theOutputIsAPlaceToFail() throws {
        var saga = Samples.saga([try step("a")])
        saga.output = Samples.text("${ .steps.a.output }")
        let plan = SagaPlan(saga)
        #expect(plan.failures.map(\.place) == [.step("a"), .sagaOutput])
        #expect(plan.failures[1].undone == [.step("a", .always)])
    }

    @Test(arguments: [
        (RetryPolicy.Attempts.limited(1), 2.0, ["one try of 30s"]),
        (.limited(2), 2, ["2 tries of 30s", "300ms apart"]),
        (.limited(3), 3, ["3 tries of 30s", "300ms to 900ms apart"]),
        (.limited(99), 2, ["99 tries of 30s", "300ms to 30s apart"]),
        (.limited(9), 1, ["9 tries of 30s", "300ms apart"]),
        (.forever, 2, ["any number of tries of 30s", "300ms to 30s apart"]),
    ])
    func retriesInWords(attempts: RetryPolicy.Attempts, multiplier: Double, words: [String]) throws {
        var step = try step("a")
        step.retry.attempts = attempts
        step.retry.initial = .milliseconds(300)
        step.retry.multiplier = multiplier
        #expect(SagaPlan(Samples.saga([step])).steps[0].settings == words)
    }
}
