import Delivery
import Expressions
import Primitives
import Sagas
import Testing

/// Tries of a call: when they go out, how long they last, and what ends them.
struct TryingTests {
    private func unavailable(retryAfter: Duration) -> SagaEvent.TryResult {
        .failed(TryError(status: 503, message: "HTTP 503"), happened: .unknown, retryAfter: retryAfter)
    }

    // MARK: - Retries

    @Test func delaysGrowUpToTheLongest() {
        var saga = SagaRun(
            .call("a").retried(5) {
                $0.initial = .seconds(1)
                $0.max = .seconds(3)
            })
        _ = saga.begin()
        var delays: [Duration] = []
        for send in 2...5 {
            let failed = saga.now
            #expect(saga.answer("a", .unknown) == [])
            #expect(saga.step("a").status == .waiting)
            #expect(saga.tickWhenDue() == ["call a#\(send)"])
            #expect(saga.step("a").status == .running)
            delays.append(saga.now - failed)
        }
        #expect(delays == [.seconds(1), .seconds(2), .seconds(3), .seconds(3)])
        #expect(saga.answer("a", .unknown) == ["tell parent failed"])
        #expect(saga.state.failure?.type == "exhausted")
    }

    @Test func jitterComesFromTheRandomnessThatIsGiven() throws {
        var saga = SagaRun(
            .call("a").retried(2) {
                $0.initial = .seconds(10)
                $0.jitter = .full
            })
        _ = saga.begin()
        _ = saga.answer("a", .unknown)
        let due = try #require(saga.due)
        #expect(due > .zero && due < .seconds(10))
    }

    @Test func tryIsNotSentBeforeItIsDue() {
        var saga = SagaRun(.call("a").retried(2) { $0.initial = .seconds(10) })
        _ = saga.begin()
        _ = saga.answer("a", .unknown)
        #expect(saga.tick(after: .seconds(9)) == [])
        #expect(saga.tick(after: .seconds(1)) == ["call a#2"])
    }

    @Test func longerRetryAfterWinsUpToItsLimit() {
        var saga = SagaRun(.call("a").retried(3) { $0.retryAfterMax = .seconds(60) })
        _ = saga.begin()
        _ = saga.answer("a", unavailable(retryAfter: .seconds(20)))
        #expect(saga.due == .seconds(20))
        #expect(saga.tickWhenDue() == ["call a#2"])
        _ = saga.answer("a", unavailable(retryAfter: .seconds(3600)))
        #expect(saga.due == .seconds(80))
    }

    @Test func shorterRetryAfterDoesNotHurry() {
        var saga = SagaRun(.call("a").retried(3) { $0.initial = .seconds(5) })
        _ = saga.begin()
        _ = saga.answer("a", unavailable(retryAfter: .milliseconds(1)))
        #expect(saga.due == .seconds(5))
    }

    @Test func noTryBeginsLaterThanMaxElapsed() {
        var saga = SagaRun(
            .call("a").retried(9) {
                $0.initial = .seconds(4)
                $0.multiplier = 1
                $0.maxElapsed = .seconds(8)
            })
        _ = saga.begin()
        _ = saga.answer("a", .unreachable)
        #expect(saga.tickWhenDue() == ["call a#2"])
        _ = saga.answer("a", .unreachable)
        #expect(saga.tickWhenDue() == ["call a#3"])
        #expect(saga.answer("a", .unreachable) == ["tell parent failed"])
        #expect(saga.state.failure?.type == "deadline")
    }

    // MARK: - Postponing

    private func postponed(_ happened: TryOutcome.Knowledge = .no, after delay: Duration) -> SagaEvent.TryResult {
        .postponed(TryError(type: "held-back", message: "the breaker is open"), happened: happened, after: delay)
    }

    @Test func aPostponedTryUsesUpNoAttempt() {
        var saga = SagaRun(.call("a").retried(1))
        _ = saga.begin()
        #expect(saga.answer("a", postponed(after: .seconds(15))) == [])
        #expect(saga.due == .seconds(15))
        #expect(saga.tickWhenDue() == ["call a#2"])
        #expect(saga.answer("a", postponed(.unknown, after: .seconds(15))) == [])
        #expect(saga.tickWhenDue() == ["call a#3"])
        #expect(saga.step("a").action.attempts == 1)
        #expect(saga.succeed("a") == ["tell parent completed"])
    }

