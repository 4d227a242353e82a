import Testing

/// A saga with a bit of everything: branches, a statement, an async pivot, hooks.
struct PlaceOrderTests {
    private static let saga = """
        saga: place-order
        version: 3
        key: ${ .input.orderId }
        output: { shipment: "${ .steps.ship.output.id }" }
        timeout: 4h
        steps:
          - id: reserve
            call:
              http: POST ${ $env.INVENTORY }/reservations
              body: { order: "${ .input.orderId }" }
            compensate:
              call: { http: "DELETE ${ $env.INVENTORY }/reservations/${ .input.orderId }" }
          - id: charge
            call:
              http: POST /charges
              endpoint: payments
              body: { amount: "${ .input.total }" }
            fail_on: [ card-declined ]
            compensate:
              when: started
              call:
                http: POST /refunds
                endpoint: payments
                body: { charge: "${ .output.id }" }
          - id: notify
            parallel:
              branches:
                - id: warehouse
                  steps:
                    - id: pick_list
                      call: { http: POST http://warehouse.example/pick-lists }
                      compensate: none
                - id: ledger
                  steps:
                    - id: book
                      call: { sql: "select ledger.book($1)", args: [ "${ .input.orderId }" ] }
                      compensate:
                        call: { sql: "select ledger.unbook($1)", args: [ "${ .input.orderId }" ] }
          - id: ship
            pivot: true
            timeout: 2h
            deadline: 3h
            call: { http: POST http://ship.example/shipments, async: true }
          - id: receipt
            publish: { topic: order.completed, payload: "${ .steps.ship.output }" }
        on_completed: { publish: { topic: saga.completed, payload: "${ .saga.key }" } }
        on_stuck: { publish: { topic: saga.stuck, payload: "${ .failure }" } }
        ---
        endpoint: payments
        url: https://payments.example/v1
        """

    private static let document = """
        env: { INVENTORY: http://inventory.example }
        input: { orderId: 17, total: 42.5 }
        strict: true
        handlers:
          reserve: 201
          charge: { body: { id: c-1 } }
          pick_list: 202
          book: ok
          ship: { callback: { after: 5m, output: { id: s-1 } } }
        """

    @Test(arguments: [
        """
        expect:
          status: completed
          calls: [ reserve, { step: charge, endpoint: payments, url: /charges }, pick_list, book, ship ]
          published: [ { topic: order.completed, payload: { id: s-1 } }, { topic: saga.completed, payload: "17" } ]
          output: { shipment: s-1 }
          within: 5m
        """,
        """
        handlers: { charge: { status: 422, problem: { type: https://pay.example/card-declined } } }
        expect:
          status: compensated
          calls: [ reserve, charge, { step: charge/compensate, body: { charge: null } }, reserve/compensate ]
        """,
        """
        handlers: { pick_list: 400, book: { after: 3s } }
        expect:
          status: compensated
          calls: [ reserve, charge, pick_list, book, { step: book/compensate, after: 3s }, charge/compensate, reserve/compensate ]
          steps: { pick_list: failed, book: { status: succeeded, compensation: compensated } }
        """,
        """
        handlers: { ship: { callback: never } }
        expect: { status: stuck, stuck_at: { step: ship, reason: pivot }, published: [ saga.stuck ] }
        """,
        """
        handlers: { ship: [ timeout, lost, 503, 503, 503 ] }
        events: [ { at: 1d, resolve: ship, happened: false } ]
        expect: { status: compensated, failure: resolved, steps: { ship: failed, receipt: pending } }
        """,
        """
        handlers: { ship: { callback: { after: 90m, output: { id: s-1 } } } }
        events: [ { at: 80m, cancel: enough } ]
        expect: { status: completed }
        """,
        """
        handlers: { ship: { callback: { after: 90m, fail: out-of-vans } } }
        events: [ { at: 80m, cancel: enough } ]
        expect: { status: compensated, failure: cancelled }
        """,
        """
        handlers:
          reserve: [ crash, 201 ]
          charge: [ crash, { body: { id: c-1 } } ]
          pick_list: [ crash, 202 ]
          ship: [ crash, { callback: { after: 1m, output: { id: s-2 } } } ]
        events: [ { at: 30s, crash: 5m } ]
        expect: { status: completed, output: { shipment: s-2 }, within: 330s }
        """,
    ])
    func scenariosPass(scenario: String) async {
        expectPassed(
            await Fixture("place-order", Self.document, scenario, sagas: Self.saga).outcome())
    }
}
