import EmbeddedPostgres
import Engine
import Glibc
import HTTPServer
import Postgres
import Primitives
import Store
import Telemetry
import WorkflowFiles

/// Everything on one machine: a PostgreSQL of its own, the demo shop, and what the worker needs to know of them.
final class DemoEnvironment: Sendable {
    let postgres: EmbeddedPostgres
    let shop: DemoShop
    let shopServer: HTTPServer
    let url: String

    var shopURL: String { "http://127.0.0.1:\(shopServer.port)" }

    /// Starts the server in a folder, which keeps its data, and brings the schema up to date.
    init(folder: String, shopAddress: String = "127.0.0.1:0") async throws {
        var absolute = folder
        if !folder.hasPrefix("/"), let current = getcwd(nil, 0) {
            absolute = "\(String(cString: current))/\(folder)"
            free(current)
        }
        do {
            postgres = try EmbeddedPostgres(directory: absolute)
        } catch let error as EmbeddedPostgres.Failure where geteuid() == 0 && error.description.contains("initdb") {
            // As root the server runs as another user, who may not be let into this folder.
            complain("\(error)\nusing a folder below /var/tmp instead")
            let name = absolute.split(separator: "/").joined(separator: "-")
            postgres = try EmbeddedPostgres(directory: "/var/tmp/outrider-\(name)")
        }
        url = postgres.url(database: "demo")
        let shop = DemoShop()
        self.shop = shop
        shopServer = try HTTPServer(address: shopAddress) { request, responder in
            responder.respond(shop.answer(request))
        }
        let admin = Session(postgres.url())
        try await admin.run { connection in
            if try connection.query("select from pg_database where datname = 'demo'").isEmpty {
                try connection.execute(script: "create database demo")
            }
        }
        await admin.close()
        let session = Session(url)
        _ = try await session.run { try Migrator().up(on: $0) }
        await session.close()
    }

    func stop() {
        shopServer.stop()
        postgres.stop()
    }
}
