import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// What `saga show` prints: the page for whoever is on call.
struct SagaShowTests {
    private static let order = """
        saga: place-order
        version: 3
        key: ${ .input.orderId }
        timeout: 4h
        defaults:
          timeout: 10s
          retry: { attempts: 3, initial: 10ms, multiplier: 1, jitter: none }
          compensate:
            retry: { attempts: 2, initial: 10ms, jitter: none }
        steps:
          - id: reserve
            call: { http: POST /reserve, endpoint: shop, body: "${ .input }" }
            compensate:
              call: { http: DELETE /reserve, endpoint: shop }
          - id: gift_wrap
            if: ${ .input.gift }
            set: { paper: red }
          - id: pack
            call: { http: POST /pack, endpoint: shop }
            compensate:
              call: { http: DELETE /pack, endpoint: shop }
          - id: charge
            call: { http: POST /charge, endpoint: shop, body: "${ .input }" }
            compensate:
              call: { http: POST /refund, endpoint: shop }
        """

    @Test func aCompensatedSagaShowsWhatWasDoneAndUndone() async throws {
        let replies: [String: [ServerResponse]] = [
            "POST /charge": [.status(429), .status(429), .refusal("card-declined", "no funds", status: 402)]
        ]
        try await SagaScene.with(Self.order, replies: replies) { scene in
            let id = try await scene.start("place-order", #"{"orderId": 17, "gift": null}"#)
            try await scene.waitUntil(id, is: "compensated")
            let shown = try await scene.run("saga show", id)
            #expect(shown.exit == .code(0) && shown.errors == "")
            let text = SagaScene.masked(shown.output)
            #expect(
                text == """
                    saga       place-order, version 3, key 17
                    id         ID
                    status     compensated since TIME, # ago; took #
                    started    TIME
                    failure    charge: card-declined: HTTP 402: Refused: no funds
                    input      {"gift":null,"orderId":17}

                          #  ✓ reserve          #
                          #  – gift_wrap           skipped since its condition is false
                          #  ✓ pack             #
                          #  ✗ charge           #  failed: card-declined: HTTP 402: Refused: no funds, after 3 tries
                          #      try 1             HTTP 429, not done; the next one at #
                          #      try 2             HTTP 429, not done; the next one at #
                          #  ! aborts: charge: card-declined
                          #  ✓ ↶ pack           #  1 of 2: undone
                          #  ✓ ↶ reserve        #  2 of 2: undone
                          #  ■ compensated

                    """, "\(text)")
            #expect(try await scene.run("saga show place-order/17").output.hasPrefix("saga       place-order"))
        }
    }

    @Test func aStuckSagaSaysWhyAndWhatHelps() async throws {
        let replies: [String: [ServerResponse]] = [
            "POST /charge": [.status(503)], "POST /refund": [.status(200)], "DELETE /pack": [.status(500)],
        ]
        try await SagaScene.with(Self.order, replies: replies) { scene in
            let id = try await scene.start("place-order", #"{"orderId": 18, "gift": true}"#)
            try await scene.waitUntil(id, is: "stuck")
            let text = SagaScene.masked(try await scene.run("saga show", id).output)
            #expect(
                text == """
                    saga       place-order, version 3, key 18
                    id         ID
                    status     stuck since TIME, # ago
                    started    TIME
                    failure    charge: exhausted: HTTP 503
                    trouble    the compensation of pack failed: HTTP 500
                    input      {"gift":true,"orderId":18}

                          #  ✓ reserve          #
                          #  ✓ gift_wrap
                          #  ✓ pack             #
                          #  ? charge           #  may have happened: exhausted: HTTP 503, after 3 tries
                          #      try 1             HTTP 503; the next one at #
                          #      try 2             HTTP 503; the next one at #
                          #  ! aborts: charge: exhausted
                          #  ✓ ↶ charge         #  1 of 3: undone
                          #  ? ↶ pack           #  2 of 3: not undone: exhausted: HTTP 500, after 2 tries
                          #      try 1             HTTP 500; the next one at #
                          #  ! stuck: the compensation of pack failed: HTTP 500
                             · ↶ reserve           3 of 3: to be undone

                    What helps:
                      Try the compensation of pack again
                        outrider saga retry ID
                      Try it again with another body
                        outrider saga retry ID --input JSON
                      It is undone in fact: go on
                        outrider saga resolve ID pack --happened yes
                      Leave pack as it is, and undo the rest
                        outrider saga skip ID pack --reason WHY
                      Undo nothing more
                        outrider saga terminate ID --reason WHY

                    """, "\(text)")

            let record = try await scene.json("saga show \(id)")
            #expect(record["status"] == "stuck" && record["key"] == "18")
            #expect(record["trouble"]?["step"] == "pack")
            #expect(record["steps"]?.array?.map { $0["step"] } == ["reserve", "gift_wrap", "pack", "charge"])
            #expect(record["steps"]?[2]?["compensation_status"] == "failed")
            #expect(record["history"]?.array?.last?["event"] == "stuck")
            #expect(record["sub_sagas"] == [])
        }
    }

