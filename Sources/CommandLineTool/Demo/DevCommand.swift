import Admin
import EmbeddedPostgres
import Engine
import Glibc
import Postgres
import Primitives
import Store
import Telemetry
import WorkflowFiles

extension Command {
    static let dev = Command(
        name: "dev", summary: "everything on this machine, with a PostgreSQL of its own; nothing to configure",
        details: """
            Starts PostgreSQL from the installed binaries in .outrider/dev, migrates it, applies the workflow folder and
            runs the worker, with a small demo shop at $env.SHOP_URL to deliver to. Data stays from run to run.
            Ctrl-C stops everything.
            """,
        options: [.value("directory", "FOLDER", "where the database lives", fallback: ".outrider/dev")]
            + WorkerSettings.options(serving: .all),
        examples: ["outrider dev", "outrider dev --workflows examples --log-level debug"]
    ) { arguments in
        try arguments.noOperands()
        let settings = WorkerSettings(arguments: arguments)
        let log = try settings.log()
        let files = await arguments.loadWorkflows(arguments.workflowPaths)
        for diagnostic in files.diagnostics { complain("\(diagnostic)") }
        guard !files.hasErrors else { throw CommandFailure("the workflow files have errors; nothing was started") }
        let demo = try await DemoEnvironment(folder: arguments["directory"] ?? ".outrider/dev")
        defer { demo.stop() }
        let configuration = try settings.configuration(
            databaseURL: demo.url, definitions: files.definitions, serving: .all,
            exposing: ["SHOP_URL": demo.shopURL])
        let admin = try settings.admin()
        let worker: ServedWorker
        do {
            worker = try ServedWorker(configuration, admin, log: log)
        } catch  where arguments["listen"] == nil {
            // Nothing to configure: when the usual port is taken, any will do.
            var elsewhere = admin
            elsewhere.listen = "127.0.0.1:0"
            worker = try ServedWorker(configuration, elsewhere, log: log)
        }
        print(invitation(demo, port: worker.server?.port))
        fflush(nil)  // also into a pipe
        try await worker.run()
        return 0
    }

    private static func invitation(_ demo: DemoEnvironment, port: Int?) -> String {
        let http = port.map { port in
            """

              curl -s http://127.0.0.1:\(port)/metrics | grep outrider_
              curl -s http://127.0.0.1:\(port)/openapi.json   (what else can be asked for)
            """
        }
        return """
            Outrider is running. Its database is \(demo.url)
            The demo shop's handlers are at \(demo.shopURL): for messages, and for the sagas of Workflows.

            Try in another terminal:
              psql \(demo.url) -c "insert into outrider.outbox (topic, key, payload)
                values ('order.created', 'customer-1', '{\\"orderId\\": 1, \\"total\\": 42.50}')"
              psql \(demo.url) -c "select * from outrider.delivery_attempts order by at desc limit 5"
              psql \(demo.url) -c "table outrider.queue_depth"
              export OUTRIDER_DATABASE_URL=\(demo.url)
              outrider publish order.created '{"orderId": 142, "total": 9}'   (its card is blocked)
              outrider dead-letters list\(http ?? "")

            And sagas: one over so much money that it waits for an approval, and one whose card is declined:
              outrider start place-order '{"orderId": 17, "total": 2500, "items": [{"sku": "desk", "count": 5}]}'
              outrider start place-order '{"orderId": 24, "total": 9, "items": [{"sku": "tea", "count": 2}]}'
              outrider saga list
              outrider saga signal place-order/17 review '{"approved": true}'
              outrider saga show place-order/24

            Ctrl-C stops everything.
            """
    }
}
