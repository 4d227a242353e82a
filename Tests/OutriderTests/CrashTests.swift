import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// What is promised when workers, sessions and servers die.
struct CrashTests {
    @Test func sigtermLetsWhatIsInFlightEndAndRecordsIt() async throws {
        try await Scene.with(options: "timeout: 2s\nretry: { attempts: 1 }", handler: .hangs) { scene in
            let worker = try await scene.worker()
            try await scene.publish(3)
            try await scene.handler.wait(for: 3)
            worker.terminate()
            // The handler never answers: each try ends with its timeout, within the grace period, and is recorded.
            #expect(try await worker.exit() == .code(0))
            #expect(try await scene.deadLetters() == 3)
            #expect(try await scene.database.count("select count(*) from outrider.worker") == 0)
        }
    }

    @Test func afterTheGracePeriodItEndsAllTheSame() async throws {
        try await Scene.with(handler: .hangs) { scene in
            let worker = try await scene.worker(environment: ["OUTRIDER_GRACE": "300ms"])
            try await scene.publish(3)
            try await scene.handler.wait(for: 3)
            worker.terminate()
            #expect(try await worker.exit(within: .seconds(10)) == .code(0))
            #expect(try await scene.undelivered() == 3)
        }
    }

    @Test func aSecondSigtermEndsAtOnce() async throws {
        try await Scene.with(handler: .hangs) { scene in
            let worker = try await scene.worker()
            try await scene.publish()
            try await scene.handler.wait(for: 1)
            worker.terminate()
            try await worker.waitForLog("worker.draining")
            worker.terminate()
            #expect(try await worker.exit(within: .seconds(5)) == .code(143))
        }
    }

    /// There is nothing to wait for: neither the grace period nor the database.
    @Test(arguments: [true, false])
    func sigtermEndsAWorkerWithoutADatabaseAtOnce(hadOne: Bool) async throws {
        let folder = TemporaryFolder()
        folder.write(Scene.mail(), to: "mail.yaml")
        let postgres = try EmbeddedPostgres(directory: Files.makeTemporaryDirectory("outrider-down"))
        let environment = [
            "OUTRIDER_DATABASE_URL": postgres.url(), "OUTRIDER_WORKFLOWS": folder.path, "OUTRIDER_EXPOSE_ENV": "SHOP",
            "SHOP": "http://127.0.0.1:9", "OUTRIDER_GRACE": "120s",
        ]
        if hadOne { _ = try await RunningOutrider.run(["migrate"], environment: environment) } else { postgres.stop() }
        let worker = try RunningOutrider(["run"], environment: environment)
        if hadOne {
            try await worker.waitForLog("worker.ready")
            postgres.stop()
        }
        try await worker.waitForLog("database.lost")
        worker.terminate()
        #expect(try await worker.exit(within: .seconds(15)) == .code(0))
    }

    @Test func aKilledWorkersDeliveriesAreTakenOverAtOnce() async throws {
        // The first requests hang until their worker is killed, all later ones are answered.
        let isHanging = Atomic(true)
        try await Scene.with(handler: .decides { _ in isHanging.load(ordering: .relaxed) ? nil : .text("ok") }) {
            scene in
            let first = try await scene.worker(environment: ["OUTRIDER_LEASE": "60s"])
            try await scene.publish(40)
            try await scene.handler.wait(for: 40)
            let second = try await scene.worker(environment: ["OUTRIDER_LEASE": "60s"])
            isHanging.store(false, ordering: .relaxed)
            let killed = ContinuousClock.now
            first.kill9()
            try await scene.handler.wait(for: 80)
            #expect(scene.handler.received[79].at - killed < .seconds(5))  // far below the lease
            try await scene.waitUntilDelivered()
            #expect(Set(scene.deliveredIDs).count == 40)
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'rescued'") == 40)
            _ = second
        }
    }