    @Test func aWaitingSagaSaysForWhatAndHowToGiveIt() async throws {
        let sagas = """
            saga: ship
            version: 1
            steps:
              - id: pay
                run:
                  saga: payment
                  input: { order: "${ .input.orderId }" }
              - id: all
                parallel:
                  branches:
                    - id: courier
                      steps:
                        - id: parcel
                          await: { event: parcel-handed-over, timeout: 2d }
                    - id: office
                      steps:
                        - id: release
                          approve: { prompt: "Ship order ${ .input.orderId }?", timeout: 1d }
            ---
            saga: payment
            version: 1
            key: ${ .input.order }
            steps:
              - id: charge
                call: { http: POST /charge, endpoint: shop }
                compensate: none
            """
        try await SagaScene.with(sagas) { scene in
            let id = try await scene.start("ship", #"{"orderId": 7}"#)
            try await scene.waitUntil(id, is: "running", waitingFor: "all.office.release")
            #expect(try await scene.run("saga signal \(id) other {}").exit == .code(0))
            #expect(try await scene.run("saga suspend \(id)").exit == .code(0))
            try await scene.waitUntil(id, is: "running", waitingFor: "suspended")
            let text = SagaScene.masked(try await scene.run("saga show", id).output)
            #expect(
                text == """
                    saga       ship, version 1
                    id         ID
                    status     running since TIME, # ago
                               suspended since TIME, # ago, by postgres
                    waits for  a person: suspended
                    input      {"orderId":7}

                          #  ✓ pay                      #
                                 sub-saga                  payment ID completed
                          #  ▸ all                      #
                          #  … all.courier.parcel       #  waits for the event parcel-handed-over until
                                                           TIME, in #
                          #  … all.office.release       #  waits for the event release until TIME, in
                                                                #
                          #  @ event other by postgres: {}
                          #  @ suspended by postgres

                    What helps:
                      Let it go on
                        outrider saga resume ID
                      Give it the event parcel-handed-over
                        outrider saga signal ID parcel-handed-over [PAYLOAD]
                      Approve: Ship order 7?
                        outrider saga signal ID release true
                      Reject it
                        outrider saga signal ID release '{"approved": false, "reason": "WHY"}'

                    """, "\(text)")
            let child = try await scene.run("saga show payment/7").output
            #expect(child.contains("\nparent     ship \(id), at pay\n"), "\(child)")
        }
    }

    // MARK: - Histories of all kinds

