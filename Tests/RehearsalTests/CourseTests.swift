import Testing

/// Time, signals, operators, workers that die: what comes from outside.
struct CourseTests {
    private static let parcel = """
        saga: parcel
        version: 1
        timeout: 30d
        steps:
          - id: docket
            call: { http: POST http://ship.example/dockets }
            compensate: { call: { http: DELETE http://ship.example/dockets } }
          - id: cool
            wait: { for: 10m }
          - id: handed_over
            await: { event: parcel-handed-over, timeout: 2d }
          - id: review
            approve: { prompt: "Is ${ .input.id } all right?", timeout: 7d }
          - id: bill
            retry: { attempts: 2, initial: 1s, jitter: none }
            pivot: true
            call: { http: POST http://bill.example/bills, body: "${ .steps.handed_over.output }" }
          - id: archive
            retry: { attempts: 1 }
            call: { http: PUT http://archive.example/parcels }
        """

    private func parcel(_ scenario: String) async -> String {
        await Fixture("parcel", "input: { id: 17 }", scenario, sagas: Self.parcel).outcome()
    }

    @Test func signalsAndApprovalsComeAtTheirTimes() async {
        expectPassed(
            await parcel(
                """
                events:
                  - { at: 1d, signal: parcel-handed-over, payload: { by: Ann } }
                  - { at: 3d, approve: review }
                expect:
                  status: completed
                  calls: [ docket, { step: bill, body: { by: Ann }, after: 3d }, archive ]
                  within: 3d
                """))
    }

    @Test func anEventThatCameBeforeIsKept() async {
        expectPassed(
            await parcel(
                """
                events: [ { at: 1s, signal: parcel-handed-over }, { at: 2s, approve: review } ]
                expect: { status: completed, within: 10m }
                """))
    }

    @Test func aRejectionAborts() async {
        expectPassed(
            await parcel(
                """
                events: [ { at: 1h, signal: parcel-handed-over }, { at: 2h, reject: review, reason: too heavy } ]
                expect:
                  status: compensated
                  calls: [ docket, docket/compensate ]
                  failure: { type: rejected, detail: too heavy, step: review }
                """))
    }

    @Test func timePassesUntilATimeout() async {
        expectPassed(
            await parcel(
                "expect: { status: compensated, failure: { type: timeout, step: handed_over }, within: 2890m }"))
    }

