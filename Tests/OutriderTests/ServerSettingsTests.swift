import EmbeddedPostgres
import Postgres
import Primitives
import TestSupport
import Testing

/// What is promised whatever a database's own settings say.
struct ServerSettingsTests {
    @Test func workersShareTheWorkOfADatabaseThatPrefersRepeatableReads() async throws {
        try await Scene.with { scene in
            try await scene.database.execute(
                "alter database \(scene.database.name) set default_transaction_isolation = 'repeatable read'")
            let workers = [try await scene.worker(), try await scene.worker()]
            let publisher = Session(scene.database.url)
            for _ in 0..<4 {
                try await publisher.run {
                    try $0.execute(
                        script: """
                            insert into outrider.outbox (topic, payload)
                            select 'order.created', '{}' from generate_series(1, 500)
                            """)
                }
            }
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count() == 2000)
            #expect(Set(scene.deliveredIDs).count == 2000)
            for worker in workers {
                #expect(!worker.log.contains("database.lost"), "\(worker.log)")
                #expect(!worker.log.contains("housekeeping.interrupted"), "\(worker.log)")
            }
            await publisher.close()
        }
    }

    /// In a repeatable read a row that another transaction changed in between is an error.
    @Test func neitherAnAnswerNorABeatFailsOverARowThatChangesInBetween() async throws {
        try await Scene.with(handler: .hangs) { scene in
            try await scene.database.execute(
                "alter database \(scene.database.name) set default_transaction_isolation = 'repeatable read'")
            let worker = try await scene.worker()
            try await scene.publish()
            try await scene.handler.wait(for: 1)
            let other = Session(scene.database.url)
            try await other.run {
                try $0.execute(
                    script: """
                        begin isolation level read committed;
                        update outrider.delivery set rescues = 0;
                        update outrider.worker set version = 'x'
                        """)
            }
            scene.handler.answerHeld()
            try await eventually("the answer and the beat wait") {
                try await scene.database.count(
                    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
                ) == 2
            }
            try await other.run { try $0.execute(script: "commit") }
            try await scene.waitUntilDelivered()
            try await eventually("the beat goes on") {
                try await scene.database.count(
                    "select count(*) from outrider.worker where seen_at > clock_timestamp() - interval '1 s'") == 1
            }
            #expect(scene.handler.count() == 1)
            #expect(!worker.log.contains("database.lost"), "\(worker.log)")
            #expect(!worker.log.contains("housekeeping.interrupted"), "\(worker.log)")
            await other.close()
        }
    }

    /// What is committed asynchronously may be forgotten for as long as this server lets its log lie: a removal must not be.
    @Test func atMostOnceIsDurableBeforeItIsSent() async throws {
        let postgres = try EmbeddedPostgres(
            directory: Files.makeTemporaryDirectory("outrider-durable"), settings: [("wal_writer_delay", "10s")])
        let handler = try HandlerServer()
        let folder = TemporaryFolder()
        folder.write(Scene.mail("delivery: at-most-once"), to: "mail.yaml")
        let environment = [
            "OUTRIDER_DATABASE_URL": postgres.url(), "OUTRIDER_WORKFLOWS": folder.path, "OUTRIDER_EXPOSE_ENV": "SHOP",
            "SHOP": handler.url,
        ]
        #expect(try await RunningOutrider.run(["migrate"], environment: environment).exit == .code(0))
        let worker = try RunningOutrider(["run"], environment: environment)
        try await worker.waitForLog("worker.ready")
        func publish(_ payload: String) async throws {
            // The worker may be ahead of the server's own word that it takes connections.
            let session = Session(postgres.url())
            try await session.run {
                _ = try $0.query(
                    "insert into outrider.outbox (topic, payload) select 'order.created', \(payload)::jsonb from generate_series(1, 5)"
                )
            }
            await session.close()
        }
        for round in 1...3 {
            try await publish("\"before \(round)\"")
            try await eventually("the handler has one") {
                handler.received.contains { $0.body == "\"before \(round)\"" }
            }
            postgres.stop(.immediate)
            try postgres.start()
            try await publish("\"after \(round)\"")
            try await eventually("the worker works again") {
                handler.received.filter { $0.body == "\"after \(round)\"" }.count == 5
            }
        }
        let ids = handler.received.compactMap { $0.header("ce-id") }
        #expect(Set(ids).count == ids.count)
        worker.terminate()
        #expect(try await worker.exit() == .code(0))
        postgres.stop()
    }
}