    @Test func aStepThatWasOnlyPostponedIsNotUndone() {
        var saga = SagaRun(.call("a").retried(1).deadline(.seconds(20)).undone())
        _ = saga.begin()
        _ = saga.answer("a", postponed(after: .seconds(15)))
        #expect(saga.tickWhenDue() == ["call a#2"])
        _ = saga.answer("a", postponed(after: .seconds(15)))
        #expect(saga.due == .seconds(20))
        #expect(saga.tickWhenDue() == ["tell parent failed"])
        #expect(saga.step("a").status == .failed)
    }

    @Test func aPostponedTryThatMayHaveHappenedIsUndone() {
        var saga = SagaRun(.call("a").retried(1).undone())
        _ = saga.begin()
        _ = saga.answer("a", postponed(.unknown, after: .seconds(15)))
        #expect(saga.ask(.cancel(reason: "enough")) == ["undo a"])
    }

    @Test func stepEndsNowWhenTheNextTryWouldFallPastItsDeadline() {
        var saga = SagaRun(.call("a").retried(9) { $0.initial = .seconds(4) }.deadline(.seconds(10)))
        _ = saga.begin()
        _ = saga.answer("a", .unreachable)
        #expect(saga.tickWhenDue() == ["call a#2"])
        #expect(saga.call("call a#2")?.timeout == .seconds(6))
        saga.pass(.seconds(1))
        #expect(saga.answer("a", .unreachable) == ["tell parent failed"])
        #expect(saga.state.failure?.type == "deadline")
    }

    @Test func stepEndsNowWhenTheNextTryWouldFallPastTheSagasTimeout() {
        var saga = SagaRun(.call("a").retried(9) { $0.initial = .seconds(4) }) { $0.timeout = .seconds(3) }
        _ = saga.begin()
        #expect(saga.answer("a", .unreachable) == ["tell parent failed"])
    }

    @Test func deadlineThatPassesBetweenTriesEndsTheStep() {
        var saga = SagaRun(.call("a").retried(9) { $0.initial = .seconds(4) }.deadline(.seconds(10)).undone())
        _ = saga.begin()
        _ = saga.answer("a", .unreachable)
        #expect(saga.tick(after: .seconds(20)) == ["tell parent failed"])
        #expect(saga.state.failure?.type == "deadline")
    }

    @Test func signalDoesNotSendATryWhoseDeadlineHasPassed() {
        var saga = SagaRun(.call("a").retried(9) { $0.initial = .seconds(4) }.deadline(.seconds(10)))
        _ = saga.begin()
        _ = saga.answer("a", .unreachable)
        saga.pass(.seconds(20))
        #expect(saga.signal("x") == [])
    }

    @Test func requestTakesNoLongerThanItsTimeout() throws {
        var saga = SagaRun(.call("a").timeout(.seconds(7)), .asyncCall("b").timeout(.seconds(7200)))
        _ = saga.begin()
        let call = try #require(saga.call("call a"))
        #expect(call.timeout == .seconds(7))
        #expect(call.deadline == SagaRun.start + .seconds(7))
        _ = saga.succeed("a")
        let async = try #require(saga.call("call b"))
        #expect(async.timeout == .seconds(30))
        #expect(async.deadline == SagaRun.start + .seconds(7200))
    }

