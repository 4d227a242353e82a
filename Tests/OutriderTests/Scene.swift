import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport

/// What a black-box test plays in: a database, a handler, a workflow folder, and workers that are started from it.
final class Scene: Sendable {
    let database: TestDatabase
    let handler: HandlerServer
    let folder = TemporaryFolder()

    /// A scene with the subscription `mail` for the topic `order.created`, unless `workflows` says otherwise.
    static func with(
        workflows: String? = nil, options: String = "", handler: HandlerServer.Behaviour = .answersOK,
        _ body: (Scene) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            let scene = Scene(database: database, handler: try HandlerServer(handler))
            scene.folder.write(workflows ?? Scene.mail(options), to: "workflows/mail.yaml")
            try await body(scene)
            scene.handler.stop()
        }
    }

    private init(database: TestDatabase, handler: HandlerServer) {
        self.database = database
        self.handler = handler
    }

    /// The usual definition; `options` are further lines of the subscription.
    static func mail(_ options: String = "") -> String {
        """
        endpoint: shop
        url: ${ $env.SHOP }
        ---
        subscription: mail
        topics: [ order.created ]
        deliver: { http: POST /mail, endpoint: shop }
        \(options)
        """
    }

    var environment: [String: String] {
        [
            "OUTRIDER_DATABASE_URL": database.url, "OUTRIDER_WORKFLOWS": "\(folder.path)/workflows",
            "OUTRIDER_EXPOSE_ENV": "SHOP", "SHOP": handler.url, "OUTRIDER_LEASE": "3s",
        ]
    }

    /// A worker that has reported ready.
    func worker(_ arguments: [String] = [], environment more: [String: String] = [:]) async throws -> RunningOutrider {
        let worker = try RunningOutrider(["run"] + arguments, environment: environment.merging(more) { $1 })
        try await worker.waitForLog("worker.ready")
        return worker
    }

    func command(_ arguments: String...) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
        try await RunningOutrider.run(arguments, environment: environment)
    }

    /// Publishes so many messages in one statement; the payloads are numbered from 1.
    func publish(_ count: Int = 1, topic: String = "order.created", key: String? = nil) async throws {
        try await database.query(
            """
            insert into outrider.outbox (topic, key, payload)
            select \(topic), coalesce(\(key), 'k' || n), jsonb_build_object('n', n) from generate_series(1, \(Int32(count))) n
            """)
    }

    func undelivered() async throws -> Int {
        try await database.count("select count(*) from outrider.deliveries")
    }

    func waitUntilDelivered(within limit: Duration = .seconds(30)) async throws {
        try await eventually("everything is delivered", within: limit) { try await self.undelivered() == 0 }
    }

    func deadLetters() async throws -> Int {
        try await database.count(
            "select count(*) from outrider.dead_letters where redriven_at is null and discarded_at is null")
    }

    /// The ids that the handler saw, each as often as it came.
    var deliveredIDs: [String] { handler.received(at: "/mail").compactMap { $0.header("ce-id") } }
}
