import WorkflowFiles

extension Command {
    static let demo = Command(
        name: "demo",
        summary: "orders as messages and as sagas, with every kind of failure, before your eyes",
        details: """
            On a database of its own. First it publishes orders of a small shop in the transactions that write them, some of
            which are rolled back, while mail is busy now and then, the warehouse is down for a while, and the billing
            refuses some. Then orders are sagas over stock, payments and shipping: most complete, some are undone, one waits
            for approval, one gets stuck and is repaired, and the worker is killed meanwhile. In the end the shop's ledgers
            are compared with its orders; exit 0 means that everything agrees.
            """,
        options: [
            .value("orders", "N", "how many orders as messages", fallback: "300"),
            .value("sagas", "N", "how many orders as sagas", fallback: "60"), .workflows,
            .value("directory", "FOLDER", "where the database lives; emptied first", fallback: ".outrider/demo"),
        ]
    ) { arguments in
        try arguments.noOperands()
        let orders = try arguments.integer("orders", default: 300, in: 50...100_000)
        let sagas = try arguments.integer("sagas", default: 60, in: 12...900)
        let files = await arguments.loadWorkflows(arguments.workflowPaths)
        for diagnostic in files.diagnostics { complain("\(diagnostic)") }
        guard !files.hasErrors, let workflows = arguments.workflowPaths.first, !files.definitions.isEmpty else {
            throw CommandFailure(
                "the demo works with the project's folder Workflows; run it there, or name it with --workflows")
        }
        let environment = try await DemoEnvironment(
            folder: arguments["directory"] ?? ".outrider/demo", startsEmpty: true)
        defer { environment.stop() }
        let story = Task {
            try await Demo(environment: environment, workflows: workflows, orders: orders, sagas: sagas).run()
        }
        TerminationSignals.onFirst { story.cancel() }
        do {
            return try await story.value ? 0 : 1
        } catch is CancellationError {
            complain("the demo was interrupted")
            return 130
        }
    }
}
