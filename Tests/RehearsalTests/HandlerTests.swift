import Testing

/// What mocked handlers reply, and what the saga makes of it.
struct HandlerTests {
    private static let input = "input: { id: 17, items: [ a ], total: 42.5 }"

    private func order(_ scenario: String) async -> String {
        await Fixture("order", Self.input, scenario).outcome()
    }

    @Test func withoutHandlersEverythingSucceedsWithNull() async {
        expectPassed(await order("expect: { status: completed, output: null, calls: [ reserve, charge, ship ] }"))
    }

    @Test func aSingleReplyIsForEveryRequest() async {
        expectPassed(
            await order(
                """
                handlers: { charge: 503, reserve: { body: { id: r-1 } } }
                expect:
                  status: compensated
                  calls:
                    - reserve
                    - { step: charge, times: 3 }
                    - charge/compensate
                    - reserve/compensate
                  failure: { type: exhausted, step: charge, status: 503 }
                  steps: { charge: { status: unknown, attempts: 3, compensation: compensated } }
                  within: 3s
                """))
    }

    @Test func ofAListEachReplyIsForOneRequest() async {
        expectPassed(
            await order(
                """
                handlers: { charge: [ timeout, refused, { body: { id: c-1 } } ] }
                expect:
                  status: completed
                  calls:
                    - reserve
                    - { step: charge, attempt: 1, within: 0s }
                    - { step: charge, attempt: 2, after: 6s, within: 6s }
                    - { step: charge, attempt: 3, after: 8s, headers: { x-order: "17" } }
                    - ship
                  published: [ { topic: order.paid, payload: { id: c-1 } } ]
                """))
    }

    /// Case 2 and 3: what is known not to have happened is not undone.
    @Test(arguments: [
        ("refused", "failed", "not_required"), ("429", "failed", "not_required"), ("422", "failed", "not_required"),
        ("lost", "unknown", "compensated"), ("timeout", "unknown", "compensated"), ("503", "unknown", "compensated"),
        ("[ 503, 422 ]", "unknown", "compensated"), ("[ 429, refused, 429 ]", "failed", "not_required"),
        ("{ status: 200, after: 6s }", "unknown", "compensated"),
        ("{ status: 500, result: failed }", "failed", "not_required"),
        ("{ status: 503, problem: { type: https://pay.example/card-declined } }", "failed", "not_required"),
    ])
    func theTableOfAnswersHolds(reply: String, status: String, compensation: String) async {
        expectPassed(
            await order(
                """
                handlers: { reserve: { body: { id: r-1 } }, charge: \(reply) }
                expect:
                  status: compensated
                  steps: { charge: { status: \(status), compensation: \(compensation) }, ship: pending }
                """))
    }

    @Test func aHeaderOverrulesTheStatus() async {
        expectPassed(
            await order(
                """
                handlers: { charge: { status: 500, result: succeeded, body: { id: c-9 } } }
                expect: { status: completed, steps: { charge: { output: { id: c-9 }, attempts: 1 } } }
                """))
    }

    @Test func anOngoingAnswerIsAskedAgainUnderTheSameNumber() async {
        expectPassed(
            await order(
                """
                handlers: { charge: [ 425, { status: 425, retry_after: 1m }, 200 ] }
                expect:
                  status: completed
                  calls: [ reserve, charge, { step: charge, attempt: 1, after: 1s }, { step: charge, attempt: 1, after: 61s }, ship ]
                """))
    }

    @Test func retryAfterIsHonoured() async {
        expectPassed(
            await order(
                """
                handlers: { charge: [ { status: 429, retry_after: 5m }, 200 ] }
                expect: { status: completed, calls: [ reserve, charge, { step: charge, after: 5m, within: 5m }, ship ] }
                """))
    }

    @Test func aCompensationThatFindsNothingIsDone() async {
        expectPassed(
            await order(
                """
                handlers: { reserve: { body: { id: r-1 } }, charge: 422, reserve/compensate: 404 }
                expect: { status: compensated }
                """))
    }

    // MARK: - Async calls

    private static let parcel = """
        saga: parcel
        version: 1
        steps:
          - id: ship
            timeout: 1h
            retry: { attempts: 2, initial: 1s, jitter: none }
            call: { http: POST http://ship.example/shipments, async: true }
            compensate: { call: { http: POST http://ship.example/recalls } }
        """

