import Delivery
import Expressions
import Primitives
import Sagas
import Testing

/// Sub-sagas, as their parent sees them and as they see it.
struct SubSagaTests {
    private func parent() -> SagaRun {
        var saga = SagaRun(.call("a").undone(), .run("s", .value(".input.x")), .call("b"), input: ["x": 1])
        _ = saga.begin()
        #expect(saga.succeed("a") == ["start child s"])
        return saga
    }

    // MARK: - The parent

    @Test func subSagaGetsItsInputAndKey() {
        var saga = SagaRun(.run("s", .value(".input"), key: "k${ .input.x }"), input: ["x": 1])
        _ = saga.begin()
        guard case .startChild(let path, let name, let input, let key)? = saga.effects.first else {
            Issue.record("no sub-saga is started")
            return
        }
        #expect(path == StepPath("s"))
        #expect(name == "child")
        #expect(input == ["x": 1])
        #expect(key == "k1")
        #expect(saga.step("s").status == .waiting)
    }

    @Test func completedSubSagaGivesItsOutput() {
        var saga = parent()
        #expect(saga.endChild("s", .completed, output: 5) == ["call b"])
        #expect(saga.step("s").output == 5)
    }

    @Test(arguments: [SagaState.Status.compensated, .failed])
    func subSagaThatUndidItselfFailsTheStepAndIsNotUndone(status: SagaState.Status) {
        var saga = parent()
        let failure = Failure(step: StepPath("inner"), type: "no", detail: "x", status: 422)
        #expect(saga.endChild("s", status, failure: failure) == ["undo a"])
        #expect(saga.step("s").status == .failed)
        #expect(saga.state.failure == Failure(step: StepPath("s"), type: "no", detail: "x", status: 422))
    }