    @Test func handlersProblemTypeNamesTheFailure() {
        var saga = SagaRun(.call("a"))
        _ = saga.begin()
        let error = TryError(status: 500, type: "urn:out", message: "HTTP 500: gone")
        _ = saga.answer("a", .failed(error, happened: .unknown, retryAfter: nil))
        #expect(
            saga.state.failure
                == Failure(step: StepPath("a"), type: "urn:out", detail: "HTTP 500: gone", status: 500))
    }

    @Test func requestIsMadeOnceAndResentAsItWas() throws {
        var saga = SagaRun(
            .set("s", .value(".input.x")),
            .call("a", body: .value(".steps.s.output")).retried(2).with { step in
                var http = HTTPCall(method: .put, url: url("${ $env.HOST }/a/${ .input.x }?q=${ .input.x }"))
                http.headers = [HTTPCall.Header(name: "X-A", value: template("<${ .input.x }>"))]
                http.body = .value(".steps.s.output")
                step.action = .call(.http(http))
            }, input: ["x": "a b"])
        _ = saga.begin()
        let first = try #require(saga.call("call a"))
        #expect(first.request.method == "PUT")
        #expect(first.request.url == "http://h/a/a%20b?q=a%20b")
        #expect(first.request.headers == ["X-A: <a b>"])
        #expect(first.body == "a b")
        _ = saga.answer("a", .unknown)
        _ = saga.tickWhenDue()
        let second = try #require(saga.call("call a#2"))
        #expect(second.request == first.request)
        #expect(second.attempt == 2)
    }

    @Test func lineBreakInAHeaderIsAnExpressionError() {
        var saga = SagaRun(
            Step.call("a").with { step in
                var http = HTTPCall(method: .put, url: url("http://h"))
                http.headers = [HTTPCall.Header(name: "X-A", value: template("${ .input }"))]
                step.action = .call(.http(http))
            }, input: "a\nEvil: b")
        #expect(saga.begin() == ["tell parent failed"])
        #expect(saga.state.failure?.type == "expression")
    }

    // MARK: - Statements

    @Test func statementIsAQuery() throws {
        var saga = SagaRun(.sql("a", .value(".input.x"), .literal(2)), input: ["x": 1])
        #expect(saga.begin() == ["query a"])
        guard case .query(let query)? = saga.effects.first else { return }
        #expect(query.statement == "select a()")
        #expect(query.arguments == [1, 2])
        #expect(query.timeout == Step.defaultTimeout)
        #expect(saga.succeed("a", 5) == ["tell parent completed"])
        #expect(saga.step("a").output == 5)
    }

    @Test func statementThatACrashCutOffHasNotHappened() {
        var saga = SagaRun(.sql("a").with { $0.compensation = Step.call("a").undone().compensation })
        _ = saga.begin()
        #expect(saga.crash() == ["query a#2"])
        #expect(saga.refuse("a") == ["tell parent failed"])
        #expect(saga.step("a").status == .failed)
    }

    // MARK: - Ongoing

    @Test func ongoingIsAskedAgainAndUsesNoAttempt() {
        var saga = SagaRun(.call("a").retried(2) { $0.ongoingInterval = .seconds(3) })
        _ = saga.begin()
        for send in 2...9 {
            let asked = saga.now
            #expect(saga.answer("a", .ongoing(retryAfter: nil)) == [])
            #expect(saga.tickWhenDue() == ["call a#\(send)"])
            #expect(saga.now - asked == .seconds(3))
            #expect(saga.call("call a#\(send)")?.attempt == 1)
        }
        _ = saga.answer("a", .ongoing(retryAfter: .seconds(8)))
        #expect(saga.due == .seconds(8 * 3 + 8))
        _ = saga.tickWhenDue()
        #expect(saga.succeed("a") == ["tell parent completed"])
    }

    @Test func ongoingIsNotLimitedByWhatRetriesAreLimitedBy() {
        var saga = SagaRun(.call("a").retried(3) { $0.maxElapsed = .seconds(10) })
        _ = saga.begin()
        saga.pass(.seconds(100))
        #expect(saga.answer("a", .ongoing(retryAfter: nil)) == [])
        #expect(saga.tickWhenDue() == ["call a#2"])
        #expect(saga.answer("a", .unknown) == ["tell parent failed"])
    }

    @Test func ongoingEndsWithTheDeadlineAndMayHaveHappened() {
        var saga = SagaRun(.call("a").deadline(.seconds(2)).undone())
        _ = saga.begin()
        #expect(saga.answer("a", .ongoing(retryAfter: nil)) == [])
        #expect(saga.tickWhenDue() == ["call a#2"])
        saga.pass(.milliseconds(500))
        #expect(saga.answer("a", .ongoing(retryAfter: nil)) == ["undo a"])
        #expect(saga.step("a").status == .unknown)
    }

    @Test func ongoingWhoseDeadlinePassesUnseenMayHaveHappened() {
        var saga = SagaRun(.call("a").deadline(.seconds(2)).undone())
        _ = saga.begin()
        _ = saga.answer("a", .ongoing(retryAfter: nil))
        #expect(saga.tick(after: .seconds(10)) == ["undo a"])
        #expect(saga.step("a").status == .unknown)
    }

    @Test func handlerThatWasAtWorkAndCannotBeReachedMayHaveDoneIt() {
        var saga = SagaRun(.call("a").undone())
        _ = saga.begin()
        _ = saga.answer("a", .ongoing(retryAfter: nil))
        _ = saga.tickWhenDue()
        #expect(saga.answer("a", .unreachable) == ["undo a"])
    }

    @Test func refusalAfterOngoingIsItsOutcome() {
        var saga = SagaRun(.call("a").undone())
        _ = saga.begin()
        _ = saga.answer("a", .ongoing(retryAfter: nil))
        _ = saga.tickWhenDue()
        #expect(saga.refuse("a") == ["tell parent failed"])
    }

    @Test func ongoingWhenTheSagaAbortsMayHaveHappened() {
        var saga = SagaRun(.parallel("p", [.call("a").undone()], [.call("b")], [.call("c").undone()]))
        _ = saga.begin()
        _ = saga.answer("p.b0.a", .ongoing(retryAfter: nil))
        #expect(saga.refuse("p.b1.b") == [])
        #expect(saga.answer("p.b2.c", .ongoing(retryAfter: nil)) == ["undo p.b2.c"])
        #expect(saga.undo("p.b2.c") == ["undo p.b0.a"])
    }

    @Test func ongoingCompensationIsAskedAgain() {
        var saga = SagaRun(.call("a").undone(), .fail("b", "no"))
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.answer("a", op: .compensate, .ongoing(retryAfter: nil)) == [])
        #expect(saga.tickWhenDue() == ["undo a#2"])
        #expect(saga.undo("a") == ["tell parent compensated"])
    }

    // MARK: - Callbacks

    private func accepted(_ step: Step = .asyncCall("a").timeout(.seconds(100)).undone()) -> SagaRun {
        var saga = SagaRun(step)
        _ = saga.begin()
        #expect(saga.answer("a", .accepted) == [])
        #expect(saga.step("a").status == .waiting)
        return saga
    }

    @Test func callbackBringsTheOutcome() {
        var saga = accepted()
        #expect(saga.callBack("a", .completed(5)) == ["tell parent completed"])
        #expect(saga.step("a").output == 5)
    }

    @Test func callbackBringsAFailure() {
        var saga = accepted()
        #expect(saga.callBack("a", .failed(Failure(type: "lost", detail: "in the mail"))) == ["tell parent failed"])
        #expect(saga.state.failure == Failure(step: StepPath("a"), type: "lost", detail: "in the mail"))
    }

    @Test func callbackBeforeTheAnswerCounts() {
        var saga = SagaRun(.asyncCall("a"))
        _ = saga.begin()
        #expect(saga.callBack("a", .completed(5)) == ["tell parent completed"])
        let before = saga.state
        #expect(saga.answer("a", .accepted) == [])
        #expect(saga.state == before)
        #expect(saga.history.last == "completed")
    }

    @Test func secondCallbackChangesNothing() {
        var saga = SagaRun(.asyncCall("a"), .call("b"))
        _ = saga.begin()
        _ = saga.answer("a", .accepted)
        #expect(saga.callBack("a", .completed(5)) == ["call b"])
        let before = saga.state
        #expect(saga.callBack("a", .completed(6)) == [])
        #expect(saga.callBack("a", .failed(Failure(type: "x"))) == [])
        #expect(saga.callBack("a", .heartbeat(.seconds(1))) == [])
        #expect(saga.state == before)
        #expect(saga.history.suffix(3) == ["late a", "late a", "late a"])
    }

    @Test func callbackThatDoesNotComeIsUnknown() {
        var saga = accepted()
        #expect(saga.due == .seconds(100))
        #expect(saga.tickWhenDue() == ["undo a"])
        #expect(saga.step("a").error?.type == "timeout")
    }

    @Test func callbackOfAnEarlierTryIsStale() {
        var saga = accepted(.asyncCall("a").timeout(.seconds(100)).retried(2).undone())
        #expect(saga.tickWhenDue() == [])
        #expect(saga.tickWhenDue() == ["call a#2"])
        let before = saga.state
        #expect(saga.callBack("a", send: 1, .completed(5)) == [])
        #expect(saga.state == before)
        #expect(saga.callBack("a", send: 2, .completed(6)) == ["tell parent completed"])
    }

    @Test func callbackOfATryThatACrashCutOffIsStale() {
        var saga = SagaRun(.asyncCall("a"))
        _ = saga.begin()
        #expect(saga.crash() == ["call a#2"])
        #expect(saga.callBack("a", send: 1, .completed(5)) == [])
        #expect(saga.status == .running)
    }

    @Test func acceptedCallSurvivesACrash() {
        var saga = accepted()
        #expect(saga.crash(after: .seconds(5)) == [])
        #expect(saga.callBack("a", .completed(5)) == ["tell parent completed"])
    }

    @Test func heartbeatExtendsTheWait() {
        var saga = accepted()
        saga.pass(.seconds(90))
        #expect(saga.callBack("a", .heartbeat(.seconds(60))) == [])
        #expect(saga.due == .seconds(150))
    }

    @Test func heartbeatNeverShortensTheWait() {
        var saga = accepted()
        #expect(saga.callBack("a", .heartbeat(.seconds(5))) == [])
        #expect(saga.due == .seconds(100))
        #expect(saga.callBack("a", .heartbeat(.seconds(-5))) == [])
        #expect(saga.due == .seconds(100))
    }

    @Test func heartbeatDoesNotReachBeyondTheDeadline() {
        var saga = accepted(.asyncCall("a").timeout(.seconds(100)).deadline(.seconds(120)))
        _ = saga.callBack("a", .heartbeat(.seconds(500)))
        #expect(saga.due == .seconds(120))
    }

    @Test func heartbeatBeyondTheCalendarIsKeptInTheHistory() {
        var saga = accepted()
        _ = saga.callBack("a", .heartbeat(.seconds(Int64.max)))
        #expect(saga.step("a").status == .waiting)
        #expect(saga.callBack("a", .completed(1)) == ["tell parent completed"])
    }

    @Test func heartbeatBeforeTheAnswerStartsTheWait() {
        var saga = SagaRun(.asyncCall("a").timeout(.seconds(100)))
        _ = saga.begin()
        #expect(saga.callBack("a", .heartbeat(.seconds(300))) == [])
        #expect(saga.answer("a", .accepted) == [])
        #expect(saga.due == .seconds(300))
    }

    @Test func answerThatSettlesItCountsAfterAHeartbeat() {
        var saga = SagaRun(.asyncCall("a").undone())
        _ = saga.begin()
        _ = saga.callBack("a", .heartbeat(.seconds(300)))
        let before = saga.state
        #expect(saga.answer("a", .unknown) == [])
        #expect(saga.answer("a", .ongoing(retryAfter: nil)) == [])
        #expect(saga.state == before)
        #expect(saga.succeed("a", 5) == ["tell parent completed"])
        #expect(saga.step("a").output == 5)
    }

    @Test func refusalCountsAfterAHeartbeat() {
        var saga = SagaRun(.asyncCall("a").undone())
        _ = saga.begin()
        _ = saga.callBack("a", .heartbeat(.seconds(300)))
        #expect(saga.refuse("a") == ["tell parent failed"])
    }

    @Test func callbackToACallThatIsNotAsyncChangesNothing() {
        var saga = SagaRun(.call("a"))
        _ = saga.begin()
        let before = saga.state
        #expect(saga.callBack("a", .completed(1)) == [])
        #expect(saga.state == before)
    }

    @Test func compensationMayBeAsync() {
        let step = Step.call("a").with { step in
            var http = HTTPCall(method: .delete, url: url("http://h"))
            http.isAsync = true
            step.compensation = Compensation(action: .call(.http(http)))
            step.compensation?.timeout = .seconds(300)
        }
        var saga = SagaRun(step, .fail("b", "no"))
        _ = saga.begin()
        #expect(saga.succeed("a") == ["undo a"])
        #expect(saga.answer("a", op: .compensate, .accepted) == [])
        #expect(saga.due == .seconds(300))
        #expect(saga.callBack("a", op: .compensate, .completed(.null)) == ["tell parent compensated"])
    }
}