    @Test(arguments: [
        ("{ callback: { after: 5m, output: { id: s-1 } } }", "completed", "5m"),
        ("{ status: 202, after: 10s, callback: { after: 1s, output: { id: s-1 } } }", "completed", "10s"),
        ("{ callback: [ { after: 50m, heartbeat: 1h }, { after: 100m, output: { id: s-1 } } ] }", "completed", "100m"),
        ("{ body: { id: s-1 } }", "completed", "0s"),
        ("{ callback: { after: 1m, fail: out-of-order } }", "failed", "1m"),
        ("[ { callback: never }, { callback: { after: 1m, output: { id: s-1 } } } ]", "completed", "3661s"),
        ("202", "compensated", "3h"),
    ])
    func theOutcomeOfAnAsyncCallComesByCallback(reply: String, status: String, within: String) async {
        let output = status == "completed" ? "{ status: succeeded, output: { id: s-1 } }" : "{ }"
        let fixture = await Fixture(
            "parcel", "handlers: { ship: \(reply) }",
            "expect: { status: \(status), within: \(within), steps: { ship: \(output) } }", sagas: Self.parcel)
        expectPassed(await fixture.outcome())
    }

    @Test func aSecondCallbackChangesNothing() async {
        let fixture = await Fixture(
            "parcel", "",
            """
            handlers:
              ship: { callback: [ { after: 1m, output: first }, { after: 2m, output: second } ] }
            expect: { status: completed, steps: { ship: { output: first } }, within: 1m }
            """, sagas: Self.parcel)
        expectPassed(await fixture.outcome())
    }

    // MARK: - Statements

    private static let booking = """
        saga: booking
        version: 1
        steps:
          - id: book
            timeout: 2s
            retry: { attempts: 2, initial: 1s, jitter: none }
            call: { sql: "select ledger.book($1)", args: [ "${ .input.id }" ] }
            compensate: { call: { sql: "select ledger.unbook($1)", args: [ "${ .output }" ] } }
          - id: tell
            retry: { attempts: 1 }
            call: { http: POST http://tell.example/ }
        """

    @Test func aStatementHasAnOutput() async {
        let fixture = await Fixture(
            "booking", "input: { id: 7 }",
            """
            handlers: { book: { output: [ 1, 2 ] }, tell: 400 }
            expect:
              status: compensated
              calls: [ { step: book, args: [ 7 ] }, tell, { step: book/compensate, args: [ [ 1, 2 ] ] } ]
            """, sagas: Self.booking)
        expectPassed(await fixture.outcome())
    }

    @Test(arguments: [
        ("[ { sqlstate: \"40001\" }, ok ]", "completed", "succeeded", 2),
        ("[ timeout, { output: 1 } ]", "completed", "succeeded", 2),
        ("{ sqlstate: \"23505\", detail: it is booked }", "failed", "failed", 1),
        ("[ crash, ok ]", "completed", "succeeded", 1),
    ])
    func aStatementThatFailsHasNotHappened(reply: String, status: String, step: String, attempts: Int) async {
        let fixture = await Fixture(
            "booking", "handlers: { book: \(reply) }",
            "expect: { status: \(status), steps: { book: { status: \(step), attempts: \(attempts) } } }",
            sagas: Self.booking)
        expectPassed(await fixture.outcome())
    }

    // MARK: - Sub-sagas

    private static let parent = """
        saga: parent
        version: 1
        timeout: 1h
        steps:
          - id: fulfil
            run: { saga: fulfilment, input: { order: "${ .input.id }" }, key: "f-${ .input.id }" }
          - id: tell
            retry: { attempts: 1 }
            call: { http: POST http://tell.example/ }
        ---
        saga: fulfilment
        version: 1
        steps: [ { id: note, set: { a: 1 } } ]
        """

    @Test func aSubSagaIsMocked() async {
        let fixture = await Fixture(
            "parent", "input: { id: 7 }",
            """
            handlers: { fulfil: { output: { id: f-1 }, after: 30m }, tell: 400 }
            expect:
              status: compensated
              calls:
                - { step: fulfil, input: { order: 7 } }
                - { step: tell, after: 30m }
                - fulfil/compensate
              steps: { fulfil: { output: { id: f-1 }, compensation: compensated } }
            """, sagas: Self.parent)
        expectPassed(await fixture.outcome())
    }

