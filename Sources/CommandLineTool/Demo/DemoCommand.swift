import EmbeddedPostgres
import Engine
import Glibc
import Postgres
import Primitives
import Store
import Telemetry
import WorkflowFiles

extension Command {
    static let demo = Command(
        name: "demo",
        summary: "orders, failures, a dead letter and its redrive before your eyes, on a database of its own",
        details: """
            Publishes orders of a small shop in the transactions that write them, some of which are rolled back, while mail is
            busy now and then, the warehouse is down for a while, and the billing refuses some. In the end the
            shop's ledgers are compared with its orders; exit 0 means that nothing was lost.
            """,
        options: [
            .value("orders", "N", "how many orders", fallback: "300"), .workflows,
            .value("directory", "FOLDER", "where the database lives; emptied first", fallback: ".outrider/demo"),
        ]
    ) { arguments in
        try arguments.noOperands()
        let count = try arguments.integer("orders", default: 300, in: 50...100_000)
        let folder = arguments["directory"] ?? ".outrider/demo"
        let files = await arguments.loadWorkflows(arguments.workflowPaths)
        for diagnostic in files.diagnostics { complain("\(diagnostic)") }
        guard !files.hasErrors, !files.definitions.isEmpty else {
            throw CommandFailure(
                "the demo works with the project's folder Workflows; run it there, or name it with --workflows")
        }
        guard EmbeddedPostgres.isUsable(folder) else {
            throw CommandFailure(
                "the folder \(folder) holds other things than a demo's database; name an empty or a new one")
        }
        Files.removeTree(folder)
        let environment = try await DemoEnvironment(folder: folder)
        defer { environment.stop() }
        return try await Demo(environment, orders: count, definitions: files.definitions).run() ? 0 : 1
    }
}