    @Test func aSagaThatWaitsForNothingThatComesRests() async {
        let waiting = """
            saga: waiting
            version: 1
            steps:
              - id: answer
                await: { event: answer }
            """
        let fixture = await Fixture(
            "waiting", "",
            "expect: { status: completed }", sagas: waiting)
        #expect(
            await fixture.differences()
                == "status: expected completed, found running, waiting for answer: the event answer")
        expectPassed(
            await Fixture(
                "waiting", "", "expect: { status: running, steps: { answer: waiting } }", sagas: waiting
            ).outcome())
    }

    // MARK: - Operators

    @Test func cancelAborts() async {
        expectPassed(
            await parcel(
                """
                events: [ { at: 5m, cancel: customer called }, { at: 1h, cancel: again } ]
                expect:
                  status: compensated
                  failure: { type: cancelled, detail: customer called }
                  refused: [ cancel ]
                  steps: { cool: failed, handed_over: pending }
                  within: 5m
                """))
    }

    @Test func terminateUndoesNothing() async {
        expectPassed(
            await parcel(
                """
                events: [ { at: 5m, terminate: enough }, { at: 6m, signal: parcel-handed-over } ]
                expect: { status: terminated, calls: [ docket ], refused: [ signal ] }
                """))
    }

    @Test func deadlinesStandStillWhileASagaIsSuspended() async {
        expectPassed(
            await parcel(
                """
                events:
                  - { at: 1h, suspend: true }
                  - { at: 10d, resume: true }
                  - { at: 11d, signal: parcel-handed-over }
                  - { at: 11d, approve: review }
                expect: { status: completed, suspended: false, within: 11d }
                """))
        expectPassed(
            await parcel(
                "events: [ { at: 1h, suspend: true } ]\nexpect: { status: running, suspended: true, within: 1h }"))
    }

    @Test func whatFailsAfterThePivotIsForAPerson() async {
        let events = "{ at: 1h, signal: parcel-handed-over }, { at: 1h, approve: review }"
        expectPassed(
            await parcel(
                """
                handlers: { archive: 400 }
                events: [ \(events) ]
                expect: { status: stuck, stuck_at: { step: archive, reason: forward, detail: "400" }, within: 1h }
                """))
        expectPassed(
            await parcel(
                """
                handlers: { archive: [ 400, { body: done } ] }
                events: [ \(events), { at: 2h, retry: true } ]
                expect: { status: completed, steps: { archive: { output: done, attempts: 2 } }, within: 2h }
                """))
        expectPassed(
            await parcel(
                """
                handlers: { archive: 400 }
                events: [ \(events), { at: 2h, skip: archive, reason: by hand, output: 1 } ]
                expect: { status: completed, steps: { archive: { status: skipped, output: 1 } } }
                """))
        expectPassed(
            await parcel(
                """
                handlers: { bill: [ timeout, timeout ] }
                events: [ \(events), { at: 2h, resolve: bill, happened: true, output: b-1 } ]
                expect: { status: completed, steps: { bill: { output: b-1 } } }
                """))
    }

    @Test func aCompensationThatIsStuckIsRetriedOrSkipped() async {
        let handlers = "docket/compensate: [ 400, 204 ]"
        expectPassed(
            await parcel(
                """
                handlers: { \(handlers) }
                events: [ { at: 5m, cancel: no }, { at: 6m, retry: { input: { force: true } } } ]
                expect:
                  status: compensated
                  calls: [ docket, docket/compensate, { step: docket/compensate, body: { force: true } } ]
                """))
        expectPassed(
            await parcel(
                """
                handlers: { docket/compensate: 400 }
                events: [ { at: 5m, cancel: no }, { at: 6m, skip: docket, reason: by hand } ]
                expect: { status: compensated, skipped: 1, steps: { docket: { compensation: skipped } } }
                """))
    }

    // MARK: - Workers that die

    @Test func aRequestThatWasInFlightIsSentAgain() async {
        expectPassed(
            await parcel(
                """
                handlers: { docket: [ { status: 200, body: lost, after: 10s }, { body: again } ] }
                events: [ { at: 5s, crash: true }, { at: 30m, cancel: enough } ]
                expect:
                  status: compensated
                  calls: [ docket, { step: docket, attempt: 1, after: 5s }, docket/compensate ]
                  steps: { docket: { output: again } }
                """))
        expectPassed(
            await parcel(
                """
                handlers: { docket: [ crash, { body: again } ] }
                events: [ { at: 30m, cancel: enough } ]
                expect: { status: compensated, calls: [ docket, docket, docket/compensate ] }
                """))
    }

    @Test func aTimerThatCameDueWhileNobodyWorkedFiresOnce() async {
        expectPassed(
            await parcel(
                """
                events:
                  - { at: 1m, crash: 3h }
                  - { at: 1h, signal: parcel-handed-over }
                  - { at: 1h, approve: review }
                expect: { status: completed, calls: [ docket, { step: bill, after: 181m }, archive ], within: 181m }
                """))
    }

    // MARK: - What the saga sees

    @Test func theStartIsThatOfTheScenario() async {
        let fixture = await Fixture(
            "later", "started_at: 2026-05-01T08:00:00Z",
            """
            expect:
              status: completed
              output: { at: "2026-05-01T08:00:00Z", key: null, id: 00000000-0000-7000-8000-000000000001 }
              within: 1h
            """,
            sagas: """
                saga: later
                version: 1
                output: { at: "${ .saga.started_at }", key: "${ .saga.key }", id: "${ .saga.id }" }
                steps:
                  - id: sleep
                    wait: { until: "${ \\"2026-05-01T09:00:00Z\\" }" }
                """)
        expectPassed(await fixture.outcome())
    }

    @Test func theKeyIsMadeOfTheInputUnlessItIsGiven() async {
        let keyed = "expect: { status: completed, published: [ { topic: order.paid, key:"
        expectPassed(await Fixture("order", "input: { id: 17 }", keyed + " \"17\" } ] }").outcome())
        expectPassed(await Fixture("order", "input: { id: 17 }", "key: k\n" + keyed + " k } ] }").outcome())
    }

    private static let variable = """
        saga: variable
        version: 1
        output: ${ .input | length }
        steps:
          - id: call
            call: { http: "POST ${ $env.HOST }/x" }
        """

    @Test func variablesAndJQWork() async {
        expectPassed(
            await Fixture(
                "variable", "env: { HOST: http://h.example }\ninput: [ 1, 2, 3 ]",
                "expect: { status: completed, output: 3, calls: [ { step: call, url: http://h.example/x } ] }",
                sagas: Self.variable
            ).outcome())
    }

    @Test func aVariableWithoutAValueBreaksTheScenario() async {
        let fixture = await Fixture("variable", "input: []", "expect: { status: completed }", sagas: Self.variable)
        #expect(
            await fixture.differences()
                == "the saga reads $env.HOST, which has no value; expected env: { HOST: … } in the file")
    }

    @Test func aSagaThatNeverRestsBreaksTheScenario() async {
        let fixture = await Fixture(
            "stubborn", "handlers: { call: 503 }", "expect: { status: completed }",
            sagas: """
                saga: stubborn
                version: 1
                steps:
                  - id: call
                    retry: { attempts: forever, initial: 1s, max: 1s }
                    call: { http: POST http://h.example/ }
                """)
        #expect(
            await fixture.differences()
                == "the saga did not come to rest within 10000 events; does it retry for ever?")
    }

    @Test func jitterIsTheSameInEveryRun() async {
        let fixture = await Fixture(
            "jittery", "", "handlers: { call: 503 }\nexpect: { status: completed }",
            sagas: """
                saga: jittery
                version: 1
                steps:
                  - id: call
                    retry: { attempts: 6, initial: 10s }
                    call: { http: POST http://h.example/ }
                """)
        let first = await fixture.outcome()
        #expect(first == (await fixture.outcome()))
    }
}
