import Engine
import Postgres
import Primitives
import Store
import WorkflowFiles

extension Command {
    static let run = Command(
        name: "run", summary: "the worker: delivers until it is told to stop",
        details: """
            Applies the workflow folder and serves what it declares. SIGTERM or Ctrl-C stops claiming, lets what is in
            flight end within the grace period, records it and exits 0; a second one exits at once. While the
            database is away or not migrated it waits and /readyz says so.

            On any address but loopback, health and callbacks aside, everything needs `Authorization: Bearer` with the
            value of OUTRIDER_ADMIN_TOKEN, without which the worker does not start there. /openapi.json tells what
            can be asked for. Callbacks of async steps need only the token that came with the request.
            """,
        options: [.databaseURL] + WorkerSettings.options(),
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
        let configuration = try settings.configuration(databaseURL: url, definitions: definitions)
        let worker = try ServedWorker(configuration, try settings.admin(), log: log)
        do {
            try await worker.run()
        } catch {
            throw CommandFailure("\(error)")
        }
        return 0
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
}
