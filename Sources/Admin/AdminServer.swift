package import Engine
import HTTPServer
import Postgres
package import Primitives
package import Telemetry

/// Where the sidecar listens, and to whom.
package struct AdminSettings: Sendable {
    /// `address:port`, where everything is served; port 0 takes a free one, nil listens nowhere.
    package var listen: String?
    /// The same for a listener that serves only callbacks and `/healthz`.
    package var callbackListen: String?
    /// What handlers are told, without a slash at its end; nil tells them the address that is listened on.
    package var callbackURL: String?
    /// Needed in `Authorization: Bearer` on any address but loopback.
    package var token: Secret?

    package init(listen: String?, callbackListen: String? = nil, callbackURL: String? = nil, token: Secret?) {
        self.listen = listen
        self.callbackListen = callbackListen
        self.callbackURL = callbackURL
        self.token = token
    }
}

/// The sidecar's own HTTP: health, metrics, and the API. Who may ask is told at `Gate`, what there is at the routes.
package final class AdminServer: Sendable {
    private let server: HTTPServer?
    private let callbackServer: HTTPServer?
    private let database: AdminDatabase
    private let metricsSession: Session
    private let outcomes: SagaOutcomes

    package var port: Int? { server?.port }
    package var callbackPort: Int? { callbackServer?.port }
    /// Where callbacks reach this worker, without a slash at its end; nil where they cannot, as far as is known.
    package let callbackURL: String?

    private static let maxBodyBytes = 1 << 20

    /// - Throws: `ListenError`, or `AdminError` when a token is missing.
    package init(
        _ settings: AdminSettings, databaseURL: String, health: WorkerHealth, metrics: WorkerMetrics, log: Log
    ) throws {
        if let listen = settings.listen, !Gate.isLoopback(listen), settings.token == nil {
            throw AdminError.tokenMissing(listen: listen)
        }
        var options = ConnectionOptions()
        options.applicationName = "outrider metrics"
        options.connectTimeout = .seconds(2)
        options.statementTimeout = .seconds(10)
        metricsSession = Session(databaseURL, options: options)
        database = AdminDatabase(databaseURL)
        outcomes = SagaOutcomes(database)
        let queues = QueueMetrics(session: metricsSession, registry: metrics.registry)
        let callbacks = StepRoutes(database: database).routes
        let all =
            HealthRoutes(health: health, queues: queues, metrics: metrics.registry).routes
            + TopicRoutes(database: database).routes + SagaRoutes(database: database, outcomes: outcomes).routes
            + SagaActRoutes(database: database).routes + callbacks + DeadLetterRoutes(database: database).routes
            + SubscriptionRoutes(database: database).routes + [OpenAPI.route]
        server = try settings.listen.map { address in
            let gate = Gate(address: address, token: settings.token, callbackURL: settings.callbackURL)
            return try Self.listen(address, Router(routes: all, gate: gate, log: log))
        }
        callbackServer = try settings.callbackListen.map { address in
            let gate = Gate(address: address, token: nil, callbackURL: settings.callbackURL)
            return try Self.listen(address, Router(routes: [HealthRoutes.alive] + callbacks, gate: gate, log: log))
        }
        if let url = settings.callbackURL {
            callbackURL = url
        } else if let address = settings.callbackListen, let port = callbackServer?.port {
            callbackURL = Self.url(of: address, port: port)
        } else if let address = settings.listen, let port = server?.port {
            callbackURL = Self.url(of: address, port: port)
        } else {
            callbackURL = nil
        }
    }

    private static func listen(_ address: String, _ router: Router) throws -> HTTPServer {
        try HTTPServer(address: address, maxBodyBytes: maxBodyBytes) { request, responder in
            Task { responder.respond(await router.answer(request)) }
        }
    }

    /// Nil for an address that stands for all of the machine's: by what name others know it is not said there.
    private static func url(of address: String, port: Int) -> String? {
        var host = address.prefix(upTo: address.lastIndex(of: ":") ?? address.endIndex)
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard host.contains(where: { $0 != "0" && $0 != ":" && $0 != "." }) else { return nil }
        return host.contains(":") ? "http://[\(host)]:\(port)" : "http://\(host):\(port)"
    }

    /// Whoever waits for a saga is told how it stands. What is under way is answered; then nothing is any more.
    package func stop() async {
        await outcomes.close()
        await database.close()
        server?.stop()
        callbackServer?.stop()
        await metricsSession.close()
    }
}

package enum AdminError: Error, Sendable, CustomStringConvertible {
    case tokenMissing(listen: String)

    package var description: String {
        switch self {
        case .tokenMissing(let listen):
            """
            OUTRIDER_LISTEN is \(listen), which others can reach, and OUTRIDER_ADMIN_TOKEN is not set: \
            set a token, or listen on 127.0.0.1
            """
        }
    }
}
