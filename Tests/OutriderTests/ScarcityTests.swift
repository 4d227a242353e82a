import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// What becomes of messages when the worker's machine lacks something.
struct ScarcityTests {
    @Test func withoutADescriptorForItAMessageWaits() async throws {
        try await Scene.with(options: "concurrency: 200\ntimeout: 60s\nretry: { attempts: 1 }", handler: .hangs) {
            scene in
            let worker = try await scene.worker(["--concurrency", "200"])
            // As when others have taken what the system has: the worker counted on more when it started.
            let limited = try await Program.run(["prlimit", "--pid", String(worker.id), "--nofile=64:64"])
            #expect(limited.exit == .code(0), "\(limited.output)")
            try await scene.publish(300)
            // The handler keeps all that reach it, and more cannot.
            try await worker.waitForLog("http.no_resources")
            try await scene.handler.wait(for: 10)
            #expect(try await scene.undelivered() == 300)
            scene.handler.answerHeld()
            try await scene.waitUntilDelivered(within: .seconds(60))
            #expect(scene.handler.count() == 300)
            #expect(Set(scene.deliveredIDs).count == 300)
            #expect(try await scene.deadLetters() == 0)
            worker.terminate()
            #expect(try await worker.exit() == .code(0), "\(worker.log)")
        }
    }

    /// What it may not have open at once it does not try to.
    @Test func aWorkerStaysBelowItsLimitOfOpenFiles() async throws {
        try await Scene.with(options: "concurrency: 200\ntimeout: 60s", handler: .hangs) { scene in
            let worker = try RunningOutrider(["run"], environment: scene.environment, openFiles: 130)
            try await worker.waitForLog("worker.ready")
            try await scene.publish(300)
            try await scene.handler.wait(for: 30)
            scene.handler.answerHeld()
            try await scene.waitUntilDelivered(within: .seconds(60))
            #expect(scene.handler.count() == 300)
            #expect(!worker.log.contains("http.no_resources"))
        }
        let result = try await RunningOutrider.run(["run"], openFiles: 40)
        #expect(result.exit == .code(1))
        #expect(result.errors.contains("raise ulimit -n"), "\(result.errors)")
    }
}

/// What becomes of sagas when the worker's machine lacks something.
struct SagaScarcityTests {
    static let saga = """
        saga: order
        version: 1
        defaults: { timeout: 60s, retry: { attempts: 1 } }
        steps:
          - id: one
            call: { http: POST /one, endpoint: shop }
          - id: two
            call: { http: POST /two, endpoint: shop }
        """

    private func startAndFinish(_ scene: Scene, meanwhile: () async throws -> Void) async throws {
        try await scene.act("select outrider.start_saga('order', '{}') from generate_series(1, 200)")
        try await meanwhile()
        scene.handler.answerHeld()
        try await eventually("all are done", within: .seconds(60)) {
            try await scene.database.count("select count(*) from outrider.sagas where status <> 'completed'") == 0
        }
        #expect(scene.calls.count == 400)
    }

    /// A call that cannot be made for want of a descriptor is no try.
    @Test func withoutADescriptorForItsCallASagaWaits() async throws {
        try await Scene.playing(Self.saga, Script(["/one": [.nothing]])) { scene in
            let worker = try await scene.worker()
            let limited = try await Program.run(["prlimit", "--pid", String(worker.id), "--nofile=64:64"])
            #expect(limited.exit == .code(0), "\(limited.output)")
            try await startAndFinish(scene) {
                try await worker.waitForLog("http.no_resources")
                try await scene.handler.wait(for: 10)
            }
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
        }
    }

    @Test func aWorkerTakesUpNoMoreSagasThanItMayMakeCalls() async throws {
        try await Scene.playing(Self.saga, Script(["/one": [.nothing]])) { scene in
            let worker = try RunningOutrider(["run"], environment: scene.environment, openFiles: 130)
            try await worker.waitForLog("worker.ready")
            try await startAndFinish(scene) { try await scene.handler.wait(for: 30) }
            #expect(!worker.log.contains("http.no_resources"))
        }
    }
}