    @Test func everythingThatCanHappenHasItsPlace() async throws {
        try await Scene.with { scene in
            try await scene.chronicle(
                status: "terminated", finished: 8000,
                [
                    (0, "begun", nil, nil, nil, #"{"deadline": "2020-11-24T12:00:00Z"}"#),
                    (
                        10, "started", "ask", "action", 1,
                        #"{"method": "POST", "url": "/ask", "input": {}, "until": "2020-11-24T08:00:05Z"}"#
                    ),
                    (100, "ongoing", "ask", "action", 1, #"{"next": "2020-11-24T08:00:00.2Z"}"#),
                    (200, "sent", "ask", "action", 1, #"{"until": "2020-11-24T08:00:05Z"}"#),
                    (300, "ongoing", "ask", "action", 1, #"{"next": "2020-11-24T08:00:00.4Z"}"#),
                    (400, "lost", "ask", "action", 1, "{}"),
                    (500, "accepted", "ask", "action", 1, #"{"until": "2020-11-24T09:00:00Z"}"#),
                    (510, "heartbeat", "ask", "action", 1, #"{"until": "2020-11-24T09:00:00Z"}"#),
                    (520, "heartbeat", "ask", "action", 1, #"{"until": "2020-11-24T09:00:00Z"}"#),
                    (600, "succeeded", "ask", "action", nil, #"{"output": 1}"#),
                    (700, "late", "ask", "action", 1, #"{"what": "callback: completed"}"#),
                    (
                        800, "refused", nil, nil, nil,
                        #"{"act": "skip", "reason": "the saga is not stuck", "by": "bob"}"#
                    ),
                    (900, "noted", nil, nil, nil, #"{"type": "cancelled", "detail": "no stock (by bob)"}"#),
                    (
                        1000, "started", "each[12].wait_for_the_warehouse", "action", nil,
                        #"{"input": null, "timer": "2020-11-24T10:00:00Z"}"#
                    ),
                    (
                        1100, "started", "ship", "action", 1,
                        #"{"method": "POST", "url": "/ship", "input": {}, "until": "2020-11-24T08:00:05Z"}"#
                    ),
                    (
                        1200, "unknown", "ship", "action", 1,
                        #"{"error": {"type": "timeout", "detail": "\u001b[31mno answer\n within 10s"}}"#
                    ),
                    (
                        1200, "stuck", "ship", "action", nil,
                        #"{"reason": "pivot", "detail": "no answer within 10s", "interrupted": "running"}"#
                    ),
                    (1200, "hook_failed", nil, nil, nil, #"{"hook": "on_stuck", "error": "no such topic"}"#),
                    (2000, "retried", "ship", "action", nil, #"{"by": "eve"}"#),
                    (2000, "sent", "ship", "action", 2, #"{"until": "2020-11-24T08:00:05Z"}"#),
                    (
                        3000, "unknown", "ship", "action", 2,
                        #"{"error": {"type": "timeout", "detail": "no answer within 10s"}}"#
                    ),
                    (4000, "resolved", "ship", "action", nil, #"{"happened": true, "by": "eve"}"#),
                    (4000, "succeeded", "ship", "action", nil, #"{"output": null}"#),
                    (
                        5000, "failed", "tell", "action", nil,
                        #"{"error": {"type": "expression", "detail": "cannot iterate over null"}}"#
                    ),
                    (
                        5500, "skipped", "tell", "action", nil,
                        #"{"reason": "customer knows", "output": null, "by": "eve"}"#
                    ),
                    (6000, "suspended", nil, nil, nil, #"{"by": "eve"}"#),
                    (7000, "resumed", nil, nil, nil, #"{"by": "eve"}"#),
                    (8000, "terminated", nil, nil, nil, #"{"reason": "test order", "by": "eve"}"#),
                ])
            let shown = try await scene.command("saga", "show", scene.chronicled)
            #expect(shown.exit == .code(0), "\(shown.errors)")
            let timeline = shown.output.split(separator: "\n\n")[1].replacing(#/\d+d\d+h ago/#, with: "AGO")
            #expect(
                timeline == """
                       10ms  ✓ ask                              590ms
                      300ms      try 1                                 the handler is at work, 2 times
                      400ms      try 1                                 its worker was lost
                      500ms      try 1                                 accepted
                      520ms      try 1                                 a heartbeat, 2 times
                      700ms  ~ late ask: callback: completed
                      800ms  @ refused: skip by bob: the saga is not stuck
                      900ms  ! will abort unless the pivot succeeds: cancelled: no stock (by bob)
                       1.0s  … each[12].wait_for_the_warehouse
                                                                 7.0s  left as it was: waits until 2020-11-24T10:00:00Z,
                                                                       AGO
                       1.1s  ? ship                             100ms  may have happened: timeout: [31mno answer within
                                                                       10s
                       1.2s  ! stuck: whether the pivot ship has happened is not known: no answer within 10s
                       1.2s  ! could not publish on_stuck: no such topic
                       2.0s  @ retried ship by eve
                       2.0s  ? ship                              1.0s  may have happened: timeout: no answer within 10s,
                                                                       after 2 tries
                       4.0s  @ resolved ship: it happened, says eve
                       4.0s  ✓ ship
                       5.0s  ✗ tell                                    failed: expression: cannot iterate over null
                       5.5s  – tell                                    skipped by eve: customer knows
                       6.0s  @ suspended by eve
                       7.0s  @ resumed by eve
                       8.0s  ■ terminated by eve: test order

                    """, "\(timeline)")
        }
    }

    @Test func ofManyTriesTheMiddleIsLeftOut() async throws {
        try await Scene.with { scene in
            var facts: [Scene.Line] = [
                (0, "begun", nil, nil, nil, "{}"),
                (
                    0, "started", "ask", "action", 1,
                    #"{"method": "POST", "url": "/ask", "input": {}, "until": "2020-11-24T08:00:05Z"}"#
                ),
            ]
            for number in 1...20 {
                facts.append(
                    (
                        number * 10, "try_failed", "ask", "action", number,
                        #"{"error": {"type": "exhausted", "detail": "HTTP 503"}, "happened": "unknown", "next": "2126-11-24T08:00:00Z"}"#
                    ))
            }
            try await scene.chronicle(status: "running", facts)
            let shown = try await scene.command("saga", "show", scene.chronicled).output
            let tries = shown.split(separator: "\n").filter { $0.contains("    try ") }
            #expect(tries.count == 8)
            #expect(tries[3].hasPrefix("   40ms      try 4"))
            #expect(tries[4].hasPrefix("  170ms      try 17"))
            #expect(shown.contains("12 more: outrider saga history \(scene.chronicled)"), "\(shown)")
            #expect(shown.contains("the next try is due 2126-11-24T08:00:00Z, in "), "\(shown)")
            #expect(shown.split(separator: "\n").allSatisfy { $0.count <= 100 })
        }
    }

    @Test(arguments: [
        (
            "forward", "tell", "action", #"{"method": "POST", "url": "/", "input": {}}"#,
            ["retry", "retry", "resolve", "skip", "terminate"]
        ),
        ("forward", "tell", "action", "{}", ["resolve", "skip", "terminate"]),
        ("forward", nil, "action", "{}", ["retry", "terminate"]),
        (
            "pivot", "tell", "action", #"{"method": "POST", "url": "/", "input": {}}"#,
            ["resolve", "resolve", "retry", "terminate"]
        ),
        ("timeout", nil, "action", "{}", ["retry", "terminate"]),
        ("abandoned", nil, "action", "{}", ["retry", "cancel", "terminate"]),
    ])
    func whatHelpsDependsOnTheReason(
        reason: String, step: String?, op: String, start: String, commands: [String]
    ) async throws {
        try await Scene.with { scene in
            try await scene.chronicle(
                status: "stuck",
                [
                    (0, "begun", nil, nil, nil, "{}"), (1, "started", "tell", op, 1, start),
                    (2, "unknown", "tell", op, 1, #"{"error": {"type": "timeout"}}"#),
                    (
                        2, "stuck", step, op, nil,
                        #"{"reason": "\#(reason)", "detail": "why", "interrupted": "running"}"#
                    ),
                ])
            let shown = try await scene.command("saga", "show", scene.chronicled).output
            let offered = shown.split(separator: "\n").compactMap { line in
                line.firstMatch(of: #/^    outrider saga (\w+)/#).map { String($0.1) }
            }
            #expect(offered == commands, "\(shown)")
            #expect(shown.contains("\ntrouble    "), "\(shown)")
        }
    }

    @Test func ofAStuckSubSagaTheParentSaysWhereToLook() async throws {
        let sagas = """
            saga: ship
            version: 1
            steps:
              - id: pay
                run: { saga: payment, input: "${ .input }" }
            ---
            saga: payment
            version: 1
            steps:
              - id: charge
                pivot: true
                retry: { attempts: 1 }
                call: { http: POST /charge, endpoint: shop }
            """
        try await SagaScene.with(sagas, replies: ["POST /charge": [.status(500)]]) { scene in
            let id = try await scene.start("ship", "{}")
            try await eventually("its sub-saga is stuck") {
                try await scene.json("saga list --status stuck").array?.count == 1
            }
            let child = try await scene.json("saga list --status stuck")[0]?["id"]?.string ?? ""
            let shown = try await scene.run("saga show", id).output
            #expect(shown.contains("  sub-saga  ") && shown.contains(" payment \(child) stuck\n"), "\(shown)")
            #expect(
                shown.hasSuffix(
                    """
                    What helps:
                      Help its sub-saga payment, which is stuck
                        outrider saga show \(child)

                    """), "\(shown)")
        }
    }

    @Test func oneThatHasNotBegunSaysWhenItStarts() async throws {
        try await Scene.with(workflows: Self.order + "\n---\nendpoint: shop\nurl: ${ $env.SHOP }") { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            let later = try await scene.command(
                "start", "place-order", #"{"orderId": 1}"#, "--start-at", "2126-11-24T08:00:00Z")
            #expect(later.exit == .code(0), "\(later.errors)")
            let shown = try await scene.command("saga", "show", "place-order/1").output
            #expect(shown.contains("\nstatus     starts at 2126-11-24T08:00:00Z, in "), "\(shown)")
            #expect(try await scene.command("saga", "history", "place-order/1").output == "nothing has happened yet\n")
            _ = try await scene.command("start", "place-order", #"{"orderId": 2}"#)
            let waiting = try await scene.command("saga", "show", "place-order/2").output
            #expect(waiting.contains(" ago; no worker has taken it up yet\n"), "\(waiting)")
        }
    }
}

extension Scene {
    /// A fact: milliseconds after the start, event, step, op, attempt, detail.
    fileprivate typealias Line = (Int, String, String?, String?, Int?, String)

    fileprivate var chronicled: String { "8f3e2d1c-0000-4000-8000-000000000001" }

    /// Writes a saga and its history by hand; it began on 2020-11-24 at 8.
    fileprivate func chronicle(status: String, finished: Int? = nil, _ facts: [Line]) async throws {
        let began = try #require(Timestamp(rfc3339: "2020-11-24T08:00:00Z"))
        try await database.query(
            """
            insert into outrider.saga (id, type_id, name, version, hash, input, retention, started_at, status, finished_at)
            values (\(chronicled)::uuid, 1, 'chronicle', 1, 'h', '{}', '30 days', \(began), \(status),
                \(finished.map { began + .milliseconds($0) }))
            """)
        for (offset, event, step, op, attempt, detail) in facts {
            try await database.query(
                """
                insert into outrider.saga_fact (saga_id, at, event, step, op, attempt, detail, worker)
                values (\(chronicled)::uuid, \(began + .milliseconds(offset)), \(event), \(step), \(op),
                    \(attempt.map { Int32($0) }), \(detail)::jsonb, 'w')
                """)
        }
    }
}
