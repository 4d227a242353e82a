import Delivery
import Expressions
import Primitives
import Sagas
import Testing

/// Case 10 of the semantics: the point of no return.
struct PivotTests {
    private func saga(_ pivot: Step = .call("p").retried(2).pivot(), timeout: Duration? = nil) -> SagaRun {
        var saga = SagaRun(.call("a").undone(), pivot, .call("b").retried(2)) { $0.timeout = timeout }
        _ = saga.begin()
        _ = saga.succeed("a")
        return saga
    }

    private let cancel = SagaEvent.Act.cancel(reason: "x")

    // MARK: - Behind it

    @Test func whatIsExhaustedBehindThePivotMakesTheSagaStuck() {
        var saga = saga()
        #expect(saga.succeed("p") == ["call b"])
        #expect(saga.answer("b", .unknown) == [])
        #expect(saga.tickWhenDue() == ["call b#2"])
        #expect(saga.answer("b", .unknown) == ["bury forward b"])
        #expect(saga.status == .stuck)
        #expect(saga.due == nil)
        #expect(saga.step("a").compensationStatus == .notRequired)
    }

    @Test func whatIsRefusedBehindThePivotCanBeRetriedOrSkipped() {
        var saga = saga()
        _ = saga.succeed("p")
        #expect(saga.refuse("b") == ["bury forward b"])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call b#2"])
        #expect(saga.refuse("b") == ["bury forward b"])
        #expect(
            saga.ask(.skip(step: "b", reason: "by hand", output: 5)) == ["settle letters", "tell parent completed"])
        #expect(saga.step("b").output == 5)
        #expect(saga.step("b").status == .skipped)
    }

    @Test func cancelBehindThePivotIsRefused() {
        var saga = saga()
        _ = saga.succeed("p")
        let before = saga.state
        #expect(saga.ask(cancel) == [])
        #expect(saga.state == before)
        #expect(saga.history.last == "refused")
        _ = saga.refuse("b")
        #expect(saga.ask(cancel) == [])
        #expect(saga.status == .stuck)
    }

    @Test func timeoutBehindThePivotMakesTheSagaStuck() {
        var saga = saga(timeout: .seconds(60))
        #expect(saga.succeed("p") == ["call b"])
        #expect(saga.tickWhenDue() == ["bury timeout"])
        #expect(saga.status == .stuck)
        #expect(saga.due == nil)
        #expect(saga.succeed("b") == [])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "tell parent completed"])
    }

    // MARK: - While it runs

    @Test func cancelWhileThePivotRunsIsDroppedWhenItSucceeds() {
        var saga = saga()
        #expect(saga.ask(cancel) == [])
        #expect(saga.status == .running)
        #expect(saga.state.noted?.type == "cancelled")
        #expect(saga.succeed("p") == ["call b"])
        #expect(saga.state.noted == nil)
        #expect(saga.succeed("b") == ["tell parent completed"])
    }

    @Test func cancelWhileThePivotRunsCountsWhenItIsRefused() {
        var saga = saga()
        _ = saga.ask(cancel)
        #expect(saga.refuse("p") == ["undo a"])
        #expect(saga.state.failure?.type == "cancelled")
    }

    @Test func notedPivotIsNotTriedAgainOnceItIsKnownNotToHaveHappened() {
        var saga = saga()
        _ = saga.ask(cancel)
        #expect(saga.answer("p", .unreachable) == ["undo a"])
    }

    @Test func notedPivotIsTriedAgainWhileItIsUnknown() {
        var saga = saga()
        _ = saga.ask(cancel)
        #expect(saga.answer("p", .unknown) == [])
        #expect(saga.tickWhenDue() == ["call p#2"])
        #expect(saga.succeed("p") == ["call b"])
    }

    @Test func cancelBetweenTriesOfAPivotThatHasNotHappenedAborts() {
        var saga = saga()
        _ = saga.answer("p", .unreachable)
        #expect(saga.ask(cancel) == ["undo a"])
    }

    @Test func cancelBetweenTriesOfAPivotThatMayHaveHappenedIsNoted() {
        var saga = saga()
        _ = saga.answer("p", .unknown)
        #expect(saga.ask(cancel) == [])
        #expect(saga.state.noted != nil)
        #expect(saga.tickWhenDue() == ["call p#2"])
    }

    @Test func cancelBeforeThePivotHasBegunAborts() {
        var saga = SagaRun(.call("a").undone(), .wait("w", .seconds(9)), .call("p").pivot())
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.ask(cancel) == ["undo a"])
    }

    @Test func timeoutWhileThePivotRunsIsNotedOnceAndDroppedWithItsDeadline() {
        var saga = saga(timeout: .seconds(5))
        #expect(saga.tickWhenDue() == [])
        #expect(saga.state.noted?.type == "timeout")
        #expect(saga.due == nil)
        #expect(saga.tick(after: .seconds(1)) == [])
        #expect(saga.history.filter { $0 == "noted" }.count == 1)
        #expect(saga.succeed("p") == ["call b"])
        #expect(saga.tick(after: .seconds(100)) == [])
        #expect(saga.succeed("b") == ["tell parent completed"])
    }

    @Test func timeoutThatPassedUnseenWhileThePivotRanIsDroppedToo() {
        var saga = saga(timeout: .seconds(5))
        saga.pass(.seconds(6))
        #expect(saga.succeed("p") == ["call b"])
        #expect(saga.tick() == [])
        #expect(saga.status == .running)
    }

    @Test func timeoutDoesNotCutThePivotsTriesShort() {
        var saga = saga(.call("p").retried(3) { $0.initial = .seconds(10) }.pivot(), timeout: .seconds(5))
        #expect(saga.answer("p", .unknown) == [])
        #expect(saga.tickWhenDue() == [])
        #expect(saga.state.noted?.type == "timeout")
        #expect(saga.tickWhenDue() == ["call p#2"])
    }

    @Test func statementOfThePivotThatWasCutOffByACrashIsNotSentAgainAfterACancel() {
        var saga = saga(.sql("p").pivot())
        _ = saga.ask(cancel)
        #expect(saga.crash() == ["undo a"])
    }

    @Test func cancelWhileAnAsyncPivotIsAwaitedIsNoted() {
        var saga = saga(.asyncCall("p").pivot())
        #expect(saga.answer("p", .accepted) == [])
        #expect(saga.ask(cancel) == [])
        #expect(saga.callBack("p", .completed(1)) == ["call b"])
        #expect(saga.status == .running)
    }

    @Test func ongoingPivotIsUnderWay() {
        var saga = saga()
        _ = saga.answer("p", .ongoing(retryAfter: nil))
        #expect(saga.ask(cancel) == [])
        #expect(saga.tickWhenDue() == ["call p#2"])
        #expect(saga.answer("p", .unreachable) == [])
        #expect(saga.status == .running)
        #expect(saga.tickWhenDue() == ["call p#3"])
        #expect(saga.answer("p", .unreachable) == ["bury pivot p"])
    }

    @Test func pivotThatWaitsForAPersonCanBeCancelled() {
        var saga = saga(.approve("p").pivot())
        #expect(saga.ask(cancel) == ["undo a"])
    }

    @Test func approvedPivotIsTheRubicon() {
        var saga = saga(.approve("p").pivot())
        #expect(saga.signal("p", true) == ["call b"])
        #expect(saga.state.hasPivoted)
    }

    @Test func subSagaThatIsThePivotIsUnderWay() {
        var saga = saga(.run("p").pivot().deadline(.seconds(5)))
        #expect(saga.ask(cancel) == [])
        #expect(saga.due == nil)
        #expect(saga.endChild("p", .completed) == ["call b"])
    }

    @Test func skippedPivotIsNoRubicon() {
        var saga = SagaRun(.call("a").undone(), .call("p").pivot().if(".input.yes"), .call("b"))
        _ = saga.begin()
        #expect(saga.succeed("a") == ["call b"])
        #expect(saga.refuse("b") == ["undo a"])
    }

    // MARK: - Refused and unknown

    @Test func pivotThatIsRefusedAborts() {
        var saga = saga()
        #expect(saga.refuse("p") == ["undo a"])
    }

    @Test func pivotThatIsExhaustedAndHasNotHappenedAborts() {
        var saga = saga()
        _ = saga.answer("p", .unreachable)
        _ = saga.tickWhenDue()
        #expect(saga.answer("p", .unreachable) == ["undo a"])
    }

    @Test func pivotThatStaysUnknownMakesTheSagaStuck() {
        var saga = unknown()
        #expect(saga.status == .stuck)
        #expect(saga.state.trouble?.reason == .pivot)
        #expect(saga.step("p").status == .unknown)
        #expect(saga.ask(.skip(step: "p", reason: "x", output: .null)) == [])
        #expect(saga.ask(.retry(input: ["other": 1])) == [])
        #expect(saga.status == .stuck)
        #expect(saga.history.suffix(2) == ["refused", "refused"])
    }

    @Test func refusalDoesNotResolveAPivotThatMayHaveHappened() {
        var saga = saga()
        _ = saga.answer("p", .unknown)
        _ = saga.tickWhenDue()
        #expect(saga.refuse("p") == ["bury pivot p"])
    }

    @Test func operatorSaysThatThePivotHappened() {
        var saga = unknown()
        #expect(saga.ask(.resolve(step: "p", happened: true, output: 9)) == ["settle letters", "call b"])
        #expect(saga.step("p").output == 9)
        #expect(saga.state.hasPivoted)
    }

    @Test func operatorSaysThatThePivotDidNotHappen() {
        var saga = unknown()
        #expect(saga.ask(.resolve(step: "p", happened: false, output: .null)) == ["settle letters", "undo a"])
        #expect(saga.undo("a") == ["tell parent compensated"])
        #expect(saga.step("p").status == .failed)
    }

    @Test func pivotIsNotUndoneWhenItDidNotHappen() {
        var saga = saga(.call("p").undone().pivot())
        #expect(saga.answer("p", .unknown) == ["bury pivot p"])
        #expect(saga.ask(.resolve(step: "p", happened: false, output: .null)) == ["settle letters", "undo a"])
    }

    @Test func cancelAtAStuckPivotWaitsForTheOperatorsWord() {
        var saga = unknown()
        #expect(saga.ask(cancel) == [])
        #expect(saga.status == .stuck)
        #expect(saga.ask(.resolve(step: "p", happened: false, output: .null)) == ["settle letters", "undo a"])
        #expect(saga.state.failure?.type == "cancelled")
    }

    @Test func cancelAtAStuckPivotIsDroppedWhenItHappened() {
        var saga = unknown()
        _ = saga.ask(cancel)
        #expect(saga.ask(.resolve(step: "p", happened: true, output: .null)) == ["settle letters", "call b"])
        #expect(saga.state.noted == nil)
    }

    @Test func stuckPivotIsRetriedUnderItsKeyAndStaysUnknown() {
        var saga = unknown()
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call p#3"])
        #expect(saga.call("call p#3")?.idempotencyKey == "\(SagaRun.id)/p/action")
        #expect(saga.refuse("p") == ["bury pivot p"])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call p#4"])
        #expect(saga.succeed("p") == ["call b"])
    }

    @Test func terminatedSubSagaLeavesThePivotUnknown() {
        var saga = saga(.run("p").pivot())
        #expect(saga.endChild("p", .terminated) == ["bury pivot p"])
        #expect(saga.ask(.retry(input: nil)) == [])
        #expect(saga.status == .stuck)
        #expect(saga.ask(.resolve(step: "p", happened: true, output: .null)) == ["settle letters", "call b"])
    }

    @Test func outputThatCannotBeMadeOfAPivotLeavesItToAPerson() {
        var saga = saga(.call("p").pivot().giving(.value(".output.x.y")))
        #expect(saga.succeed("p", ["x": 1]) == ["bury pivot p"])
    }

    @Test func eventThatWasTheRubiconIsNotAwaitedASecondTime() {
        var saga = saga(.await("p", "shipped").pivot().giving(.value("bad()")))
        #expect(saga.signal("shipped", 3) == ["bury pivot p"])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "bury pivot p"])
        saga.results["bad()"] = .success("made")
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call b"])
        #expect(saga.step("p").output == "made")
    }

    @Test func timeoutOfTheSagaComesBeforeThatOfAWait() {
        var saga = SagaRun(
            .call("a").undone(), .await("p", "x", timeout: .seconds(60), onTimeout: .continue).pivot()
        ) { $0.timeout = .seconds(60) }
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.tickWhenDue() == ["undo a"])
        #expect(saga.step("p").status == .failed)
        #expect(!saga.state.hasPivoted)
    }

    private func unknown() -> SagaRun {
        var saga = saga()
        #expect(saga.answer("p", .unknown) == [])
        #expect(saga.tickWhenDue() == ["call p#2"])
        #expect(saga.answer("p", .unknown) == ["bury pivot p"])
        return saga
    }

    /// Its output cannot be made. Begun anew it could be aborted, by a cancel that was noted, though it has happened.
    @Test(arguments: [
        Step.await("p", "x", timeout: .seconds(1), onTimeout: .continue), .wait("p", .seconds(1)),
        .set("p", .literal(1)),
    ])
    func aPivotOfItsOwnThatHasHappenedIsNotBegunAnew(step: Step) {
        var saga = SagaRun(
            .call("a").undone(),
            step.with {
                $0.isPivot = true
                $0.output = .value(".output | error")
            })
        saga.results[".output | error"] = .failure(.failed(message: "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        _ = saga.tick(after: .seconds(1))
        #expect(saga.state.trouble?.reason == .pivot)
        _ = saga.ask(.retry(input: nil))
        #expect(saga.status == .stuck)
        #expect(saga.history.last == "refused")
        #expect(
            saga.ask(.resolve(step: "p", happened: true, output: 2)) == ["settle letters", "tell parent completed"])
    }
}
