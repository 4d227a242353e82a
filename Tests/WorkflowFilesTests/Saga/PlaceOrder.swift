/// The example of the language's description, word for word, and what it refers to.
enum PlaceOrder {
    static let saga = #"""
        saga: place-order
        version: 3                                   # immutable once applied; other content under the same version is refused
        description: Charge, reserve and ship an order.
        key: ${ .input.orderId }                     # business key: a plain path or a text of plain paths
        reuse_key: false                             # true: the key is free again once the saga has ended
        start_on: order.placed                       # optional: a message of this topic starts the saga (payload = input)
        input:
          schema: schemas/order.json                 # optional JSON Schema; a documented subset, checked when the saga is first claimed
        output:
          shipment: ${ .steps.ship.output.id }
        timeout: 4h                                  # forward path; on expiry the saga aborts and compensates
        retention: 30d                               # how long the ended saga and its history are kept
        retries:                                     # named policies
          gentle: { attempts: 5, initial: 200ms, multiplier: 2, max: 30s, jitter: full, max_elapsed: 2m }
          undo: { attempts: 20, initial: 1s, multiplier: 2, max: 5m, jitter: full }
        defaults:
          timeout: 5s                                # of one try
          retry: gentle
          compensate:
            retry: undo
        steps:
          - id: reserve
            call:
              http: POST ${ $env.INVENTORY }/reservations
              body:
                order: ${ .input.orderId }
                items: ${ .input.items }
            compensate:
              call:
                http: DELETE ${ $env.INVENTORY }/reservations/${ .input.orderId }

          - id: charge
            call:
              http: POST /charges
              endpoint: payments                     # base URL, credentials and limits come from the endpoint document; then http is a path
              body:
                order: ${ .input.orderId }
                amount: ${ .input.total }
            fail_on: [card-declined]                 # problem types (RFC 9457), exact or by last segment, and statuses: a clean refusal, final at once
            compensate:
              when: started                          # default: succeeded or unknown, see below
              call:
                http: POST /refunds
                endpoint: payments
                body:
                  order: ${ .input.orderId }
                  charge: ${ .output.id }

          - id: notify
            parallel:
              branches:
                - id: warehouse
                  steps:
                    - id: pick_list
                      call:
                        http: POST ${ $env.WAREHOUSE }/pick-lists
                        body: ${ .input }
                - id: ledger
                  steps:
                    - id: book
                      call:
                        sql: select ledger.book($1, $2)
                        args: [ "${ .input.orderId }", "${ .input.total }" ]
                      compensate:
                        call:
                          sql: select ledger.unbook($1)
                          args: [ "${ .input.orderId }" ]

          - id: ship
            pivot: true                              # the point of no return: after it succeeds, the rest only goes forward
            timeout: 2h                              # of an async call: until its callback
            deadline: 3h                             # of the whole step: tries, waits between them, callbacks
            call:
              http: POST ${ $env.SHIPPING }/shipments
              async: true
              body: ${ .input }

          - id: receipt
            publish:
              topic: order.completed
              key: ${ .input.orderId }
              payload: ${ .steps }
        on_completed:                                # also on_compensated, on_failed, on_stuck, on_terminated
          publish:
            topic: saga.completed
            payload: ${ .saga }
        """#

    static let endpoint = """
        endpoint: payments
        url: https://payments.example
        """

    static let schema = """
        {
          "$schema": "https://json-schema.org/draft/2020-12/schema",
          "type": "object",
          "required": [ "orderId", "total" ],
          "properties": {
            "orderId": { "type": ["string", "integer"] },
            "total": { "type": "number", "exclusiveMinimum": 0 },
            "items": { "type": "array", "items": { "type": "object" }, "maxItems": 100 }
          }
        }
        """

    /// The files of its folder.
    static func files(saga: String = saga) -> [String: String] {
        ["place-order.yaml": saga, "payments.yaml": endpoint, "schemas/order.json": schema]
    }
}
