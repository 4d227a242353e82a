import Admin
import Engine
import Postgres
import Primitives
import Store
import Telemetry
import WorkflowFiles

extension Command {
    static let run = Command(
        name: "run", summary: "the worker: delivers until it is told to stop",
        details: """
            Applies the workflow folder and serves what it declares. SIGTERM or Ctrl-C stops claiming, lets what is in
            flight end within the grace period, records it and exits 0; a second one exits at once. While the
            database is away or not migrated it waits and /readyz says so.

            On any address but loopback, health aside, everything needs `Authorization: Bearer` with the value of
            OUTRIDER_ADMIN_TOKEN, without which the worker does not start there.
            """,
        options: [.databaseURL] + WorkerSettings.options,
        examples: [
            "OUTRIDER_DATABASE_URL=postgresql://worker@db/shop outrider run --workflows Workflows",
            "outrider run --serve all --listen off --log json",
        ]
    ) { arguments in
        try arguments.noOperands()
        let settings = WorkerSettings(arguments: arguments)
        let log = try settings.log()
        let url = arguments["database-url"] ?? ""
        let definitions = try await checkedDefinitions(arguments, url)
        let worker = try settings.configuration(databaseURL: url, definitions: definitions)
        return try await work(worker, listen: try settings.listen(), token: settings.adminToken, log: log)
    }

    /// Endpoints and sagas that another folder declares are known only to the database; when that is away the check goes without.
    private static func checkedDefinitions(_ arguments: Arguments, _ url: String) async throws -> [Definition] {
        let paths = arguments.workflowPaths
        guard !paths.isEmpty else { return [] }
        var files = await arguments.loadWorkflows(paths)
        if files.hasErrors {
            var options = ConnectionOptions()
            options.connectTimeout = .seconds(2)
            let session = Session(url, options: options)
            let known = try? await session.run { try DefinitionStore($0).knownNames() }
            await session.close()
            if let known {
                files = await arguments.loadWorkflows(paths, known: known)
            }
        }
        for diagnostic in files.diagnostics { complain("\(diagnostic)") }
        guard !files.hasErrors else { throw CommandFailure("the workflow files have errors; nothing was applied") }
        return files.definitions
    }

    /// Runs a worker with its HTTP until a signal ends it.
    private static func work(
        _ configuration: WorkerConfiguration, listen: String?, token: Secret?, log: Log
    ) async throws -> Int32 {
        let metrics = WorkerMetrics()
        let worker = Worker(configuration, log: log, metrics: metrics)
        let admin = try listen.map { listen in
            try WorkerSettings.admin(
                listen: listen, token: token, databaseURL: configuration.databaseURL, health: worker.health,
                metrics: metrics)
        }
        if let admin { log.info("http.listening", ["port": admin.port]) }
        TerminationSignals.onFirst { worker.drain() }
        do {
            try await worker.run()
        } catch {
            throw CommandFailure("\(error)")
        }
        await admin?.stop()
        return 0
    }
}
