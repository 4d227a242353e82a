import EmbeddedPostgres
import Postgres
import Primitives

/// The demo's course: orders as messages, then orders as sagas, on one database and with one worker, until that is killed.
struct Demo {
    let environment: DemoEnvironment
    /// The folder of the workflow files.
    let workflows: String
    let orders: Int
    let sagas: Int

    /// True when all ledgers agree.
    func run() async throws -> Bool {
        let narrator = DemoNarrator(environment: environment, session: Session(environment.url))
        let worker = try await DemoWorker(name: "demo-1", environment, workflows: workflows)
        narrator.say(
            """
            PostgreSQL runs on port \(environment.postgres.port), the shop's handlers at \(environment.shopURL), \
            a worker as process \(worker.id).
            """)
        let noMessageIsLost = try await DemoMessages(narrator, orders: orders).run()
        let sagas = DemoSagas(narrator, DemoOrder.some(sagas), workflows: workflows)
        let (everythingAgrees, lastWorker) = try await sagas.run(worker)
        let isDrained = try await lastWorker.drain()
        await narrator.session.close()
        return noMessageIsLost && everythingAgrees && isDrained
    }
}
