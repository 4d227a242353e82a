import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// What is promised of sagas when workers and sessions die, freeze and stop (cases 13, 20 and 21 of the semantics).
struct SagaCrashTests {
    @Test func aCallWhoseAnswerWasNotRecordedIsMadeAgainUnderTheSameKey() async throws {
        try await Scene.playing(Scene.order, Script(["/charge": [.nothing, .status(200)]])) { scene in
            let first = try await scene.worker()
            let id = try await scene.start("order", #"{"n": 1}"#)
            try await scene.handler.wait(for: 1, at: "/charge")
            first.kill9()
            let second = try await scene.worker()
            try await scene.wait(for: id, "completed")
            let charges = scene.handler.received(at: "/charge")
            #expect(
                charges.map { $0.header("idempotency-key") }
                    == [String?](repeating: "\"\(id)/charge/action\"", count: 2))
            #expect(charges.map { $0.header("outrider-attempt") } == ["1", "1"])
            #expect(try await scene.history(of: id).contains("lost charge action 1"))
            _ = second
        }
    }

    @Test func aCrashInTheMiddleOfCompensationLeavesNothingOut() async throws {
        let script = Script(["/ship": [.status(422)], "/refund": [.nothing, .status(200)]])
        try await Scene.playing(Scene.order, script) { scene in
            let first = try await scene.worker()
            let id = try await scene.start("order", #"{"n": 1}"#)
            try await scene.handler.wait(for: 1, at: "/refund")
            first.kill9()
            let second = try await scene.worker()
            try await scene.wait(for: id, "compensated")
            #expect(scene.calls == ["/reserve", "/charge", "/ship", "/refund", "/refund", "/release"])
            _ = second
        }
    }

    /// What a dead worker sent may still be on its way: it is given its time before it is undone.
    @Test func aLostCallIsUndoneNoEarlierThanItsTimeout() async throws {
        try await Scene.playing(Scene.order, Script(["/charge": [.nothing, .status(422)]])) { scene in
            let first = try await scene.worker()
            let id = try await scene.start("order", #"{"n": 1}"#)
            try await scene.handler.wait(for: 1, at: "/charge")
            first.kill9()
            let second = try await scene.worker()
            try await scene.wait(for: id, "compensated")
            #expect(scene.calls == ["/reserve", "/charge", "/charge", "/refund", "/release"])
            let isLater: Bool = try await scene.database.value(
                """
                select min(at) filter (where op = 'compensate') - min(at) filter (where step = 'charge') >= interval '2 s'
                from outrider.saga_history where saga_id = \(id)
                """)
            #expect(isLater)
            _ = second
        }
    }

    @Test func aFrozenWorkersSagaIsTakenOverAndItsLateAnswerChangesNothing() async throws {
        let saga = Scene.order.replacing("timeout: 2s", with: "timeout: 60s")
        let script = Script(["/charge": [.nothing, .status(200)]])
        try await Scene.playing(saga, script) { scene in
            let first = try await scene.worker(environment: ["OUTRIDER_LEASE": "2s"])
            let id = try await scene.start("order", #"{"n": 1}"#)
            try await scene.handler.wait(for: 1, at: "/charge")
            first.freeze()
            scene.handler.answerHeld(.json(["late": true]))
            let second = try await scene.worker(environment: ["OUTRIDER_LEASE": "2s"])
            try await scene.wait(for: id, "completed")
            let before = try await scene.history(of: id)
            first.thaw()
            try await eventually("the late answer is in the history") {
                try await scene.history(of: id) == before + ["late charge action 1"]
            }
            #expect(try await scene.status(of: id) == "completed")
            #expect(scene.handler.count("/ship") == 1)
            _ = (first, second)
        }
    }

    /// The transaction of a statement holds on to its worker's life; frozen, it must not hold up everybody else.
    @Test(arguments: ["frozen", "killed"]) func aWorkerInTheMiddleOfAStatementIsTakenOver(fault: String) async throws {
        let sleeper = """

            ---
            saga: sleeper
            version: 1
            steps:
              - id: nap
                timeout: 10m
                call: { sql: "select pg_sleep(600 - 600 * least(1, $1::float8))", args: [ "${ .input.n }" ] }
            """
        let order = Scene.order.replacing("timeout: 2s", with: "timeout: 60s")
        try await Scene.playing(order + sleeper, Script(["/reserve": [.nothing, .status(200)]])) { scene in
            let first = try await scene.worker(environment: ["OUTRIDER_LEASE": "2s"])
            let nap = try await scene.start("sleeper", #"{"n": 0}"#)
            let id = try await scene.start("order", #"{"n": 1}"#)
            try await scene.handler.wait(for: 1, at: "/reserve")
            try await eventually("it naps") { try await scene.statements(like: "%600 - 600%") == 1 }
            if fault == "frozen" { first.freeze() } else { first.kill9() }
            let second = try await scene.worker(environment: ["OUTRIDER_LEASE": "2s"])
            try await scene.wait(for: id, "completed")
            try await scene.act("select outrider.terminate_saga(\(nap), 'test')")
            _ = (first, second)
        }
    }

    @Test func aSagaThatKillsItsWorkersIsParkedAndAllOthersGoOn() async throws {
        let poison = """

            ---
            saga: poison
            version: 1
            steps:
              - id: bite
                timeout: 60s
                call: { http: POST /bite, endpoint: shop }
            """
        let bites = Atomic(0)
        let script = Script([
            "/bite": [
                .run { _ in
                    bites.add(1, ordering: .relaxed)
                    return nil
                }
            ]
        ])
        let order = Scene.order.replacing("timeout: 2s", with: "timeout: 60s")
        try await Scene.playing(order + poison, script) { scene in
            script.set("/charge", .nothing)
            var worker = try await scene.worker()
            let id = try await scene.start("poison")
            var others: [UUID] = []
            for n in 1...3 { others.append(try await scene.start("order", #"{"n": \#(n)}"#)) }
            try await scene.handler.wait(for: 3, at: "/charge")
            script.set("/charge", .status(200))
            for bite in 1... {
                try await eventually("it bites again, or is parked (\(bite))", within: .seconds(40)) {
                    let isStuck = try await scene.status(of: id) == "stuck"
                    return isStuck || bites.load(ordering: .relaxed) == bite
                }
                if bites.load(ordering: .relaxed) < bite { break }
                worker.kill9()
                worker = try await scene.worker()
            }
            #expect(bites.load(ordering: .relaxed) == 5)
            #expect(
                try await scene.database.value("select waiting_for from outrider.sagas where id = \(id)")
                    == "a person: abandoned")
            #expect(try await scene.deadLetters() == 1)
            for other in others { try await scene.wait(for: other, "completed") }
            // A person has mended it.
            script.set("/bite", .status(200))
            try await scene.act("select outrider.retry_saga(\(id))")
            try await scene.wait(for: id, "completed")
            _ = worker
        }
    }

    @Test(arguments: ["% sagas", "% beat", "outrider %"]) func aLostSessionIsNoLostSaga(name: String) async throws {
        let script = Script(["/charge": [.nothing, .status(200)]])
        try await Scene.playing(Scene.order, script) { scene in
            let worker = try await scene.worker()
            let id = try await scene.start("order", #"{"n": 1}"#)
            try await scene.handler.wait(for: 1, at: "/charge")
            try await scene.act(
                """
                select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and application_name like \(name)
                """)
            try await scene.wait(for: id, "completed")
            let next = try await scene.play("order", #"{"n": 2}"#, to: "completed")
            #expect(try await scene.history(of: next).count == 8)
            _ = worker
        }
    }

    @Test func sigtermLetsCallsInFlightEndAndRecordsThem() async throws {
        try await Scene.playing(Scene.order, Script(["/charge": [.nothing]])) { scene in
            let first = try await scene.worker()
            let id = try await scene.start("order", #"{"n": 1}"#)
            try await scene.handler.wait(for: 1, at: "/charge")
            first.terminate()
            try await first.waitForLog("worker.draining")
            scene.handler.answerHeld()
            #expect(try await first.exit() == .code(0))
            #expect(try await scene.history(of: id).contains("succeeded charge action"))
            #expect(try await scene.database.count("select count(*) from outrider.worker") == 0)
            #expect(
                try await scene.database.count("select count(*) from outrider.delivery where owner is not null") == 0)
            let second = try await scene.worker()
            try await scene.wait(for: id, "completed")
            #expect(scene.calls == ["/reserve", "/charge", "/ship"])
            #expect(try await scene.history(of: id).count == 8)
            _ = second
        }
    }

    @Test func rollingRestartsLoseNothingAndRepeatNothing() async throws {
        try await Scene.playing(Scene.order) { scene in
            var workers = [try await scene.worker(), try await scene.worker(), try await scene.worker()]
            for n in 1...600 { _ = try await scene.start("order", #"{"n": \#(n)}"#) }
            for round in 0..<6 {
                workers[round % 3].terminate()
                #expect(try await workers[round % 3].exit() == .code(0))
                workers[round % 3] = try await scene.worker()
                for n in 1...100 { _ = try await scene.start("order", #"{"n": \#(n)}"#) }
            }
            try await eventually("all are done", within: .seconds(60)) {
                try await scene.database.count("select count(*) from outrider.sagas where status = 'completed'") == 1200
            }
            #expect(scene.calls.count == 3600)
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.saga_history where event in ('lost', 'late')") == 0)
            _ = workers
        }
    }

    @Test func aWorkerServesItsOwnFoldersSagasOrAll() async throws {
        try await Scene.playing(Scene.order) { scene in
            #expect(try await scene.command("apply", "\(scene.folder.path)/workflows").exit == .code(0))
            let other = TemporaryFolder()
            other.write("topic: nothing", to: "nothing.yaml")
            let own = try await scene.worker(environment: ["OUTRIDER_WORKFLOWS": other.path])
            let id = try await scene.start("order", #"{"n": 1}"#)
            let all = try await scene.worker(
                ["--serve", "all"], environment: ["OUTRIDER_WORKFLOWS": other.path, "OUTRIDER_NAME": "all"])
            try await scene.wait(for: id, "completed")
            #expect(
                try await scene.database.value(
                    "select string_agg(distinct worker, ' ') from outrider.saga_history where saga_id = \(id)") == "all"
            )
            _ = (own, all)
        }
    }
}

extension Scene {
    /// How many statements like this are under way.
    func statements(like pattern: String) async throws -> Int {
        try await database.count(
            """
            select count(*) from pg_stat_activity
            where datname = current_database() and state = 'active' and query like \(pattern) and pid <> pg_backend_pid()
            """)
    }
}
