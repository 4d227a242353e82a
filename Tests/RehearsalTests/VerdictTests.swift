import Testing

/// What a scenario that fails tells of it.
struct VerdictTests {
    private func order(_ scenario: String) async -> Fixture {
        await Fixture("order", "input: { id: 17, items: [ a ], total: 42.5 }", scenario)
    }

    @Test func scenariosPass() async {
        let fixture = await Fixture(
            """
            saga: order
            input: { id: 17, items: [ a ], total: 42.5 }
            handlers:
              reserve: { body: { id: r-1 } }
              charge: { body: { id: c-1, amount: 42.50 } }
            scenarios:
              - name: an order goes through
                expect:
                  status: completed
                  calls: [ reserve, { step: charge, body: { amount: 42.50 }, url: /charges }, { step: ship, method: POST } ]
                  published: [ { topic: order.paid, key: "17", payload: { amount: 42.5 } } ]
                  output: null
                  within: 0s
              - name: a declined card undoes the reservation
                handlers:
                  charge: { status: 422, problem: { type: card-declined, detail: No funds } }
                expect:
                  status: compensated
                  calls: [ reserve, charge, { step: reserve/compensate, method: DELETE, url: /reservations/r-1 } ]
                  published: [ order.undone ]
                  failure: { type: card-declined, step: charge, status: 422, detail: funds }
                  steps: { charge: failed, reserve: { compensation: compensated, output: { id: r-1 } } }
            """)
        #expect(fixture.errors == [])
        #expect(
            await fixture.text() == """
                a.test.yaml
                  passed  an order goes through
                  passed  a declined card undoes the reservation

                2 scenarios: 2 passed (7 ms)

                """)
    }

    @Test func aFailureShowsTheListsSideBySideAndWhatHappened() async {
        let fixture = await order(
            """
            handlers: { reserve: { body: { id: r-1 } }, charge: [ 503, 422 ] }
            expect:
              status: failed
              calls: [ reserve, { step: charge, body: { amount: 43 } }, ship ]
              failure: out-of-stock
            """)
        #expect(
            await fixture.text() == """
                a.test.yaml
                  FAILED  it
                          a.test.yaml:4:11
                          status: expected failed, found compensated: refused at charge: HTTP 422
                          failure: expected out-of-stock, found refused at charge: HTTP 422
                          calls: call 2, charge: body.amount is 42.5; expected 43
                                reserve
                              - charge with {"amount":43}
                              + charge POST http://pay.example/charges with {"amount":42.5} at 0s
                                    body.amount is 42.5; expected 43
                              - ship
                              + charge POST http://pay.example/charges with {"amount":42.5} (try 2) at 1s
                              + charge/compensate POST http://pay.example/refunds with {"charge":null} at 1s
                              + reserve/compensate DELETE http://stock.example/reservations/r-1 at 1s

                          what happened:
                              0s  begun
                              0s  started       reserve             POST http://stock.example/reservations ["a"]
                              0s  succeeded     reserve             {"id":"r-1"}
                              0s  started       charge              POST http://pay.example/charges {"amount":42.5}
                              0s  try failed    charge              HTTP 503; may be done; again at 1s
                              1s  sent          charge              try 2
                              1s  unknown       charge              refused: HTTP 422
                              1s  aborting                          refused at charge: HTTP 422
                              1s  compensating                      charge, reserve
                              1s  started       charge/compensate   POST http://pay.example/refunds {"charge":null}
                              1s  succeeded     charge/compensate
                              1s  started       reserve/compensate  DELETE http://stock.example/reservations/r-1
                              1s  succeeded     reserve/compensate
                              1s  compensated
                              1s  published                         order.undone {"type":"refused","detail":"HTTP 422","status":422,"step":"charge"}

                1 scenario: 1 failed (7 ms)

                """)
    }

    @Test func aCallThatWasNotExpectedShows() async {
        let fixture = await order("expect: { status: completed, calls: [ reserve, charge ] }")
        #expect(
            await fixture.differences() == """
                calls: call 3 is ship, which was not expected
                      reserve
                      charge
                    + ship POST http://ship.example/shipments at 0s
                """)
    }

    @Test func aCallThatIsMissingShows() async {
        let fixture = await order("expect: { status: completed, calls: [ reserve, charge, ship, ship ] }")
        #expect(
            await fixture.differences() == """
                calls: call 4, ship, is missing at the end
                      reserve
                      charge
                      ship
                    - ship
                """)
    }

    @Test func callsInAnotherOrderShow() async {
        let fixture = await order("expect: { status: completed, calls: [ charge, reserve, ship ] }")
        #expect(
            await fixture.differences() == """
                calls: call 1 is reserve; expected charge
                    - charge
                      reserve
                    + charge POST http://pay.example/charges with {"amount":42.5} at 0s
                      ship
                """)
    }

    @Test func everythingAboutACallIsCompared() async {
        let fixture = await order(
            """
            expect:
              status: completed
              calls:
                - reserve
                - step: charge
                  method: PUT
                  url: /charge
                  endpoint: pay
                  attempt: 2
                  headers: { x-order: "18" }
                  body: { amount: 42.5, to: [ 1 ], from: null }
                  after: 1m
                - ship
            """)
        #expect(
            await fixture.differences() == """
                calls: call 2, charge: it is try 1; expected try 2
                      reserve
                    - charge PUT /charge of pay x-order: 18 with {"amount":42.5,"from":null,"to":[1]} (try 2) (after 1m)
                    + charge POST http://pay.example/charges with {"amount":42.5} at 0s
                          it is try 1; expected try 2
                          the method is POST; expected PUT
                          the url is http://pay.example/charges; expected /charge
                          the endpoint is none; expected pay
                          the header x-order is 17; expected 18
                          body.to is missing; expected [1]
                          it came at 0s; expected after 1m
                      ship
                """)
    }

    @Test func everythingElseIsCompared() async {
        let fixture = await order(
            """
            expect:
              status: completed
              published: [ { topic: order.paid, key: k, payload: { id: 1 }, headers: { a: b } }, order.done ]
              output: { a: 1 }
              skipped: 1
              refused: [ cancel ]
              suspended: true
              steps:
                ship: failed
                reserve: { status: pending, compensation: compensated, attempts: 2, output: [ 1 ], error: e }
            """)
        #expect(
            await fixture.differences() == """
                suspended: expected true, found false
                published: message 1, order.paid: the key is 17; expected k
                    - order.paid key k {"id":1} a: b
                    + order.paid key 17 null
                          the key is 17; expected k
                          payload is null; expected {"id":1}
                          the header a is none; expected b
                    - order.done
                steps.ship: expected failed, found succeeded
                steps.reserve: expected pending, found succeeded
                steps.reserve.compensation: expected compensated, found not_required
                steps.reserve.attempts: expected 2, found 1
                steps.reserve.output: it is null; expected [1]
                steps.reserve.error: expected e, found none
                output: it is null; expected {"a":1}
                skipped: expected 1, found 0
                refused: expected cancel, found none
                """)
    }

    @Test func whereItIsStuckAndWhyIsCompared() async {
        let fixture = await order(
            """
            handlers: { ship: 500, charge/compensate: { status: 400, problem: { title: Closed } } }
            expect:
              status: stuck
              stuck_at: { step: reserve, reason: pivot, detail: no }
              failure: { type: a, step: charge, status: 400, detail: zzz }
            """)
        #expect(
            await fixture.differences() == """
                failure: expected a, found exhausted at ship: HTTP 500
                failure.step: expected charge, found ship
                failure.status: expected 400, found 500
                failure.detail: expected "zzz", found "HTTP 500"
                stuck_at: expected reserve, found charge/compensate
                stuck_at.reason: expected pivot, found compensation
                stuck_at.detail: expected "no", found "HTTP 400: Closed"
                """)
        #expect(
            await order("expect: { status: stuck, stuck_at: ship, failure: x }").differences() == """
                status: expected stuck, found completed
                failure: expected x, found none
                stuck_at: the saga is not stuck
                """)
    }

    @Test func lateIsADifference() async {
        let fixture = await order("handlers: { charge: [ 503, 200 ] }\nexpect: { status: completed, within: 500ms }")
        #expect(await fixture.differences() == "within: expected at most 0.5s, found 1s")
    }

    @Test(
        arguments: [
            ("{ a: 1 }", "{ a: 1, b: 2 }", nil), ("{ a: null }", "{ }", nil), ("{ a: 1.0 }", "{ a: 1 }", nil),
            ("[ 1 ]", "[ 1, 2 ]", "it has 2 elements: [1,2]; expected 1"),
            ("[ ]", "[ 1 ]", "it has 1 element: [1]; expected 0"),
            ("{ a: [ { b: 1 } ] }", "{ a: [ { b: 2, c: 3 } ] }", "it.a[0].b is 2; expected 1"),
            ("{ \"a b\": 1 }", "{ \"a b\": x }", "it[\"a b\"] is \"x\"; expected 1"),
            ("\"1\"", "1", "it is 1; expected \"1\""),
            ("{ }", "[ ]", "it is []; expected {}"),
        ] as [(String, String, String?)])
    func valuesAreComparedInPart(expected: String, found: String, difference: String?) async {
        let fixture = await order(
            "handlers: { ship: { body: \(found) } }\nexpect: { status: completed, output: \(expected) }")
        #expect(await fixture.differences() == (difference.map { "output: \($0)" } ?? "passed"))
    }

    @Test func aLongHistoryIsShownByItsEnds() async {
        let fixture = await order("handlers: { charge: 425 }\nexpect: { status: completed }")
        let lines = await fixture.outcome().split(separator: "\n")
        #expect(lines.count < 220)
        #expect(lines.contains { $0.hasSuffix(" more …") })
    }
}
