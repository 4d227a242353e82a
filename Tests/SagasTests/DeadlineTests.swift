import Delivery
import Primitives
import Sagas
import Testing

/// Deadlines of steps that call nobody: of waits, and of what contains other steps.
struct DeadlineTests {
    private static let ten = Duration.seconds(10)

    @Test(arguments: [
        Step.wait("w", .seconds(60)), .await("w", "x"), .approve("w"), .await("w", "x", timeout: .seconds(60)),
    ])
    func aWaitFailsAtItsDeadline(step: Step) {
        var saga = SagaRun(.call("a").undone(), step.deadline(Self.ten))
        _ = saga.begin()
        #expect(saga.succeed("a") == [])
        #expect(saga.due == Self.ten)
        #expect(saga.tickWhenDue() == ["undo a"])
        #expect(saga.state.failure?.type == "deadline")
        #expect(saga.step("w").status == .failed)
    }

    @Test func aWaitThatIsOverBeforeItsDeadlineIsOver() {
        var saga = SagaRun(
            .wait("w", .seconds(5)).deadline(Self.ten),
            .await("e", "x", timeout: .seconds(5), onTimeout: .continue).deadline(Self.ten))
        _ = saga.begin()
        #expect(saga.tickWhenDue() == [])
        #expect(saga.now == SagaRun.start + .seconds(5))
        // Nobody has looked until long after both.
        #expect(saga.tick(after: .seconds(100)) == ["tell parent completed"])
    }

    @Test func aSignalThatCameBeforeTheDeadlineCounts() {
        var saga = SagaRun(.await("e", "x").deadline(Self.ten))
        _ = saga.begin()
        #expect(saga.signal("x") == ["tell parent completed"])
    }

    @Test(arguments: [
        Step.parallel("p", [.call("a").undone(), .call("b").undone()]),
        .choose("p", (nil, [.call("a").undone(), .call("b").undone()])),
    ])
    func whatContainsStepsAbortsTheSagaAtItsDeadline(step: Step) {
        var saga = SagaRun(step.deadline(Self.ten))
        _ = saga.begin()
        let inside = saga.state.starts.last?.text.dropLast().description ?? ""
        saga.pass(.seconds(9))
        #expect(saga.succeed(inside + "a") == ["call \(inside)b"])
        #expect(saga.due == Self.ten)
        // What is in flight is awaited.
        #expect(saga.tickWhenDue() == [])
        #expect(saga.status == .compensating)
        #expect(saga.succeed(inside + "b") == ["undo \(inside)b"])
        #expect(saga.undo(inside + "b") == ["undo \(inside)a"])
        #expect(saga.undo(inside + "a") == ["tell parent compensated"])
        #expect(
            saga.state.failure == Failure(step: StepPath("p"), type: "deadline", detail: "p did not end within 10s"))
    }

    @Test func whileSuspendedItStandsStill() {
        var saga = SagaRun(.foreach("f", in: ".input", as: "i", .call("a").undone()).deadline(Self.ten), input: [1])
        _ = saga.begin()
        _ = saga.ask(.suspend())
        #expect(saga.tick(after: .seconds(100)) == [])
        _ = saga.ask(.resume())
        #expect(saga.status == .running)
        #expect(saga.due == .seconds(110))
    }

    @Test func afterThePivotAPersonDecides() {
        var saga = SagaRun(
            .call("p").with { $0.isPivot = true }, .parallel("c", [.call("a").retried(5)]).deadline(Self.ten))
        _ = saga.begin()
        _ = saga.succeed("p")
        #expect(saga.tick(after: Self.ten) == ["bury timeout"])
        #expect(saga.status == .stuck)
        #expect(saga.state.trouble?.reason == .timeout)
        // It is not late again at once.
        #expect(saga.ask(.retry(input: nil)) == ["settle letters"])
        #expect(saga.status == .running)
        #expect(saga.succeed("c.b0.a") == ["tell parent completed"])
    }

    @Test func whileThePivotIsUnderWayItIsNoted() {
        var saga = SagaRun(
            .choose("c", (nil, [.call("p").with { $0.isPivot = true }.timeout(.seconds(60)), .call("a")])).deadline(
                Self.ten))
        _ = saga.begin()
        #expect(saga.tickWhenDue() == [])
        #expect(saga.status == .running)
        #expect(saga.state.noted?.type == "deadline")
        #expect(saga.due == nil)
        // It succeeds: the note is dropped, and the deadline with it.
        #expect(saga.succeed("c.p") == ["call c.a"])
        #expect(saga.succeed("c.a") == ["tell parent completed"])
    }

    /// If it can still abort it has not happened, and so aborts its parent; if not, it is awaited.
    @Test func aSubSagaThatIsThePivotIsToldToAbort() {
        for outcome in [SagaState.Status.compensated, .completed] {
            var saga = SagaRun(.call("a").undone(), .run("p").with { $0.isPivot = true }.deadline(Self.ten))
            _ = saga.begin()
            _ = saga.succeed("a")
            #expect(saga.tickWhenDue() == ["tell child p cancel"])
            #expect(saga.state.noted?.type == "deadline")
            #expect(saga.due == nil)
            switch outcome {
            case .completed: #expect(saga.endChild("p", .completed) == ["tell parent completed"])
            default:
                #expect(saga.endChild("p", outcome) == ["undo a"])
                #expect(saga.state.failure?.type == "deadline")
            }
        }
    }
}
