import Delivery
import Expressions
import Primitives
import Sagas
import Testing

/// What operators ask for, in each state.
struct OperatingTests {
    private let cancel = SagaEvent.Act.cancel(reason: "x")
    private let terminate = SagaEvent.Act.terminate(reason: "x")

    // MARK: - In every state

    /// A saga in each state that an operator can meet.
    enum Situation: String, CaseIterable {
        case notBegun, calling, waiting, retrying, settling, compensating, stuckUndoing, stuckForward, stuckAtPivot
        case completed, compensated, failed, terminated

        var saga: SagaRun {
            var saga = SagaRun(
                .call("a").undone().retried(2), .call("p").pivot().if(".input.pivots"),
                .parallel("q", [.call("b")], [.await("w", "go")]), input: ["pivots": .bool(pivots)])
            for event in events { _ = event(&saga) }
            return saga
        }

        private var pivots: Bool { self == .stuckForward || self == .stuckAtPivot }

        private var events: [(inout SagaRun) -> [String]] {
            let begin = { (saga: inout SagaRun) in saga.begin() }
            let a = { (saga: inout SagaRun) in saga.succeed("a") }
            let refuseB = { (saga: inout SagaRun) in saga.refuse("q.b0.b") }
            switch self {
            case .notBegun: return []
            case .calling: return [begin]
            case .waiting: return [begin, a]
            case .retrying: return [begin, { $0.answer("a", .unreachable) }]
            case .settling: return [begin, a, { $0.ask(.cancel(reason: "first")) }]
            case .compensating: return [begin, a, refuseB]
            case .stuckUndoing: return [begin, a, refuseB, { $0.answer("a", op: .compensate, .refusal) }]
            case .stuckForward: return [begin, a, { $0.succeed("p") }, refuseB]
            case .stuckAtPivot: return [begin, a, { $0.answer("p", .unknown) }]
            case .completed: return [begin, a, { $0.succeed("q.b0.b") }, { $0.signal("go") }]
            case .compensated: return [begin, a, refuseB, { $0.undo("a") }]
            case .failed: return [begin, { $0.refuse("a") }]
            case .terminated: return [begin, { $0.ask(.terminate(reason: "first")) }]
            }
        }

        var expected: SagaState.Status {
            switch self {
            case .notBegun, .calling, .waiting, .retrying: .running
            case .settling, .compensating: .compensating
            case .stuckUndoing, .stuckForward, .stuckAtPivot: .stuck
            case .completed: .completed
            case .compensated: .compensated
            case .failed: .failed
            case .terminated: .terminated
            }
        }
    }

    @Test(arguments: Situation.allCases) func situationIsWhatItSays(situation: Situation) {
        #expect(situation.saga.status == situation.expected)
    }

    @Test(arguments: Situation.allCases) func cancelAbortsWhatGoesForward(situation: Situation) {
        var saga = situation.saga
        let before = saga.state
        _ = saga.ask(cancel)
        switch situation {
        case .notBegun, .retrying: #expect(saga.status == .failed)
        case .calling, .waiting: #expect(saga.status == .compensating)
        case .stuckAtPivot: #expect(saga.state.noted?.type == "cancelled")
        case .settling, .compensating, .stuckUndoing, .stuckForward, .completed, .compensated, .failed, .terminated:
            #expect(saga.state == before)
            #expect(saga.history.last == "refused")
        }
    }

    @Test(arguments: Situation.allCases) func terminateEndsWhatHasNotEnded(situation: Situation) {
        var saga = situation.saga
        let before = saga.state
        let effects = saga.ask(terminate)
        if situation.expected.hasEnded {
            #expect(effects == [])
            #expect(saga.state == before)
        } else {
            #expect(effects == ["settle letters", "tell parent terminated"])
            #expect(saga.status == .terminated)
        }
        #expect(saga.due == nil)
    }

