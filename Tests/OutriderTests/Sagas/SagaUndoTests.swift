import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// Aborting and undoing, and who may stop it (cases 3 to 12 of the semantics).
struct SagaUndoTests {
    @Test func whatWasStartedIsUndoneInReverseAndNothingElseIsSent() async throws {
        try await Scene.playing(Scene.order, Script(["/ship": [.status(422)]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("order", #"{"n": 5}"#, to: "compensated")
            #expect(scene.calls == ["/reserve", "/charge", "/ship", "/refund", "/release"])
            #expect(
                try await scene.history(of: id) == [
                    "begun", "started reserve action 1", "succeeded reserve action", "started charge action 1",
                    "succeeded charge action", "started ship action 1", "failed ship action 1", "aborting",
                    "compensating",
                    "started charge compensate 1", "succeeded charge compensate 1", "started reserve compensate 1",
                    "succeeded reserve compensate 1", "compensated",
                ])
            #expect(try await scene.step("reserve", of: id) == "succeeded 1, compensated 1")
            #expect(try await scene.step("ship", of: id) == "failed 1, not_required 0")
            _ = worker
        }
    }

    @Test func aCompensationThatIsRefusedMakesTheSagaStuckUntilSomebodyEditsItsInput() async throws {
        let hooks = """

            on_stuck:
              publish: { topic: saga.stuck, payload: "${ .saga.id }" }
            """
        let script = Script([
            "/ship": [.status(422)], "/refund": [.status(400), .status(403), .status(200)],
        ])
        try await Scene.playing(Scene.order + hooks, script) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("order", #"{"n": 5}"#, to: "stuck")
            #expect(scene.calls.suffix(1) == ["/refund"])
            #expect(try await scene.deadLetters() == 1)
            #expect(
                try await scene.database.value(
                    "select concat_ws(' ', kind, step, reason, attempts, payload ->> 'n') from outrider.dead_letters")
                    == "compensation charge compensation 1 5")
            #expect(
                try await scene.database.count("select count(*) from outrider.messages where topic = 'saga.stuck'") == 1
            )
            await #expect(throws: PostgresError.self) {
                try await scene.act("select outrider.skip_step(\(id), 'reserve', 'wrong step')")
                try await scene.act("select outrider.skip_step(\(id), 'charge', '')")
            }
            try await scene.act("select outrider.retry_saga(\(id))")
            try await scene.handler.wait(for: 2, at: "/refund")
            try await scene.wait(for: id, "stuck")
            try await scene.act(#"select outrider.retry_saga(\#(id), '{"n": 6}')"#)
            try await scene.wait(for: id, "compensated")
            let refunds = scene.handler.received(at: "/refund")
            #expect(
                refunds.map { $0.header("idempotency-key") } == [
                    "\"\(id)/charge/compensate\"", "\"\(id)/charge/compensate\"", "\"\(id)/charge/compensate/1\"",
                ])
            #expect(refunds[2].body == #"{"n": 6}"#)
            #expect(scene.calls.suffix(1) == ["/release"])
            #expect(try await scene.deadLetters() == 0)
            _ = worker
        }
    }

    @Test func aSkippedCompensationIsCountedAndTheRestIsUndone() async throws {
        let script = Script(["/ship": [.status(422)], "/refund": [.status(500)]])
        try await Scene.playing(Scene.order, script) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("order", #"{"n": 5}"#, to: "stuck")
            #expect(scene.handler.count("/refund") == 3)
            try await scene.act("select outrider.skip_step(\(id), 'charge', 'refunded by hand')")
            try await scene.wait(for: id, "compensated")
            #expect(scene.handler.count("/release") == 1)
            #expect(try await scene.database.count("select skipped from outrider.sagas where id = \(id)") == 1)
            #expect(try await scene.step("charge", of: id) == "succeeded 1, skipped 3")
            _ = worker
        }
    }

    @Test(arguments: [404, 410]) func whatIsGoneAlreadyIsUndone(status: Int) async throws {
        try await Scene.playing(Scene.order, Script(["/ship": [.status(422)], "/refund": [.status(status)]])) { scene in
            let worker = try await scene.worker()
            _ = try await scene.play("order", #"{"n": 5}"#, to: "compensated")
            _ = worker
        }
    }

    @Test func cancellingAwaitsTheCallInFlightAndUndoesIt() async throws {
        let script = Script(["/charge": [.nothing]])
        try await Scene.playing(Scene.order, script) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("order", #"{"n": 5}"#)
            try await scene.handler.wait(for: 1, at: "/charge")
            try await scene.act("select outrider.cancel_saga(\(id), 'changed my mind')")
            try await eventually("the decision is made") { try await scene.status(of: id) == "compensating" }
            #expect(scene.handler.count("/release") == 0)
            scene.handler.answerHeld(.json(["id": 9]))
            try await scene.wait(for: id, "compensated")
            #expect(scene.calls == ["/reserve", "/charge", "/refund", "/release"])
            #expect(scene.handler.received(at: "/refund")[0].body == #"{"n": 5, "was": {"id": 9}}"#)
            let failure: JSON = try await scene.database.value("select failure from outrider.sagas where id = \(id)")
            #expect(failure["type"]?.string == "cancelled")
            await #expect(throws: PostgresError.self) {
                try await scene.act("select outrider.cancel_saga(\(id), 'again')")
            }
            _ = worker
        }
    }

    @Test func terminatingUndoesNothing() async throws {
        try await Scene.playing(Scene.order, Script(["/charge": [.nothing]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("order", #"{"n": 5}"#)
            try await scene.handler.wait(for: 1, at: "/charge")
            try await scene.act("select outrider.terminate_saga(\(id), 'enough')")
            try await eventually("it is") { try await scene.status(of: id) == "terminated" }
            scene.handler.answerHeld()
            try await scene.wait(for: id, "terminated")
            #expect(scene.calls == ["/reserve", "/charge"])
            #expect(try await scene.history(of: id).suffix(2) == ["terminated", "late charge action 1"])
            _ = worker
        }
    }

    static let pivot = """
        saga: order
        version: 1
        timeout: 10m
        defaults: { retry: { attempts: 2, initial: 5ms }, timeout: 2s }
        steps:
          - id: reserve
            call: { http: POST /reserve, endpoint: shop }
            compensate: { call: { http: POST /release, endpoint: shop } }
          - id: pay
            pivot: true
            call: { http: POST /pay, endpoint: shop }
          - id: ship
            call: { http: POST /ship, endpoint: shop }
        """

    @Test func afterThePivotTheSagaOnlyGoesForward() async throws {
        try await Scene.playing(Self.pivot, Script(["/ship": [.status(422), .status(200)]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("order", to: "stuck")
            await #expect(throws: PostgresError.self) {
                try await scene.act("select outrider.cancel_saga(\(id), 'too late')")
            }
            try await scene.act("select outrider.retry_saga(\(id))")
            try await scene.wait(for: id, "completed")
            #expect(scene.calls == ["/reserve", "/pay", "/ship", "/ship"])
            _ = worker
        }
    }

    @Test(arguments: [true, false]) func anUnknownPivotWaitsForSomebodyWhoKnows(happened: Bool) async throws {
        try await Scene.playing(Self.pivot, Script(["/pay": [.status(500)]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("order")
            try await scene.wait(for: id, "stuck")
            #expect(scene.handler.count("/pay") == 2)
            #expect(scene.handler.count("/release") == 0)
            try await scene.act("select outrider.resolve_step(\(id), 'pay', \(happened))")
            try await scene.wait(for: id, happened ? "completed" : "compensated")
            #expect(scene.calls.suffix(1) == [happened ? "/ship" : "/release"])
            _ = worker
        }
    }

    /// While the pivot is under way a reason to abort is only noted.
    @Test(arguments: [200, 422]) func cancellingWhileThePivotIsUnderWayWaitsForItsOutcome(status: Int) async throws {
        try await Scene.playing(Self.pivot, Script(["/pay": [.nothing]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("order")
            try await scene.handler.wait(for: 1, at: "/pay")
            try await scene.act("select outrider.cancel_saga(\(id), 'no')")
            try await eventually("it is noted") { try await scene.history(of: id).last == "noted" }
            scene.handler.answerHeld(.json(.null, status: status))
            try await scene.wait(for: id, status == 200 ? "completed" : "compensated")
            #expect(scene.calls.suffix(1) == [status == 200 ? "/ship" : "/release"])
            _ = worker
        }
    }

    @Test func theSagasTimeoutAbortsItAndDoesNotLimitTheCompensations() async throws {
        let saga = Scene.order.replacing("version: 1", with: "version: 1\ntimeout: 1s")
            .replacing("  - id: ship", with: "  - id: handed\n    await: { event: handed-over }\n  - id: ship")
        let hooks = """

            on_compensated: { publish: { topic: undone, payload: "${ .failure.type }" } }
            """
        let script = Script(["/refund": [.status(500), .status(500), .status(200)]])
        try await Scene.playing(saga + hooks, script) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("order", #"{"n": 1}"#, to: "compensated")
            #expect(scene.calls == ["/reserve", "/charge", "/refund", "/refund", "/refund", "/release"])
            #expect(
                try await scene.database.value("select payload ->> 0 from outrider.messages where topic = 'undone'")
                    == "timeout")
            #expect(try await scene.history(of: id).filter { $0 == "aborting" }.count == 1)
            _ = worker
        }
    }

    @Test func aFailureInABranchEndsTheOthersAndUndoesAllThatStarted() async throws {
        let saga = """
            saga: fork
            version: 1
            defaults: { retry: { attempts: 1 }, timeout: 20s }
            steps:
              - id: both
                parallel:
                  branches:
                    - id: left
                      steps:
                        - id: slow
                          call: { http: POST /slow, endpoint: shop }
                          compensate: { call: { http: POST /slow/undo, endpoint: shop } }
                        - id: never
                          call: { http: POST /never, endpoint: shop }
                    - id: right
                      steps:
                        - id: quick
                          call: { http: POST /quick, endpoint: shop }
                          compensate: { call: { http: POST /quick/undo, endpoint: shop } }
                        - id: bad
                          call: { http: POST /bad, endpoint: shop }
            """
        let script = Script(["/slow": [.nothing], "/bad": [.status(422)]])
        try await Scene.playing(saga, script) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("fork")
            try await eventually("it aborts") { try await scene.status(of: id) == "compensating" }
            #expect(Set(scene.calls) == ["/slow", "/quick", "/bad"])
            scene.handler.answerHeld()
            try await scene.wait(for: id, "compensated")
            #expect(scene.handler.count("/never") == 0)
            #expect(Set(scene.calls.suffix(2)) == ["/slow/undo", "/quick/undo"])
            _ = worker
        }
    }

    @Test func eachIterationIsUndoneInReverse() async throws {
        let saga = """
            saga: pack
            version: 1
            defaults: { retry: { attempts: 1 } }
            steps:
              - id: each
                foreach:
                  in: ${ .input.items }
                  as: item
                  limit: 3
                  steps:
                    - id: pick
                      call: { http: "POST /pick/${ .item.name }", endpoint: shop }
                      compensate:
                        call: { http: "POST /undo/${ .item.name }", endpoint: shop, body: "${ .output }" }
              - id: give_up
                fail: { type: out-of-stock, detail: "none of ${ .steps.each.output }" }
            """
        try await Scene.playing(saga) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play(
                "pack", #"{"items": [{"name": "a b"}, {"name": "c/d"}, {"name": "é"}, {"name": "4"}]}"#,
                to: "compensated")
            #expect(scene.handler.received.map { $0.request.segments.last ?? "" }.count == 8)
            let started: [String] = try await scene.history(of: id).filter {
                $0.hasPrefix("started") && $0.hasSuffix("action 1")
            }
            let undone: [String] = try await scene.history(of: id).filter {
                $0.hasPrefix("started") && $0.hasSuffix("compensate 1")
            }
            #expect(started == (0..<4).map { "started each[\($0)].pick action 1" })
            #expect(undone == (0..<4).reversed().map { "started each[\($0)].pick compensate 1" })
            let failure: JSON = try await scene.database.value("select failure from outrider.sagas where id = \(id)")
            #expect(failure["type"]?.string == "out-of-stock")
            _ = worker
        }
    }
}
