import Admin
import Engine
import Telemetry

/// A worker with its HTTP. That listens first: the worker tells those whom it calls where to call back, and which port that is
/// may show only then.
struct ServedWorker {
    let worker: Worker
    /// Nil when it listens nowhere.
    let server: AdminServer?

    /// - Throws: a failure with its reason when it cannot listen.
    init(_ configuration: WorkerConfiguration, _ settings: AdminSettings, log: Log) throws(CommandFailure) {
        let (health, metrics) = (WorkerHealth(), WorkerMetrics())
        var configuration = configuration
        configuration.callbackURL = settings.callbackURL
        if settings.listen != nil || settings.callbackListen != nil {
            do {
                let server = try AdminServer(
                    settings, databaseURL: configuration.databaseURL, health: health, metrics: metrics, log: log)
                configuration.callbackURL = server.callbackURL
                self.server = server
            } catch {
                throw CommandFailure("\(error)")
            }
        } else {
            server = nil
        }
        if let port = server?.port { log.info("http.listening", ["port": port]) }
        if let port = server?.callbackPort { log.info("callbacks.listening", ["port": port]) }
        worker = Worker(configuration, health: health, log: log, metrics: metrics)
    }

    /// Until a signal has drained it.
    func run() async throws {
        TerminationSignals.onFirst { worker.drain() }
        try await worker.run()
        await server?.stop()
    }
}