    @Test func aSubSagaThatFailsFailsItsStep() async {
        let fixture = await Fixture(
            "parent", "",
            """
            handlers: { fulfil: { status: failed, failure: { type: out-of-stock, detail: none left } } }
            expect: { status: failed, calls: [ fulfil ], failure: { type: out-of-stock, step: fulfil, detail: none } }
            """, sagas: Self.parent)
        expectPassed(await fixture.outcome())
    }

    @Test func aSubSagaThatIsAtWorkIsCancelledWithItsParent() async {
        let fixture = await Fixture(
            "parent", "",
            """
            handlers: { fulfil: never }
            expect: { status: failed, failure: timeout, within: 1h, calls: [ fulfil ] }
            """, sagas: Self.parent)
        expectPassed(await fixture.outcome())
    }

    @Test func aSubSagaThatCannotBeUndoneStopsItsParent() async {
        let fixture = await Fixture(
            "parent", "",
            """
            handlers: { tell: 400, fulfil/compensate: { status: completed, failure: pivoted } }
            expect: { status: stuck, stuck_at: { step: fulfil/compensate, reason: compensation } }
            """, sagas: Self.parent)
        expectPassed(await fixture.outcome())
    }

    // MARK: - Loops

    private static let picking = """
        saga: picking
        version: 1
        steps:
          - id: each
            foreach:
              in: ${ .input.items }
              as: item
              limit: 2
              steps:
                - id: pick
                  retry: { attempts: 3, initial: 1s, jitter: none }
                  call: { http: POST http://pick.example/picks, body: "${ .item }" }
                  compensate: { call: { http: POST http://pick.example/returns, body: "${ .output }" } }
        """

    @Test func everyIterationHasItsOwnReplies() async {
        let fixture = await Fixture(
            "picking", "input: { items: [ a, b ] }",
            """
            handlers: { pick: [ 429, { body: done } ] }
            expect:
              status: completed
              calls: [ { step: "each[0].pick", body: a }, { step: "each[1].pick", body: b }, pick, pick ]
              steps: { each: { output: [ done, done ] }, pick: { attempts: 2 } }
            """, sagas: Self.picking)
        expectPassed(await fixture.outcome())
    }

    @Test func aPathMeansOneIteration() async {
        let fixture = await Fixture(
            "picking", "input: { items: [ a, b, c ] }",
            """
            handlers: { pick: { body: p }, "each[2].pick": 400 }
            expect:
              status: compensated
              calls: [ pick, pick, "each[2].pick", "each[1].pick/compensate", "each[0].pick/compensate" ]
            """, sagas: Self.picking)
        expectPassed(await fixture.outcome())
    }

    // MARK: - What breaks a scenario

    @Test func aListThatRunsOutBreaksTheScenario() async {
        let outcome = await order("handlers: { charge: [ 503, 503 ] }\nexpect: { status: completed }")
        #expect(
            outcome.hasPrefix("charge was called once more than its handler charge has replies; it has 2 replies\n\n"))
    }

    @Test func aReplyThatIsLeftOverIsADifference() async {
        let fixture = await Fixture(
            "order", Self.input + "\nhandlers: { ship: [ 200, 200 ] }",
            "handlers: { charge: [ 200, 503 ], ship/compensate: [ 200 ], reserve/compensate: [ 200 ] }\nexpect: { status: completed }"
        )
        // `ship` has no compensation.
        #expect(
            fixture.errors == [
                "a.test.yaml:6:39: error: the step 'ship' has no compensation that calls a handler; expected one of reserve, reserve/compensate, charge, charge/compensate, ship"
            ])
        #expect(
            await Fixture(
                "order", Self.input + "\nhandlers: { ship: [ 200, 200 ] }",
                "handlers: { charge: [ 200, 503 ], reserve/compensate: [ 200 ] }\nexpect: { status: completed }"
            ).differences() == """
                handlers: charge was called once; its handler has 2 replies
                handlers: reserve/compensate was called never; its handler has 1 reply
                """)
    }

    @Test func aStrictScenarioHasAHandlerForEveryAction() async {
        let outcome = await order("strict: true\nhandlers: { reserve: 201 }\nexpect: { status: completed }")
        #expect(
            outcome.hasPrefix(
                "charge was called, which has no handler; expected one, since the scenario is strict\n\n"))
        expectPassed(
            await order(
                """
                strict: true
                handlers: { reserve: { body: { id: 1 } }, charge: 422 }
                expect: { status: compensated, calls: [ reserve, charge, reserve/compensate ] }
                """))
    }
}