    @Test func terminatedSubSagaMayHaveHappenedAndCannotBeUndone() {
        var saga = parent()
        #expect(saga.endChild("s", .terminated) == ["tell child s undo"])
        #expect(saga.step("s").status == .unknown)
        #expect(
            saga.endChild("s", .terminated, failure: Failure(type: "refused", detail: "terminated")) == [
                "bury compensation s"
            ])
        #expect(saga.ask(.skip(step: "s", reason: "by hand", output: .null)) == ["settle letters", "undo a"])
    }

    @Test func subSagaInFlightIsCancelledAndAwaited() {
        var saga = parent()
        #expect(saga.ask(.cancel(reason: "x")) == ["tell child s cancel"])
        #expect(saga.tick(after: .seconds(10_000)) == [])
        #expect(saga.endChild("s", .compensated) == ["undo a"])
    }

    @Test func subSagaThatCompletesWhileItsParentAbortsIsUndone() {
        var saga = parent()
        _ = saga.ask(.cancel(reason: "x"))
        #expect(saga.endChild("s", .completed, output: 1) == ["tell child s undo"])
        #expect(saga.endChild("s", .compensated) == ["undo a"])
    }

    @Test func undoThatIsRefusedMakesTheParentStuck() {
        var saga = parent()
        _ = saga.endChild("s", .completed)
        #expect(saga.refuse("b") == ["tell child s undo"])
        let failure = Failure(type: "refused", detail: "the pivot has succeeded")
        #expect(saga.endChild("s", .completed, failure: failure) == ["bury compensation s"])
        #expect(saga.state.trouble?.detail == "the pivot has succeeded")
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "tell child s undo"])
        #expect(saga.endChild("s", .compensated) == ["undo a"])
    }

    @Test func subSagaWithNothingToUndoIsUndone() {
        var saga = parent()
        _ = saga.endChild("s", .completed)
        _ = saga.refuse("b")
        #expect(saga.endChild("s", .failed) == ["undo a"])
    }

    @Test func deadlineOfASubSagaAborts() {
        var saga = SagaRun(.run("s").deadline(.seconds(60)))
        _ = saga.begin()
        #expect(saga.due == .seconds(60))
        #expect(saga.tickWhenDue() == ["tell child s cancel"])
        #expect(saga.due == nil)
        #expect(saga.endChild("s", .compensated) == ["tell parent failed"])
        #expect(
            saga.state.failure
                == Failure(step: StepPath("s"), type: "deadline", detail: "the sub-saga did not end in time"))
    }

    @Test func subSagaBehindThePivotIsAwaited() {
        var saga = SagaRun(.set("p", .literal(1)).pivot(), .run("s").deadline(.seconds(60)))
        _ = saga.begin()
        #expect(saga.due == nil)
        #expect(saga.tick(after: .seconds(100)) == [])
        #expect(saga.endChild("s", .failed) == ["bury forward s"])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "start child s"])
        #expect(saga.endChild("s", .completed) == ["tell parent completed"])
    }

    @Test func subSagaThatMayHaveHappenedIsNotStartedAgain() {
        var saga = SagaRun(.set("p", .literal(1)).pivot(), .run("s"))
        _ = saga.begin()
        #expect(saga.endChild("s", .terminated) == ["bury forward s"])
        #expect(saga.ask(.retry(input: nil)) == [])
        #expect(saga.status == .stuck)
        #expect(
            saga.ask(.resolve(step: "s", happened: true, output: 2)) == ["settle letters", "tell parent completed"])
    }

    @Test func endOfASubSagaThatNobodyAwaitsChangesNothing() {
        var saga = parent()
        _ = saga.endChild("s", .completed)
        let before = saga.state
        #expect(saga.endChild("s", .completed) == [])
        #expect(saga.endChild("unknown", .completed) == [])
        #expect(saga.state == before)
    }

    @Test func subSagaSurvivesTheCrashOfItsParent() {
        var saga = parent()
        #expect(saga.crash() == [])
        #expect(saga.endChild("s", .completed) == ["call b"])
        _ = saga.refuse("b")
        #expect(saga.crash() == [])
        #expect(saga.endChild("s", .compensated) == ["undo a"])
    }

    @Test func parentsSuspensionAndTerminationReachItsSubSagas() {
        var saga = parent()
        #expect(saga.ask(.suspend()) == ["tell child s suspend"])
        #expect(saga.ask(.resume()) == ["tell child s resume"])
        #expect(
            saga.ask(.terminate(reason: "x")) == ["tell child s terminate", "settle letters", "tell parent terminated"])
    }

    // MARK: - The sub-saga

    @Test func completedSagaIsUndoneAsAWhole() {
        var saga = SagaRun(.call("a").undone(), .call("b").undone()) {
            $0.hooks[.compensated] = Publication(topic: "undone", payload: .value(".failure.type"))
        }
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.succeed("b") == ["tell parent completed"])
        #expect(saga.ask(.undo(reason: "x")) == ["undo b"])
        #expect(saga.undo("b") == ["undo a"])
        #expect(saga.crash() == ["undo a#2"])
        #expect(saga.undo("a") == ["tell parent compensated", "publish undone"])
        #expect(saga.messages.map(\.payload) == ["parent-aborted"])
    }

    @Test func undoneSagaCanGetStuckAndGoOn() {
        var saga = SagaRun(.call("a").undone())
        _ = saga.begin()
        _ = saga.succeed("a")
        _ = saga.ask(.undo(reason: "x"))
        #expect(saga.answer("a", op: .compensate, .refusal) == ["bury compensation a"])
        #expect(
            saga.ask(.skip(step: "a", reason: "x", output: .null)) == ["settle letters", "tell parent compensated"])
    }

    @Test func undoOfNothingTellsTheParent() {
        var saga = SagaRun(.call("a"))
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.ask(.undo(reason: "x")) == ["tell parent failed"])
    }

    @Test func undoBehindThePivotIsRefusedAndTheParentIsTold() {
        var saga = SagaRun(.call("a").pivot())
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.ask(.undo(reason: "x")) == ["tell parent completed"])
        guard case .tellParent(let outcome)? = saga.effects.first else { return }
        #expect(outcome.failure?.type == "refused")
        #expect(saga.status == .completed)
    }

    @Test func undoOfWhatHasNotCompletedIsRefusedAndTheParentIsTold() {
        var saga = SagaRun(.call("a"))
        _ = saga.begin()
        #expect(saga.ask(.undo(reason: "x")) == ["tell parent running"])
        _ = saga.ask(.terminate(reason: "x"))
        #expect(saga.ask(.undo(reason: "x")) == ["tell parent terminated"])
    }
}
