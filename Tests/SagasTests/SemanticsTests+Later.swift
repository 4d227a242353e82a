import Delivery
import Expressions
import Primitives
import Sagas
import Testing

extension SemanticsTests {
    // MARK: 9. Timeout, cancel, terminate

    @Test func timeoutOfTheSagaUndoesWhatWasStarted() {
        var saga = SagaRun(.call("a").undone(), .wait("w", .seconds(3600))) { $0.timeout = .seconds(60) }
        _ = saga.begin()
        #expect(saga.succeed("a") == [])
        #expect(saga.due == .seconds(60))
        #expect(saga.tickWhenDue() == ["undo a"])
        #expect(saga.state.failure?.type == "timeout")
    }

    @Test func timeoutDoesNotLimitCompensations() {
        var saga = SagaRun(.call("a").undone(attempts: 9), .fail("b", "no")) { $0.timeout = .seconds(1) }
        _ = saga.begin()
        #expect(saga.succeed("a") == ["undo a"])
        #expect(saga.answer("a", op: .compensate, .unknown) == [])
        #expect(saga.tick(after: .seconds(10)) == ["undo a#2"])
        #expect(saga.undo("a") == ["tell parent compensated"])
    }

    @Test func cancelUndoesWhatWasStarted() {
        var saga = SagaRun(.call("a").undone(), .wait("w", .seconds(3600)))
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.ask(.cancel(reason: "changed my mind")) == ["undo a"])
        #expect(saga.state.failure == Failure(type: "cancelled", detail: "changed my mind (by ops)"))
    }

    @Test func cancelDuringCompensationChangesNothingAndSaysSo() {
        var saga = SagaRun(.call("a").undone(), .fail("b", "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        let before = saga.state
        #expect(saga.ask(.cancel(reason: "x")) == [])
        #expect(saga.state == before)
        #expect(
            saga.facts.last?.kind
                == .refused(act: "cancel", reason: "the saga is compensating already", by: "ops"))
    }

    @Test func cancelAtAStuckCompensationChangesNothing() {
        var saga = SagaRun(.call("a").undone(), .fail("b", "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        _ = saga.answer("a", op: .compensate, .refusal)
        let before = saga.state
        #expect(saga.ask(.cancel(reason: "x")) == [])
        #expect(saga.state == before)
    }

    @Test func terminateStopsAtOnceAndUndoesNothing() {
        var saga = SagaRun(.call("a").undone(), .call("b").undone()) {
            $0.hooks[.terminated] = Publication(topic: "gone", payload: .literal(.null))
        }
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.ask(.terminate(reason: "x")) == ["settle letters", "tell parent terminated", "publish gone"])
        #expect(saga.due == nil)
        let before = saga.state
        #expect(saga.succeed("b") == [])
        #expect(saga.history.last == "late b")
        #expect(saga.tick(after: .seconds(1000)) == [])
        #expect(saga.crash() == [])
        #expect(saga.state == before)
    }

    // MARK: 11. Parallel

    @Test func afterAFailureNoOtherBranchGoesOn() {
        var saga = SagaRun(.parallel("p", [.call("a").undone(), .call("a2")], [.call("b")]))
        #expect(saga.begin() == ["call p.b0.a", "call p.b1.b"])
        #expect(saga.refuse("p.b1.b") == [])
        #expect(saga.succeed("p.b0.a") == ["undo p.b0.a"])
        #expect(!saga.history.contains("started p.b0.a2"))
    }

    @Test func stepWhoseInputIsBeingMadeDoesNotBeginBesideAFailure() {
        var saga = SagaRun(.parallel("p", [.call("a", body: .value(".input"))], [.fail("f", "no")]))
        #expect(saga.begin() == ["tell parent failed"])
        #expect(!saga.history.contains("started p.b0.a"))
    }

    @Test func failureIsSeenBeforeABranchBesideItGoesOn() {
        var saga = SagaRun(
            .parallel("p", [.wait("w", .seconds(10)), .call("a")], [.await("e", "x", timeout: .seconds(10))]))
        _ = saga.begin()
        #expect(saga.tick(after: .seconds(10)) == ["tell parent failed"])
        #expect(!saga.history.contains("started p.b0.a"))
    }

    @Test func tryThatIsDueTogetherWithAFailureIsNotSent() {
        var saga = SagaRun(
            .parallel("p", [.call("a").retried(2)], [.await("e", "x", timeout: .milliseconds(500))]))
        _ = saga.begin()
        _ = saga.answer("p.b0.a", .unreachable)
        #expect(saga.tick(after: .milliseconds(500)) == ["tell parent failed"])
        #expect(!saga.history.contains("sent p.b0.a"))
    }

    @Test func parallelThatWaitsLetsTheOtherBranchesGoOnFirst() {
        var saga = SagaRun(
            .parallel("p", onError: .wait, [.call("a"), .call("a2").undone()], [.call("b"), .call("b2")]))
        #expect(saga.begin() == ["call p.b0.a", "call p.b1.b"])
        #expect(saga.refuse("p.b1.b") == [])
        #expect(saga.status == .running)
        #expect(saga.succeed("p.b0.a") == ["call p.b0.a2"])
        #expect(saga.succeed("p.b0.a2") == ["undo p.b0.a2"])
        #expect(saga.state.failure?.step == StepPath("p.b1.b"))
        #expect(!saga.history.contains("started p.b1.b2"))
    }

    @Test func parallelInsideOneThatWaitsStopsItsOwnBranches() {
        var saga = SagaRun(
            .parallel(
                "p", onError: .wait,
                [.parallel("q", [.call("a"), .call("a2")], [.call("b")])],
                [.call("c"), .call("c2")]))
        #expect(saga.begin() == ["call p.b0.q.b0.a", "call p.b0.q.b1.b", "call p.b1.c"])
        #expect(saga.refuse("p.b0.q.b1.b") == [])
        #expect(saga.succeed("p.b0.q.b0.a") == [])
        #expect(saga.succeed("p.b1.c") == ["call p.b1.c2"])
        #expect(saga.succeed("p.b1.c2") == ["tell parent failed"])
    }

    @Test func waitInsideAParallelThatHasFailedComesToItsEnd() {
        var saga = SagaRun(
            .parallel(
                "p", onError: .wait,
                [.parallel("q", [.await("w", "x", timeout: .seconds(60))], [.call("b")])],
                [.call("c")]))
        _ = saga.begin()
        #expect(saga.refuse("p.b0.q.b1.b") == [])
        #expect(saga.signal("x") == [])
        #expect(saga.due == .seconds(60))
        #expect(saga.tickWhenDue() == [])
        #expect(saga.due == nil)
        #expect(saga.succeed("p.b1.c") == ["tell parent failed"])
    }

    // MARK: 12. Loops and sub-sagas

    @Test func everyIterationThatStartedIsUndoneInReverse() throws {
        var saga = SagaRun(
            .foreach(
                "each", in: ".input", as: "item", limit: 2,
                .call("a").undone(body: .array([.value(".item"), .value(".output")]))),
            input: ["x", "y", "z", "never"])
        #expect(saga.begin() == ["call each[0].a", "call each[1].a"])
        #expect(saga.succeed("each[1].a", 1) == ["call each[2].a"])
        #expect(saga.refuse("each[2].a") == [])
        #expect(saga.succeed("each[0].a", 0) == ["undo each[1].a"])
        #expect(saga.call("undo each[1].a")?.body == ["y", 1])
        #expect(saga.undo("each[1].a") == ["undo each[0].a"])
        #expect(saga.call("undo each[0].a")?.body == ["x", 0])
        #expect(saga.undo("each[0].a") == ["tell parent compensated"])
    }

    @Test func subSagaIsUndoneAtItsPlace() {
        var saga = SagaRun(.call("a").undone(), .run("s"), .call("b").undone(), .fail("f", "no"))
        _ = saga.begin()
        #expect(saga.succeed("a") == ["start child s"])
        #expect(saga.endChild("s", .completed, output: 1) == ["call b"])
        #expect(saga.succeed("b") == ["undo b"])
        #expect(saga.undo("b") == ["tell child s undo"])
        #expect(saga.endChild("s", .compensated) == ["undo a"])
    }

    // MARK: 13. Crashes

    @Test func sameRequestIsSentAgainUnderTheSameKeyAfterACrash() throws {
        var saga = SagaRun(.call("a", body: .value(".input.x")).retried(3), input: ["x": 1])
        _ = saga.begin()
        let first = try #require(saga.call("call a"))
        #expect(saga.crash() == ["call a#2"])
        let second = try #require(saga.call("call a#2"))
        #expect(second.idempotencyKey == first.idempotencyKey)
        #expect(second.idempotencyKey == "\(SagaRun.id)/a/action")
        #expect(second.request == first.request)
        #expect(second.body == first.body)
        #expect(second.attempt == 1)
    }

    @Test func crashUsesUpNoAttempt() {
        var saga = SagaRun(.call("a").retried(2))
        _ = saga.begin()
        for send in 2...6 { #expect(saga.crash() == ["call a#\(send)"]) }
        #expect(saga.answer("a", .unknown) == [])
        #expect(saga.tickWhenDue() == ["call a#7"])
        #expect(saga.call("call a#7")?.attempt == 2)
        #expect(saga.answer("a", .unknown) == ["tell parent failed"])
    }

    @Test func compensationGoesOnAtTheSameStepAfterACrash() {
        var saga = SagaRun(.call("a").undone(), .call("b").undone(), .call("c").undone(), .fail("f", "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        _ = saga.succeed("b")
        #expect(saga.succeed("c") == ["undo c"])
        #expect(saga.undo("c") == ["undo b"])
        #expect(saga.crash() == ["undo b#2"])
        #expect(saga.undo("b") == ["undo a"])
        #expect(saga.crash() == ["undo a#2"])
        #expect(saga.undo("a") == ["tell parent compensated"])
    }

    @Test func whatIsSentByTheNewsThatWokeASleepingSagaIsNotLost() {
        var saga = SagaRun(.call("a").undone(), .approve("ok"), .call("p").pivot())
        _ = saga.begin()
        _ = saga.succeed("a")
        saga.takeUp()
        #expect(saga.signal("ok", ["approved": true]) == ["call p"])
        #expect(saga.handle(.recovered) == [])
        // Known not to have happened: the pivot's outcome is not unknown.
        #expect(saga.refuse("p") == ["undo a"])
    }

    @Test func tryThatADeadWorkerSentIsLostWhateverNewsComesFirst() {
        var saga = SagaRun(.call("a").retried(2))
        _ = saga.begin()
        saga.takeUp()
        #expect(saga.signal("hello") == [])
        #expect(saga.handle(.recovered) == ["call a#2"])
        #expect(saga.history.contains("lost a"))
    }

    @Test func sagaThatWasClaimedAndNeverBegunBeginsAfterACrash() {
        var saga = SagaRun(.call("a"))
        #expect(saga.crash() == ["call a"])
    }

    // MARK: 16. Duplicate start

    @Test func sagaBeginsOnce() {
        var saga = SagaRun(.call("a"))
        _ = saga.begin()
        let before = saga.state
        #expect(saga.begin() == [])
        #expect(saga.state == before)
    }

    // MARK: 18. Redrive

    @Test func redriveKeepsOutputsAndAppendsToTheHistory() throws {
        var saga = SagaRun(
            .call("a"), .call("p").pivot(), .call("b", body: .value(".steps.a.output")),
            .call("c", body: .value(".steps.b.output")))
        _ = saga.begin()
        _ = saga.succeed("a", "A")
        _ = saga.succeed("p")
        #expect(saga.refuse("b") == ["bury forward b"])
        let before = saga.facts
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call b#2"])
        #expect(saga.call("call b#2")?.body == "A")
        #expect(Array(saga.facts.prefix(before.count)) == before)
        #expect(saga.succeed("b", "B") == ["call c"])
        #expect(saga.call("call c")?.body == "B")
    }

    // MARK: 19. Expressions that fail

    @Test func expressionThatFailsAbortsTheSaga() {
        var saga = SagaRun(.call("a").undone(), .call("b", body: .value(".input.x.y")), input: ["x": 1])
        _ = saga.begin()
        #expect(saga.succeed("a") == ["undo a"])
        #expect(saga.state.failure?.type == "expression")
        #expect(saga.state.failure?.step == StepPath("b"))
    }

    @Test func expressionThatFailsBehindThePivotMakesTheSagaStuck() {
        var saga = SagaRun(.call("p").pivot(), .call("b", body: .value(".bad | x")))
        _ = saga.begin()
        #expect(saga.succeed("p") == ["bury forward b"])
        #expect(saga.status == .stuck)
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "bury forward b"])
        saga.results[".bad | x"] = .success(1)
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call b"])
    }

    @Test func expressionThatFailsInACompensationMakesTheSagaStuck() {
        var saga = SagaRun(.call("a").undone(), .call("b").undone(body: .value(".bad | .")), .fail("c", "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.succeed("b") == ["bury compensation b"])
        #expect(saga.status == .stuck)
        #expect(saga.step("b").compensationStatus == .failed)
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "bury compensation b"])
        saga.results[".bad | ."] = .success("good")
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "undo b"])
        #expect(saga.call("undo b")?.body == "good")
        #expect(saga.undo("b") == ["undo a"])
    }

    @Test func urlThatFailsInACompensationMakesTheSagaStuck() {
        let undone = Step.call("a").with { step in
            step.compensation = Compensation(
                action: .call(.http(HTTPCall(method: .delete, url: url("http://h/${ .output.id }")))))
        }
        var saga = SagaRun(undone, .fail("c", "no"))
        _ = saga.begin()
        #expect(saga.succeed("a", ["id": .null]) == ["bury compensation a"])
    }

    @Test func outputOfTheSagaThatFailsAbortsIt() {
        var saga = SagaRun(.call("a").undone()) { $0.output = .value(".steps.a.output.x.y") }
        _ = saga.begin()
        #expect(saga.succeed("a", ["x": 1]) == ["undo a"])
    }

    @Test func outputOfTheSagaThatFailsBehindThePivotMakesItStuck() {
        var saga = SagaRun(.call("p").pivot()) { $0.output = .value("bad(1)") }
        _ = saga.begin()
        #expect(saga.succeed("p") == ["bury forward"])
        #expect(saga.ask(.skip(step: "p", reason: "x", output: .null)) == [])
        #expect(saga.status == .stuck)
        saga.results["bad(1)"] = .success(7)
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "tell parent completed"])
        #expect(saga.state.output == 7)
    }

    // MARK: 20. Late reports

    @Test func whatIsReportedTooLateIsRecordedAndChangesNothing() {
        var saga = SagaRun(.call("a").retried(3).undone())
        _ = saga.begin()
        #expect(saga.crash() == ["call a#2"])
        let before = saga.state
        #expect(saga.answer("a", send: 1, .succeeded(1)) == [])
        #expect(saga.answer("a", send: 1, .refusal) == [])
        #expect(saga.answer("a", send: 1, .unknown) == [])
        #expect(saga.state == before)
        #expect(saga.history.suffix(3) == ["late a", "late a", "late a"])
        #expect(saga.succeed("a") == ["tell parent completed"])
        let after = saga.state
        #expect(saga.answer("a", .refusal) == [])
        #expect(saga.state == after)
    }

    // MARK: 21. Abandoned sagas

    @Test func sagaThatWasParkedGoesOnWhenAnOperatorSaysSo() {
        var saga = SagaRun(.call("a").undone())
        _ = saga.begin()
        saga.park()
        #expect(saga.crash() == [])
        #expect(saga.status == .stuck)
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call a#2"])
    }

    @Test func sagaThatWasParkedCanBeCancelled() {
        var saga = SagaRun(.call("a").undone())
        _ = saga.begin()
        saga.park()
        #expect(saga.crash() == [])
        #expect(saga.ask(.cancel(reason: "x")) == ["settle letters"])
        #expect(saga.status == .compensating)
        #expect(saga.tickWhenDue() == ["undo a"])
    }

    // MARK: 22. Timers

    @Test func timerThatCameDueWhileEverythingWasDownFiresOnce() {
        var saga = SagaRun(.wait("w", .seconds(10)), .call("a"))
        _ = saga.begin()
        #expect(saga.due == .seconds(10))
        #expect(saga.crash(after: .seconds(1000)) == ["call a"])
        #expect(saga.tick() == [])
        #expect(saga.history.filter { $0 == "succeeded w" }.count == 1)
    }
}