    @Test(arguments: Situation.allCases) func nothingBeginsWhileSuspended(situation: Situation) {
        var saga = situation.saga
        #expect(saga.ask(.suspend()) == [])
        guard !situation.expected.hasEnded else { return #expect(saga.history.last == "refused") }
        #expect(saga.due == nil)
        #expect(saga.tick(after: .seconds(1000)) == [])
        #expect(saga.signal("go") == [])
        #expect(saga.crash() == [])
        #expect(saga.begin() == [])
        #expect(saga.state.suspendedAt != nil)
    }

    @Test(arguments: Situation.allCases) func retryIsForStuckSagas(situation: Situation) {
        var saga = situation.saga
        let effects = saga.ask(.retry(input: nil))
        switch situation {
        case .stuckUndoing: #expect(effects == ["settle letters", "undo a#2"])
        case .stuckForward: #expect(effects == ["settle letters", "call q.b0.b#2"])
        case .stuckAtPivot: #expect(effects == ["settle letters", "call p#2"])
        default: #expect(effects == [] && saga.history.last == "refused")
        }
    }

    @Test(arguments: Situation.allCases) func skipIsForTheStepThatTheSagaIsStuckAt(situation: Situation) {
        for (step, isRight) in [("a", situation == .stuckUndoing), ("b", situation == .stuckForward), ("w", false)] {
            var saga = situation.saga
            let before = saga.state
            _ = saga.ask(.skip(step: step, reason: "x", output: .null))
            #expect((saga.history.last == "refused") == !isRight)
            #expect((saga.state == before) == !isRight)
        }
    }

    @Test func skipTakesThePathOfTheStepToo() {
        var saga = Situation.stuckForward.saga
        #expect(saga.ask(.skip(step: "q.b0.b", reason: "x", output: .null)) == ["settle letters"])
        #expect(saga.signal("go") == ["tell parent completed"])
    }

    // MARK: - Suspending

    @Test func whatWasInFlightIsRecordedAndGoesOnAfterwards() {
        var saga = SagaRun(.call("a"), .call("b"))
        _ = saga.begin()
        _ = saga.ask(.suspend())
        #expect(saga.succeed("a") == [])
        #expect(saga.step("a").status == .succeeded)
        #expect(saga.ask(.resume()) == ["call b"])
    }

    @Test func sagaThatIsSuspendedBeforeItBeginsBeginsAfterwards() {
        var saga = SagaRun(.call("a")) { $0.timeout = .seconds(60) }
        _ = saga.ask(.suspend())
        saga.pass(.seconds(1000))
        #expect(saga.begin() == [])
        saga.pass(.seconds(1000))
        #expect(saga.ask(.resume()) == ["call a"])
        #expect(saga.due == .seconds(2060))
    }

    @Test func timeoutStandsStill() {
        var saga = SagaRun(.await("w", "x")) { $0.timeout = .seconds(60) }
        _ = saga.begin()
        saga.pass(.seconds(50))
        _ = saga.ask(.suspend())
        saga.pass(.seconds(1000))
        #expect(saga.ask(.resume()) == [])
        #expect(saga.due == .seconds(1060))
        #expect(saga.tickWhenDue() == ["tell parent failed"])
    }

    @Test func timeoutsOfSignalsAndCallbacksStandStill() {
        var saga = SagaRun(
            .parallel(
                "p", [.await("w", "x", timeout: .seconds(60))], [.asyncCall("a").timeout(.seconds(70))]))
        _ = saga.begin()
        _ = saga.answer("p.b1.a", .accepted)
        _ = saga.ask(.suspend())
        saga.pass(.seconds(1000))
        _ = saga.ask(.resume())
        #expect(saga.step("p.b0.w").action.phase == .signal(name: "x", until: SagaRun.start + .seconds(1060)))
        #expect(saga.step("p.b1.a").action.phase == .callback(until: SagaRun.start + .seconds(1070)))
    }

    @Test func deadlinesOfTriesStandStill() {
        var saga = SagaRun(
            .call("a").retried(9) {
                $0.initial = .seconds(4)
                $0.multiplier = 1
                $0.maxElapsed = .seconds(10)
            }.deadline(.seconds(10)))
        _ = saga.begin()
        _ = saga.answer("a", .unreachable)
        _ = saga.ask(.suspend())
        saga.pass(.seconds(1000))
        #expect(saga.ask(.resume()) == ["call a#2"])
        #expect(saga.answer("a", .unreachable) == [])
        #expect(saga.tickWhenDue() == ["call a#3"])
    }

    @Test func timerDoesNotStandStill() {
        var saga = SagaRun(.wait("w", .seconds(60)), .call("a"))
        _ = saga.begin()
        _ = saga.ask(.suspend())
        saga.pass(.seconds(1000))
        #expect(saga.ask(.resume()) == ["call a"])
    }

    @Test func cancelWhileSuspendedIsCarriedOutAfterwards() {
        var saga = SagaRun(.call("a").undone(), .call("b").undone())
        _ = saga.begin()
        _ = saga.succeed("a")
        _ = saga.ask(.suspend())
        #expect(saga.ask(cancel) == [])
        #expect(saga.status == .compensating)
        #expect(saga.succeed("b") == [])
        #expect(saga.ask(.resume()) == ["undo b"])
    }

    @Test func callbackIsAwaitedForAbortWaitAfterACancelDuringSuspension() {
        var saga = SagaRun(.asyncCall("a").timeout(.seconds(7200)).undone())
        _ = saga.begin()
        _ = saga.answer("a", .accepted)
        _ = saga.ask(.suspend())
        saga.pass(.seconds(1000))
        _ = saga.ask(cancel)
        saga.pass(.seconds(1000))
        #expect(saga.ask(.resume()) == [])
        #expect(saga.due == .seconds(2030))
    }

    @Test func heartbeatDuringSuspensionExtendsTheWaitFromTheResumptionOn() {
        var saga = SagaRun(.asyncCall("a").timeout(.seconds(50)))
        _ = saga.begin()
        _ = saga.answer("a", .accepted)
        _ = saga.ask(.suspend())
        saga.pass(.seconds(1000))
        #expect(saga.callBack("a", .heartbeat(.seconds(80))) == [])
        saga.pass(.seconds(1000))
        _ = saga.ask(.resume())
        #expect(saga.due == .seconds(2080))
    }

    @Test func compensationThatFailsDuringSuspensionIsStuckAtOnce() {
        var saga = SagaRun(.call("a").undone(), .fail("f", "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        _ = saga.ask(.suspend())
        #expect(saga.answer("a", op: .compensate, .refusal) == ["bury compensation a"])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters"])
        #expect(saga.ask(.resume()) == ["undo a#2"])
    }

    @Test func deadlineOfARetryDuringSuspensionCountsFromTheResumption() {
        var saga = SagaRun(.set("p", .literal(1)).pivot(), .call("a").deadline(.seconds(60)))
        _ = saga.begin()
        _ = saga.refuse("a")
        _ = saga.ask(.suspend())
        saga.pass(.seconds(1000))
        _ = saga.ask(.retry(input: nil))
        saga.pass(.seconds(1000))
        #expect(saga.ask(.resume()) == ["call a#2"])
        #expect(saga.step("a").action.deadline == SagaRun.start + .seconds(2060))
    }

    @Test func suspendingTwiceAndResumingTwiceAreRefused() {
        var saga = SagaRun(.call("a"))
        _ = saga.begin()
        _ = saga.ask(.suspend())
        let before = saga.state
        saga.pass(.seconds(10))
        _ = saga.ask(.suspend())
        #expect(saga.state == before)
        _ = saga.ask(.resume())
        #expect(saga.ask(.resume()) == [])
        #expect(saga.history.last == "refused")
    }

    // MARK: - Stuck

    @Test func retryOfAStepBeginsANewRoundOfTries() {
        var saga = SagaRun(.set("p", .literal(1)).pivot(), .call("a").retried(2))
        _ = saga.begin()
        _ = saga.answer("a", .unknown)
        _ = saga.tickWhenDue()
        #expect(saga.answer("a", .unknown) == ["bury forward a"])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call a#3"])
        #expect(saga.call("call a#3")?.attempt == 3)
        let failed = saga.now
        #expect(saga.answer("a", .unknown) == [])
        #expect(saga.machine.nextDue == failed + .milliseconds(500))
        #expect(saga.tickWhenDue() == ["call a#4"])
        #expect(saga.answer("a", .unknown) == ["bury forward a"])
        #expect(saga.letters.map(\.attempts) == [4])
    }

    @Test func everyEditHasItsKey() {
        var saga = SagaRun(.set("p", .literal(1)).pivot(), .call("a", body: .literal(0)))
        _ = saga.begin()
        for edit in 1...3 {
            #expect(saga.refuse("a") == ["bury forward a"])
            #expect(saga.ask(.retry(input: JSON(edit))) == ["settle letters", "call a#\(edit + 1)"])
            #expect(saga.call("call a#\(edit + 1)")?.idempotencyKey == "\(SagaRun.id)/a/action/\(edit)")
            #expect(saga.call("call a#\(edit + 1)")?.body == JSON(edit))
        }
        #expect(saga.refuse("a") == ["bury forward a"])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call a#5"])
        #expect(saga.call("call a#5")?.idempotencyKey == "\(SagaRun.id)/a/action/3")
    }

    @Test func inputOfWhatIsNoRequestCannotBeEdited() {
        var saga = SagaRun(.set("p", .literal(1)).pivot(), .set("s", .value("bad()")))
        _ = saga.begin()
        #expect(saga.ask(.retry(input: 1)) == [])
        #expect(saga.status == .stuck)
    }

    @Test func callsBesideAStuckStepAreStillRecorded() {
        var saga = SagaRun(
            .set("p", .literal(1)).pivot(), .parallel("q", [.call("a")], [.call("b").retried(3), .call("c")]))
        _ = saga.begin()
        #expect(saga.refuse("q.b0.a") == ["bury forward q.b0.a"])
        #expect(saga.answer("q.b1.b", .unknown) == [])
        #expect(saga.tick(after: .seconds(60)) == [])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "call q.b0.a#2", "call q.b1.b#2"])
        #expect(saga.succeed("q.b1.b") == ["call q.b1.c"])
    }

    @Test func messageThatCouldNotBeWrittenIsRetriedAnew() {
        let origin = Effect.Message.Origin.step(StepPath("m"), .action)
        var saga = SagaRun(.set("p", .literal(1)).pivot(), .call("a"), .publish("m"))
        _ = saga.begin()
        let full = Failure(type: "topic-full", detail: "OR001")
        #expect(
            saga.handle(.answered(StepPath("a"), .action, send: 1, .succeeded(.null)), refusing: origin, full) == [
                "bury forward m"
            ])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "publish m", "tell parent completed"])
    }

