import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Sagas inside sagas (case 12 of the semantics).
struct SubSagaTests {
    static let family = """
        saga: parent
        version: 1
        defaults: { retry: { attempts: 2, initial: 5ms }, compensate: { retry: { attempts: 2, initial: 5ms } } }
        steps:
          - id: first
            call: { http: POST /first, endpoint: shop }
            compensate: { call: { http: POST /first/undo, endpoint: shop } }
          - id: sub
            run: { saga: child, input: { n: "${ .input.n }" }, key: "of-${ .saga.id }" }
          - id: last
            call: { http: POST /last, endpoint: shop, body: "${ .steps.sub.output }" }
        ---
        saga: child
        version: 1
        defaults: { retry: { attempts: 2, initial: 5ms }, compensate: { retry: { attempts: 2, initial: 5ms } } }
        steps:
          - id: one
            call: { http: POST /one, endpoint: shop }
            compensate: { call: { http: POST /one/undo, endpoint: shop } }
          - id: two
            call: { http: POST /two, endpoint: shop }
            compensate: { call: { http: POST /two/undo, endpoint: shop } }
        output: { n: "${ .input.n }" }
        """

    @Test func aSagaThatRunsItselfComesToAnEnd() async throws {
        let endless = """
            saga: endless
            version: 1
            steps:
              - { id: again, if: "${ .input.n > 0 }", run: { saga: endless, input: { n: "${ .input.n + 1 }" } } }
            """
        try await Scene.playing(endless) { scene in
            let worker = try await scene.worker()
            _ = try await scene.play("endless", #"{"n": 1}"#, to: "failed")
            #expect(try await scene.database.count("select count(*) from outrider.sagas where status = 'failed'") == 33)
            #expect(
                try await scene.database.count(
                    """
                    select count(*) from outrider.sagas
                    where input = '{"n": 33}' and failure ->> 'type' = 'sql-OR006' and failure ->> 'step' = 'again'
                        and failure ->> 'detail' like '%the saga endless would be the sub-saga of 33 others%'
                    """) == 1)
            _ = worker
        }
    }

    @Test func aSubSagasOutputIsItsStepsOutput() async throws {
        try await Scene.playing(Self.family) { scene in
            let worker = try await scene.worker()
            _ = try await scene.play("parent", #"{"n": 3}"#, to: "completed")
            #expect(scene.calls == ["/first", "/one", "/two", "/last"])
            #expect(scene.handler.received(at: "/last")[0].body == #"{"n": 3}"#)
            _ = worker
        }
    }

    @Test func aSubSagaThatFailsUndoesItselfAndItsParent() async throws {
        try await Scene.playing(Self.family, Script(["/two": [.status(422)]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("parent", #"{"n": 3}"#, to: "compensated")
            #expect(scene.calls == ["/first", "/one", "/two", "/one/undo", "/first/undo"])
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.sagas where parent_id = \(id) and status = 'compensated'") == 1)
            _ = worker
        }
    }

    @Test func aSubSagaThatHasCompletedIsUndoneAtItsPlace() async throws {
        try await Scene.playing(Self.family, Script(["/last": [.status(422)]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("parent", #"{"n": 3}"#, to: "compensated")
            #expect(
                scene.calls == ["/first", "/one", "/two", "/last", "/two/undo", "/one/undo", "/first/undo"])
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.sagas where parent_id = \(id) and status = 'compensated'") == 1)
            _ = worker
        }
    }

    @Test func cancellingTheParentCancelsTheSubSaga() async throws {
        try await Scene.playing(Self.family, Script(["/two": [.nothing]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("parent", #"{"n": 3}"#)
            try await scene.handler.wait(for: 1, at: "/two")
            try await scene.act("select outrider.cancel_saga(\(id), 'no')")
            try await eventually("both abort") {
                try await scene.database.count("select count(*) from outrider.sagas where status = 'compensating'") == 2
            }
            scene.handler.answerHeld()
            try await scene.wait(for: id, "compensated")
            #expect(scene.calls == ["/first", "/one", "/two", "/two/undo", "/one/undo", "/first/undo"])
            _ = worker
        }
    }

    @Test func aSubSagaThatCannotBeUndoneMakesItsParentStuckWithIt() async throws {
        let script = Script(["/last": [.status(422)], "/one/undo": [.status(403), .status(200)]])
        try await Scene.playing(Self.family, script) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("parent", #"{"n": 3}"#)
            let child: UUID = try await {
                try await eventually("the child is stuck") {
                    try await scene.database.count(
                        "select count(*) from outrider.sagas where parent_id = \(id) and status = 'stuck'") == 1
                }
                return try await scene.database.value("select id from outrider.sagas where parent_id = \(id)")
            }()
            #expect(scene.handler.count("/first/undo") == 0)
            try await scene.act("select outrider.retry_saga(\(child))")
            try await scene.wait(for: id, "compensated")
            #expect(scene.calls.suffix(3) == ["/one/undo", "/one/undo", "/first/undo"])
            _ = worker
        }
    }
}
