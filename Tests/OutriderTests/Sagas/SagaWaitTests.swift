import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// What a saga waits for: time, events, people, callbacks (cases 15 and 22 of the semantics).
struct SagaWaitTests {
    static let parcel = """
        saga: parcel
        version: 1
        key: ${ .input.n }
        steps:
          - id: first
            call: { http: POST /first, endpoint: shop }
          - id: handed
            await: { event: handed-over, timeout: 1h }
          - id: checked
            await: { event: checked }
        output: [ "${ .steps.handed.output.by }", "${ .steps.checked.output }" ]
        """

    @Test func anEventWakesASagaThatWaitsForItAndOneThatCameBeforeIsKept() async throws {
        try await Scene.playing(Self.parcel) { scene in
            #expect(try await scene.command("apply", "\(scene.folder.path)/workflows").exit == .code(0))
            let id = try await scene.start("parcel", #"{"n": 1}"#)
            // Early: the saga has not even begun.
            try await scene.act(#"select outrider.signal_saga('parcel', '1', 'checked', '"early"')"#)
            let worker = try await scene.worker()
            try await scene.wait(for: id, toWaitFor: "handed-over")
            #expect(scene.calls == ["/first"])
            try await scene.act(#"select outrider.signal_saga(\#(id), 'handed-over', '{"by": "Ann"}')"#)
            try await scene.wait(for: id, "completed")
            let output: JSON = try await scene.database.value("select output from outrider.sagas where id = \(id)")
            #expect(output.text == #"["Ann","early"]"#)
            await #expect(throws: PostgresError.self) {
                try await scene.act("select outrider.signal_saga(\(id), 'checked')")
            }
            #expect(try await scene.database.count("select count(*) from outrider.saga_mail") == 0)
            _ = worker
        }
    }

    @Test func aSagaThatStartsLaterDoesNotBeginByMail() async throws {
        try await Scene.playing(Self.parcel) { scene in
            let worker = try await scene.worker()
            let id: UUID = try await scene.database.value(
                #"select outrider.start_saga('parcel', '{"n": 1}', start_at => clock_timestamp() + interval '1 hour')"#)
            let other: UUID = try await scene.database.value(
                #"select outrider.start_saga('parcel', '{"n": 2}', start_at => clock_timestamp() + interval '1 hour')"#)
            try await scene.act("select outrider.signal_saga(\(id), 'checked')")
            try await scene.act("select outrider.cancel_saga(\(other), 'no')")
            try await scene.wait(for: other, "failed")
            try await eventually("the mail is read") { try await scene.history(of: id) == ["signalled"] }
            // Its time comes.
            try await scene.act("update outrider.scheduled set due_at = clock_timestamp() where message_id = \(id)")
            try await scene.act("update outrider.saga set started_at = clock_timestamp() where id = \(id)")
            try await scene.wait(for: id, toWaitFor: "handed-over")
            #expect(scene.calls == ["/first"])
            _ = worker
        }
    }

    static let visit = """
        saga: visit
        version: 1
        steps:
          - id: pause
            wait: { for: 300ms }
          - id: boss
            approve: { prompt: "May ${ .input.who } come?", timeout: 1h }
          - id: late
            await: { event: never, timeout: 100ms, on_timeout: continue }
          - id: until
            wait: { until: "${ .input.at }" }
          - id: done
            set: { value: "${ .steps.boss.output.approved }" }
        """

    @Test func timePassesAndPeopleDecide() async throws {
        try await Scene.playing(Self.visit) { scene in
            let worker = try await scene.worker()
            let input = #"{"who": "Bo", "at": "2020-01-01T00:00:00Z"}"#
            let (yes, no) = (try await scene.start("visit", input), try await scene.start("visit", input))
            try await scene.wait(for: yes, toWaitFor: "boss")
            try await scene.wait(for: no, toWaitFor: "boss")
            let prompt: String = try await scene.database.value(
                "select input ->> 'prompt' from outrider.saga_steps where saga_id = \(yes) and step = 'boss'")
            #expect(prompt == "May Bo come?")
            try await scene.act(#"select outrider.signal_saga(\#(yes), 'boss', '{"approved": true}')"#)
            try await scene.act(
                #"select outrider.signal_saga(\#(no), 'boss', '{"approved": false, "reason": "busy"}')"#)
            try await scene.wait(for: yes, "completed")
            try await scene.wait(for: no, "failed")
            let failure: JSON = try await scene.database.value("select failure from outrider.sagas where id = \(no)")
            #expect(failure["type"]?.string == "rejected" && failure["detail"]?.string == "busy")
            _ = worker
        }
    }

    @Test func aTimerThatCameDueWhileEverythingWasDownFiresOnce() async throws {
        let saga = """
            saga: alarm
            version: 1
            steps:
              - id: sleep
                wait: { for: 5s }
              - id: ring
                call: { http: POST /ring, endpoint: shop }
            """
        try await Scene.playing(saga) { scene in
            let first = try await scene.worker()
            var ids: [UUID] = []
            for _ in 1...20 { ids.append(try await scene.start("alarm")) }
            for id in ids { try await scene.wait(for: id, toWaitFor: "sleep") }
            first.kill9()
            try await eventually("all have come due") {
                try await scene.database.value("select max(due_at) < clock_timestamp() from outrider.scheduled")
            }
            let workers = [try await scene.worker(), try await scene.worker()]
            for id in ids { try await scene.wait(for: id, "completed") }
            #expect(scene.calls.count == 20)
            _ = workers
        }
    }

    @Test func whileASagaIsSuspendedNothingNewBegins() async throws {
        try await Scene.playing(Scene.order, Script(["/reserve": [.nothing]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("order", #"{"n": 1}"#)
            try await scene.handler.wait(for: 1)
            try await scene.act("select outrider.suspend_saga(\(id))")
            try await eventually("it is suspended") {
                try await scene.database.value("select suspended from outrider.sagas where id = \(id)")
            }
            scene.handler.answerHeld()
            try await scene.wait(for: id, toWaitFor: "suspended")
            #expect(scene.calls == ["/reserve"])
            try await scene.act("select outrider.resume_saga(\(id))")
            try await scene.wait(for: id, "completed")
            _ = worker
        }
    }

    // MARK: - Callbacks

    static let async = """
        saga: errand
        version: 1
        steps:
          - id: errand
            timeout: ${TIMEOUT}
            retry: { attempts: 2, initial: 10ms }
            call: { http: POST /errand, endpoint: shop, async: true }
            compensate: { call: { http: POST /errand/undo, endpoint: shop } }
        output: ${ .steps.errand.output }
        """

    private static func saga(timeout: String = "1h") -> String { async.replacing("${TIMEOUT}", with: timeout) }

    private func complete(_ token: String, _ output: String, in scene: Scene) async throws -> Bool {
        try await scene.database.value("select outrider.complete_step(\(token), \(output)::jsonb)")
    }

    @Test func aCallbackThatComesBeforeTheAnswerCountsAndASecondOneChangesNothing() async throws {
        try await Scene.playing(Self.saga(), Script(["/errand": [.nothing]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("errand")
            try await scene.handler.wait(for: 1)
            let token = try #require(scene.handler.received[0].header("outrider-callback-token"))
            #expect(try await complete(token, #"{"first": 1}"#, in: scene))
            try await eventually("it counts") { try await scene.status(of: id) == "completed" }
            scene.handler.answerHeld(.json(.null, status: 202))
            try await scene.wait(for: id, "completed")
            #expect(try await !complete(token, #"{"second": 2}"#, in: scene))
            #expect(try await !complete("nobody", "{}", in: scene))
            try await eventually("the second one is in the history") {
                try await scene.history(of: id).suffix(1) == ["late errand action 1"]
            }
            let output: JSON = try await scene.database.value("select output from outrider.sagas where id = \(id)")
            #expect(output.text == #"{"first":1}"#)
            _ = worker
        }
    }

    @Test func aCallbackWakesASagaThatSleepsAndAFailedOneIsFinal() async throws {
        try await Scene.playing(Self.saga(), Script(["/errand": [.status(202)]])) { scene in
            let worker = try await scene.worker(["--listen", "127.0.0.1:0"])
            let (good, bad) = (try await scene.start("errand"), try await scene.start("errand"))
            var tokens: [String: String] = [:]
            try await scene.wait(for: good, toWaitFor: "callback")
            try await scene.wait(for: bad, toWaitFor: "callback")
            for call in scene.handler.received {
                tokens[try #require(call.header("outrider-saga-id"))] = call.header("outrider-callback-token")
            }
            #expect(try await complete(try #require(tokens[good.description]), "7", in: scene))
            let failed: Bool = try await scene.database.value(
                #"select outrider.fail_step(\#(try #require(tokens[bad.description])), '{"type": "lost", "detail": "in the rain"}')"#
            )
            #expect(failed)
            try await scene.wait(for: good, "completed")
            try await scene.wait(for: bad, "failed")
            let failure: JSON = try await scene.database.value("select failure from outrider.sagas where id = \(bad)")
            #expect(failure["type"]?.string == "lost" && failure["detail"]?.string == "in the rain")
            _ = worker
        }
    }

    @Test func aCallbackThatDoesNotComeIsATryAndTheNextOneHasATokenOfItsOwn() async throws {
        try await Scene.playing(Self.saga(timeout: "500ms"), Script(["/errand": [.status(202)]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("errand")
            try await scene.handler.wait(for: 2, at: "/errand")
            let tokens = scene.handler.received(at: "/errand").map { $0.header("outrider-callback-token") ?? "" }
            #expect(Set(tokens).count == 2)
            #expect(try await !complete(tokens[0], "1", in: scene))
            try await scene.wait(for: id, "compensated")
            #expect(try await scene.step("errand", of: id) == "unknown 2, compensated 1")
            #expect(try await scene.history(of: id).contains("late errand action 2"))
            _ = worker
        }
    }

    @Test func aHeartbeatExtendsTheWait() async throws {
        try await Scene.playing(Self.saga(timeout: "3s"), Script(["/errand": [.status(202)]])) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("errand")
            try await scene.wait(for: id, toWaitFor: "callback")
            let token = try #require(scene.handler.received[0].header("outrider-callback-token"))
            let isKnown: Bool = try await scene.database.value("select outrider.heartbeat_step(\(token), '1 hour')")
            #expect(isKnown)
            try await eventually("it is heard") {
                try await scene.history(of: id).contains("heartbeat errand action 1")
            }
            let due: Bool = try await scene.database.value(
                """
                select bool_and(due_at > clock_timestamp() + interval '50 min') from outrider.scheduled where message_id = \(id)
                """)
            #expect(due)
            #expect(try await complete(token, "1", in: scene))
            try await scene.wait(for: id, "completed")
            _ = worker
        }
    }
}
