import Delivery
import Expressions
import Primitives
import Sagas
import Testing

/// The numbered cases of the workflow language ("Semantics, case by case"), as far as the machine decides them. What of
/// 16, 17, 20, 21 and 22 belongs to the store and the engine is tested there.
struct SemanticsTests {
    // MARK: 1. Unknown outcome

    @Test func stepWhoseOutcomeIsUnknownIsUndone() {
        var saga = SagaRun(.call("a").undone())
        #expect(saga.begin() == ["call a"])
        #expect(saga.answer("a", .unknown) == ["undo a"])
        #expect(saga.step("a").status == .unknown)
    }

    @Test func laterRefusalDoesNotClearAnUnknownOutcome() {
        var saga = SagaRun(.call("a").undone().retried(2))
        #expect(saga.begin() == ["call a"])
        #expect(saga.answer("a", .unknown) == [])
        #expect(saga.tickWhenDue() == ["call a#2"])
        #expect(saga.refuse("a") == ["undo a"])
        #expect(saga.step("a").status == .unknown)
    }

    @Test func laterFailureThatIsKnownNotToHaveHappenedDoesNotClearAnUnknownOutcome() {
        var saga = SagaRun(.call("a").undone().retried(2))
        #expect(saga.begin() == ["call a"])
        #expect(saga.answer("a", .unknown) == [])
        #expect(saga.tickWhenDue() == ["call a#2"])
        #expect(saga.answer("a", .unreachable) == ["undo a"])
    }

    @Test func tryThatWasInFlightWhenTheEngineCrashedIsUnknown() {
        var saga = SagaRun(.call("a").undone())
        #expect(saga.begin() == ["call a"])
        #expect(saga.crash() == ["call a#2"])
        #expect(saga.refuse("a") == [])
        #expect(saga.step("a").status == .unknown)
        #expect(saga.tickWhenDue() == ["undo a"])
    }