    @Test func messageThatMayHaveBeenWrittenIsNotWrittenAgain() {
        var saga = SagaRun(.set("p", .literal(1)).pivot(), .publish("m").giving(.value("bad()")))
        #expect(saga.begin() == ["publish m", "bury forward m"])
        #expect(saga.ask(.retry(input: nil)) == [])
        #expect(
            saga.ask(.skip(step: "m", reason: "x", output: .null)) == ["settle letters", "tell parent completed"])
    }

    @Test func retriedContainerKeepsWhatItsStepsGave() {
        var saga = SagaRun(
            .set("p", .literal(1)).pivot(), .parallel("q", [.call("a")]).giving(.value("bad()")))
        _ = saga.begin()
        #expect(saga.succeed("q.b0.a", 3) == ["bury forward q"])
        saga.results["bad()"] = .success("made")
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "tell parent completed"])
        #expect(saga.step("q").output == "made")
        #expect(saga.step("q.b0.a").output == 3)
    }

    @Test func resolvedCompensationCountsAsDone() {
        var saga = Situation.stuckUndoing.saga
        #expect(
            saga.ask(.resolve(step: "a", happened: true, output: .null)) == [
                "settle letters", "tell parent compensated",
            ])
        #expect(saga.step("a").compensationStatus == .compensated)
        #expect(saga.state.skipped == 0)
    }

    @Test func compensationThatIsKnownNotToHaveHappenedIsTriedAgain() {
        var saga = Situation.stuckUndoing.saga
        #expect(saga.ask(.resolve(step: "a", happened: false, output: .null)) == ["settle letters", "undo a#2"])
        #expect(saga.undo("a") == ["tell parent compensated"])
    }

    @Test func stepBehindThePivotIsResolved() {
        var saga = Situation.stuckForward.saga
        #expect(saga.ask(.resolve(step: "b", happened: true, output: 4)) == ["settle letters"])
        #expect(saga.step("q.b0.b").output == 4)
        #expect(saga.signal("go") == ["tell parent completed"])
    }

    @Test func stuckSagaIsTheSameAfterACrash() {
        var saga = Situation.stuckUndoing.saga
        #expect(saga.crash(after: .seconds(1000)) == [])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "undo a#2"])
    }
}