    @Test func aFrozenWorkersDeliveriesAreTakenOverAfterItsLeaseAndItsLateReportChangesNothing() async throws {
        let held = Mutex(true)
        try await Scene.with(
            options: "timeout: 60s", handler: .decides { _ in held.withLock { $0 } ? nil : .text("ok") }
        ) { scene in
            let first = try await scene.worker(environment: ["OUTRIDER_LEASE": "2s", "OUTRIDER_NAME": "first"])
            try await scene.publish(10)
            try await scene.handler.wait(for: 10)
            let second = try await scene.worker(environment: ["OUTRIDER_LEASE": "2s", "OUTRIDER_NAME": "second"])
            held.withLock { $0 = false }
            first.freeze()
            try await scene.handler.wait(for: 20)
            try await scene.waitUntilDelivered()
            // The frozen one's requests fail when their handler goes away: a report of deliveries that are not its any more.
            first.thaw()
            try await first.waitForLog("database.lost")
            try await scene.publish(5)
            try await scene.handler.wait(for: 25)
            try await scene.waitUntilDelivered()
            #expect(Set(scene.deliveredIDs).count == 15)
            #expect(try await scene.deadLetters() == 0)
            _ = second
        }
    }

    @Test func postgresKilledUnderLoadLosesNothing() async throws {
        let postgres = try EmbeddedPostgres.temporary(settings: [("max_connections", "50")])
        let handler = try HandlerServer()
        let folder = TemporaryFolder()
        folder.write(Scene.mail(), to: "mail.yaml")
        let environment = [
            "OUTRIDER_DATABASE_URL": postgres.url(), "OUTRIDER_WORKFLOWS": folder.path, "OUTRIDER_EXPOSE_ENV": "SHOP",
            "SHOP": handler.url,
        ]
        #expect(try await RunningOutrider.run(["migrate"], environment: environment).exit == .code(0))
        let worker = try RunningOutrider(["run"], environment: environment)
        try await worker.waitForLog("worker.ready")
        // What a publisher was told is committed must arrive; what failed must not.
        var committed: Set<String> = []
        for round in 0..<3 {
            let session = Session(postgres.url())
            for _ in 0..<20 {
                let ids = try await session.run { connection in
                    try connection.query(
                        "insert into outrider.outbox (topic, payload) select 'order.created', '{}' from generate_series(1, 50) returning id"
                    ).map { try $0.decode(0, as: UUID.self).description }
                }
                committed.formUnion(ids)
            }
            // Killed while the worker is in the middle of delivering.
            try await handler.wait(for: round * 1000 + 100)
            postgres.killServer()
            await session.close()
            try postgres.start()
        }
        try await eventually("all \(committed.count) messages arrive", within: .seconds(60)) {
            committed.isSubset(of: Set(handler.received.compactMap { $0.header("ce-id") }))
        }
        let seen = handler.received.compactMap { $0.header("ce-id") }
        #expect(Set(seen) == committed)
        // Duplicates are bounded by what was in flight or unrecorded at each of three crashes.
        #expect(seen.count - committed.count <= 3 * 1100)
        worker.terminate()
        #expect(try await worker.exit() == .code(0))
        postgres.stop()
    }

    @Test func aWorkerWaitsForADatabaseThatIsNotThereYet() async throws {
        let postgres = try EmbeddedPostgres.temporary()
        let url = postgres.url()
        postgres.stop()
        let worker = try RunningOutrider(
            ["run", "--listen", "127.0.0.1:0"], environment: ["OUTRIDER_DATABASE_URL": url])
        try await worker.waitForLog("database.lost")
        try postgres.start()
        try await worker.waitForLog("outrider migrate")  // and now for its schema
        #expect(
            try await RunningOutrider.run(["migrate"], environment: ["OUTRIDER_DATABASE_URL": url]).exit == .code(0))
        try await worker.waitForLog("worker.ready")
        worker.terminate()
        #expect(try await worker.exit() == .code(0))
        postgres.stop()
    }

    @Test func workersShareTheWorkAndEachMessageIsSentOnce() async throws {
        try await Scene.with { scene in
            let workers = [try await scene.worker(), try await scene.worker(), try await scene.worker()]
            try await scene.publish(5000)
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count() == 5000)
            #expect(Set(scene.deliveredIDs).count == 5000)
            _ = workers
        }
    }

    @Test func housekeepingMovesOnWhenItsWorkerDies() async throws {
        try await Scene.with { scene in
            let first = try await scene.worker()
            try await first.waitForLog("housekeeping.leads")
            let second = try await scene.worker()
            first.kill9()
            try await second.waitForLog("housekeeping.leads")
            try await scene.database.query(
                "select outrider.publish('order.created', '1', deliver_at => clock_timestamp() + interval '200 ms')")
            try await scene.handler.wait(for: 1)
        }
    }
}