    @Test func refusalWhoseOutcomeIsUnknownIsUndone() {
        var saga = SagaRun(.call("a").undone())
        #expect(saga.begin() == ["call a"])
        #expect(
            saga.answer("a", .refused(TryError(type: "output-too-large", message: ""), isUnknown: true)) == ["undo a"])
    }

    // MARK: 2. Known not to have happened

    @Test func failureThatIsKnownNotToHaveHappenedIsNotUndone() {
        var saga = SagaRun(.call("a").undone().retried(2))
        #expect(saga.begin() == ["call a"])
        #expect(saga.answer("a", .unreachable) == [])
        #expect(saga.tickWhenDue() == ["call a#2"])
        #expect(saga.answer("a", .unreachable) == ["tell parent failed"])
        #expect(saga.step("a").status == .failed)
    }

    // MARK: 3. A clean refusal

    @Test func cleanRefusalIsNotUndone() {
        var saga = SagaRun(.call("a").undone().retried(5))
        #expect(saga.begin() == ["call a"])
        #expect(saga.refuse("a") == ["tell parent failed"])
        #expect(saga.status == .failed)
        #expect(saga.step("a").compensationStatus == .notRequired)
        #expect(saga.state.failure == Failure(step: StepPath("a"), type: "no", detail: "HTTP 422", status: 422))
    }

    @Test func cleanRefusalIsUndoneWhereTheDefinitionSaysWhenStarted() {
        var saga = SagaRun(.call("a").undone(.started))
        #expect(saga.begin() == ["call a"])
        #expect(saga.refuse("a") == ["undo a"])
        #expect(saga.undo("a") == ["tell parent compensated"])
    }

    // MARK: 4. What never started

    @Test func stepThatNeverStartedIsNeverUndone() {
        var saga = SagaRun(.call("a").undone(), .call("b"), .call("c").undone(.started))
        #expect(saga.begin() == ["call a"])
        #expect(saga.succeed("a") == ["call b"])
        #expect(saga.refuse("b") == ["undo a"])
        #expect(saga.undo("a") == ["tell parent compensated"])
        #expect(saga.step("b").compensationStatus == .notRequired)
        #expect(saga.step("c") == StepState())
    }

    @Test func stepWhoseInputCannotBeMadeNeverStarted() {
        var saga = SagaRun(.call("a", body: .value(".input | bad")).undone(.started))
        #expect(saga.begin() == ["tell parent failed"])
        #expect(saga.history == ["begun", "failed a", "aborting", "compensating", "failed"])
    }

    @Test func sagaThatAbortsWithNothingToUndoHasFailed() {
        var saga = SagaRun(.call("a"), .call("b"))
        #expect(saga.begin() == ["call a"])
        #expect(saga.succeed("a") == ["call b"])
        #expect(saga.refuse("b") == ["tell parent failed"])
    }

    // MARK: 5. Order

    @Test(arguments: [
        Step.parallel("c", [.call("a").undone()]), .choose("c", (nil, [.call("a").undone()])),
        .foreach("c", in: ".input", as: "i", .call("a").undone()),
    ])
    func whatContainsStepsIsUndoneAfterThem(container: Step) {
        var saga = SagaRun(container.undone(), .fail("f", "no"), input: [1])
        _ = saga.begin()
        let inside = saga.state.starts.last?.text ?? ""
        #expect(saga.succeed(inside) == ["undo \(inside)"])
        #expect(saga.undo(inside) == ["undo c"])
        #expect(saga.undo("c") == ["tell parent compensated"])
    }

    @Test func stepsAreUndoneInTheReverseOrderOfTheirStarts() {
        var saga = SagaRun(.call("a").undone(), .call("b").undone(), .call("c").undone())
        #expect(saga.begin() == ["call a"])
        #expect(saga.succeed("a") == ["call b"])
        #expect(saga.succeed("b") == ["call c"])
        #expect(saga.answer("c", .unknown) == ["undo c"])
        #expect(saga.undo("c") == ["undo b"])
        #expect(saga.undo("b") == ["undo a"])
        #expect(saga.undo("a") == ["tell parent compensated"])
        #expect(saga.status == .compensated)
    }

    @Test func nextCompensationWaitsForTheFormerToSucceed() {
        var saga = SagaRun(.call("a").undone(), .call("b").undone(attempts: 2), .fail("c", "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.succeed("b") == ["undo b"])
        #expect(saga.answer("b", op: .compensate, .unknown) == [])
        #expect(saga.tickWhenDue() == ["undo b#2"])
        #expect(saga.undo("b") == ["undo a"])
    }

    @Test func stepsBehindAJoinAreUndoneBeforeItsBranches() {
        var saga = SagaRun(
            .parallel("p", [.call("x").undone()], [.call("y").undone(), .call("y2").undone()]), .call("z").undone(),
            .fail("f", "no"))
        #expect(saga.begin() == ["call p.b0.x", "call p.b1.y"])
        #expect(saga.succeed("p.b1.y") == ["call p.b1.y2"])
        #expect(saga.succeed("p.b0.x") == [])
        #expect(saga.succeed("p.b1.y2") == ["call z"])
        #expect(saga.succeed("z") == ["undo z"])
        #expect(saga.undo("z") == ["undo p.b1.y2"])
        #expect(saga.undo("p.b1.y2") == ["undo p.b1.y"])
        #expect(saga.undo("p.b1.y") == ["undo p.b0.x"])
    }

    // MARK: 6. Compensations that fail

    @Test func compensationHasItsOwnRetriesAndThenTheSagaIsStuck() {
        var saga = SagaRun(.call("a").undone(attempts: 2), .fail("b", "no")) {
            $0.hooks[.stuck] = Publication(topic: "help", payload: .value(".failure.type"))
        }
        _ = saga.begin()
        #expect(saga.succeed("a", 1) == ["undo a"])
        #expect(saga.answer("a", op: .compensate, .unknown) == [])
        #expect(saga.tickWhenDue() == ["undo a#2"])
        #expect(saga.answer("a", op: .compensate, .unknown) == ["bury compensation a", "publish help"])
        #expect(saga.status == .stuck)
        #expect(saga.step("a").compensationStatus == .failed)
        #expect(saga.letters.map(\.attempts) == [2])
        #expect(saga.messages.map(\.payload) == ["no"])
        #expect(saga.due == nil)
    }

    @Test func refusedCompensationMakesTheSagaStuckAtOnce() {
        var saga = SagaRun(.call("a").undone(attempts: 5), .fail("b", "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.answer("a", op: .compensate, .refusal) == ["bury compensation a"])
    }

    @Test(arguments: [404, 410]) func goneMeansUndone(status: Int) {
        var saga = SagaRun(.call("a").undone(), .fail("b", "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        let gone = SagaEvent.TryResult.refused(TryError(status: status, message: ""), isUnknown: false)
        #expect(saga.answer("a", op: .compensate, gone) == ["tell parent compensated"])
    }

    @Test func notFoundOfAnActionIsARefusal() {
        var saga = SagaRun(.call("a").undone())
        _ = saga.begin()
        let gone = SagaEvent.TryResult.refused(TryError(status: 404, message: ""), isUnknown: false)
        #expect(saga.answer("a", gone) == ["tell parent failed"])
    }

    @Test func stuckCompensationIsRetriedUnderItsKey() throws {
        var saga = stuckCompensation()
        let first = try #require(saga.call("undo a"))
        #expect(saga.answer("a", op: .compensate, .refusal) == ["bury compensation a"])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "undo a#2"])
        let second = try #require(saga.call("undo a#2"))
        #expect(second.idempotencyKey == first.idempotencyKey)
        #expect(second.body == first.body)
        #expect(saga.undo("a") == ["tell parent compensated"])
        #expect(saga.state.skipped == 0)
    }

    @Test func editedInputHasAKeyOfItsOwn() throws {
        var saga = stuckCompensation()
        let first = try #require(saga.call("undo a"))
        #expect(saga.answer("a", op: .compensate, .refusal) == ["bury compensation a"])
        #expect(saga.ask(.retry(input: ["charge": 2])) == ["settle letters", "undo a#2"])
        let second = try #require(saga.call("undo a#2"))
        #expect(first.idempotencyKey == "\(SagaRun.id)/a/compensate")
        #expect(second.idempotencyKey == "\(SagaRun.id)/a/compensate/1")
        #expect(second.body == ["charge": 2])
        #expect(second.attempt == 2)
    }

    @Test func skippedCompensationIsCounted() {
        var saga = stuckCompensation()
        #expect(saga.answer("a", op: .compensate, .refusal) == ["bury compensation a"])
        #expect(
            saga.ask(.skip(step: "a", reason: "by hand", output: .null)) == [
                "settle letters", "tell parent compensated",
            ])
        #expect(saga.status == .compensated)
        #expect(saga.state.skipped == 1)
        #expect(saga.step("a").compensationStatus == .skipped)
    }

    private func stuckCompensation() -> SagaRun {
        var saga = SagaRun(
            .call("a").undone(body: .object([.init(name: "charge", value: .value(".output"))])), .fail("b", "no"))
        _ = saga.begin()
        _ = saga.succeed("a", 1)
        return saga
    }

    // MARK: 7. Input of compensations

    @Test func compensationSeesWhatWasRecordedWhenItsStepStarted() throws {
        var saga = SagaRun(
            .call("a"),
            .parallel(
                "p",
                [
                    .call("b", body: .value(".steps.a.output")).undone(
                        body: .array([
                            .value(".output"), .value(".input_sent"), .value(".failure.type"), .value(".steps"),
                        ]))
                ],
                [.call("c")]),
            .fail("f", "late"))
        #expect(saga.begin() == ["call a"])
        #expect(saga.succeed("a", "A") == ["call p.b1.c", "call p.b0.b"])
        #expect(saga.succeed("p.b1.c", "C") == [])
        #expect(saga.succeed("p.b0.b", "B") == ["undo p.b0.b"])
        let undo = try #require(saga.call("undo p.b0.b"))
        #expect(undo.body == ["B", "A", "late", ["a": ["output": "A"]]])
        #expect(undo.forwardKey == "\(SagaRun.id)/p.b0.b/action")
    }

    @Test func compensationOfAStepThatMayHaveHappenedSeesNoOutput() throws {
        var saga = SagaRun(
            .call("a", body: .literal("sent")).undone(body: .array([.value(".output"), .value(".input_sent")])))
        _ = saga.begin()
        #expect(saga.answer("a", .unknown) == ["undo a"])
        #expect(saga.call("undo a")?.body == [.null, "sent"])
    }

    // MARK: 8. The decision to abort

    @Test func decisionStandsInTheHistoryBeforeTheFirstCompensation() {
        var saga = SagaRun(.call("a").undone(), .call("b"))
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.refuse("b") == ["undo a"])
        #expect(
            saga.history == [
                "begun", "started a", "succeeded a", "started b", "failed b", "aborting", "compensating",
                "started a/compensate",
            ])
    }

    @Test func callInFlightIsAwaitedBeforeAnythingIsUndone() {
        var saga = SagaRun(.call("z").undone(), .parallel("p", [.call("a").undone()], [.call("b")]))
        _ = saga.begin()
        #expect(saga.succeed("z") == ["call p.b0.a", "call p.b1.b"])
        #expect(saga.refuse("p.b1.b") == [])
        #expect(saga.status == .compensating)
        #expect(saga.succeed("p.b0.a") == ["undo p.b0.a"])
        #expect(saga.undo("p.b0.a") == ["undo z"])
    }

    @Test func callInFlightIsNotSentAgainAfterTheDecision() {
        var saga = SagaRun(.parallel("p", [.call("a").retried(5)], [.call("b")]))
        _ = saga.begin()
        #expect(saga.refuse("p.b1.b") == [])
        #expect(saga.answer("p.b0.a", .unreachable) == ["tell parent failed"])
    }

    @Test func waitsEndAtOnce() {
        var saga = SagaRun(
            .parallel(
                "p", [.wait("w", .seconds(60))], [.await("e", "x")], [.approve("ok")],
                [.call("r").retried(5).undone()], [.call("b")]))
        #expect(saga.begin() == ["call p.b3.r", "call p.b4.b"])
        #expect(saga.answer("p.b3.r", .unknown) == [])
        #expect(saga.refuse("p.b4.b") == ["undo p.b3.r"])
        #expect(saga.step("p.b0.w").status == .failed)
        #expect(saga.step("p.b1.e").status == .failed)
        #expect(saga.step("p.b2.ok").status == .failed)
        #expect(saga.step("p.b3.r").status == .unknown)
    }

    @Test func asyncCallIsAwaitedForAtMostAbortWait() {
        var saga = SagaRun(
            .parallel("p", [.asyncCall("a").undone().timeout(.seconds(7200))], [.call("b")]))
        _ = saga.begin()
        #expect(saga.answer("p.b0.a", .accepted) == [])
        #expect(saga.due == .seconds(7200))
        saga.pass(.seconds(100))
        #expect(saga.refuse("p.b1.b") == [])
        #expect(saga.due == .seconds(100) + SagaDefinition.defaultAbortWait)
        #expect(saga.tickWhenDue() == ["undo p.b0.a"])
        #expect(saga.step("p.b0.a").status == .unknown)
        let before = saga.state
        #expect(saga.callBack("p.b0.a", send: 1, .completed(1)) == [])
        #expect(saga.state == before)
        #expect(saga.history.last == "late p.b0.a")
    }

    @Test func abortWaitIsTheSagasOwn() {
        var saga = SagaRun(.parallel("p", [.asyncCall("a").undone().timeout(.seconds(7200))], [.call("b")])) {
            $0.abortWait = .seconds(5)
        }
        _ = saga.begin()
        _ = saga.answer("p.b0.a", .accepted)
        #expect(saga.refuse("p.b1.b") == [])
        #expect(saga.due == .seconds(5))
    }

    @Test func asyncCallThatIsAcceptedAfterTheDecisionIsAwaitedForAtMostAbortWait() {
        var saga = SagaRun(
            .parallel("p", [.asyncCall("a").undone().timeout(.seconds(7200))], [.call("b")]))
        _ = saga.begin()
        #expect(saga.refuse("p.b1.b") == [])
        saga.pass(.seconds(10))
        #expect(saga.answer("p.b0.a", .accepted) == [])
        #expect(saga.due == .seconds(10) + SagaDefinition.defaultAbortWait)
        #expect(saga.callBack("p.b0.a", .completed(1)) == ["undo p.b0.a"])
    }

    @Test func heartbeatDoesNotHoldUpAnAbort() {
        var saga = SagaRun(.parallel("p", [.asyncCall("a")], [.call("b")]))
        _ = saga.begin()
        _ = saga.answer("p.b0.a", .accepted)
        _ = saga.refuse("p.b1.b")
        let before = saga.state
        #expect(saga.callBack("p.b0.a", .heartbeat(.seconds(600))) == [])
        #expect(saga.state == before)
        #expect(saga.history.last == "late p.b0.a")
    }

    @Test func tryOfADeadWorkerIsUndoneOnlyWhenItCannotArriveAnyMore() {
        var saga = SagaRun(.parallel("p", [.call("a").undone().timeout(.seconds(20))], [.call("b")]))
        _ = saga.begin()
        #expect(saga.refuse("p.b1.b") == [])
        #expect(saga.crash(after: .seconds(5)) == [])
        #expect(saga.step("p.b0.a").status == .unknown)
        #expect(saga.due == .seconds(20))
        #expect(saga.tick(after: .seconds(14)) == [])
        #expect(saga.tick(after: .seconds(1)) == ["undo p.b0.a"])
    }

    @Test func asyncTryOfADeadWorkerCannotArriveLaterThanItsRequest() {
        var saga = SagaRun(.parallel("p", [.asyncCall("a").undone().timeout(.seconds(7200))], [.call("b")]))
        _ = saga.begin()
        _ = saga.refuse("p.b1.b")
        #expect(saga.crash(after: .seconds(5)) == [])
        #expect(saga.due == .seconds(30))
    }

    @Test func laterStepsAreUndoneWhileADeadWorkersTryCouldStillArrive() {
        var saga = SagaRun(.call("a").undone(), .call("b").undone(), .fail("f", "no"))
        _ = saga.begin()
        #expect(saga.crash() == ["call a#2"])
        _ = saga.succeed("a")
        #expect(saga.succeed("b") == ["undo b"])
        #expect(saga.due == nil)
        #expect(saga.undo("b") == [])
        #expect(saga.due == .seconds(30))
        #expect(saga.tickWhenDue() == ["undo a"])
    }

    @Test func requestsBesideAFailureInTheSameCommitAreNotWanted() throws {
        var saga = SagaRun(.parallel("p", [.call("a").undone()], [.fail("f", "no")]))
        #expect(saga.begin() == ["call p.b0.a"])
        #expect(saga.status == .compensating)
        let call = try #require(saga.call("call p.b0.a"))
        #expect(!saga.machine.isWanted(call.step, call.op, send: call.send))
        #expect(saga.answer("p.b0.a", .unreachable) == ["tell parent failed"])
    }

    @Test func requestInFlightIsWantedAndAStaleOneIsNot() {
        var saga = SagaRun(.call("a").undone().retried(2), .fail("b", "no"))
        _ = saga.begin()
        #expect(saga.machine.isWanted(StepPath("a"), .action, send: 1))
        #expect(saga.crash() == ["call a#2"])
        #expect(!saga.machine.isWanted(StepPath("a"), .action, send: 1))
        #expect(saga.machine.isWanted(StepPath("a"), .action, send: 2))
        _ = saga.succeed("a")
        #expect(saga.tickWhenDue() == ["undo a"])
        #expect(saga.machine.isWanted(StepPath("a"), .compensate, send: 1))
        #expect(saga.ask(.terminate(reason: "stop")) == ["settle letters", "tell parent terminated"])
        #expect(!saga.machine.isWanted(StepPath("a"), .compensate, send: 1))
    }
}
