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
    /// This program, for children: seen from there, `/proc/self` is another one.
    let executable = "/proc/\(getpid())/exe"

    var shopURL: String { "http://127.0.0.1:\(shopServer.port)" }

    /// Starts the server in a folder and brings the schema up to date.
    ///
    /// - Parameter startsEmpty: without the data that an earlier run left there.
    init(folder: String, startsEmpty: Bool = false, shopAddress: String = "127.0.0.1:0") async throws {
        var absolute = folder
        if !folder.hasPrefix("/"), let current = getcwd(nil, 0) {
            absolute = "\(String(cString: current))/\(folder)"
            free(current)
        }
        do {
            postgres = try Self.server(absolute, startsEmpty)
        } catch let error as EmbeddedPostgres.Failure where geteuid() == 0 && error.description.contains("initdb") {
            // As root the server runs as another user, who may not be let into this folder.
            complain("\(error)\nusing a folder below /var/tmp instead")
            let name = absolute.split(separator: "/").joined(separator: "-")
            postgres = try Self.server("/var/tmp/outrider-\(name)", startsEmpty)
        }
        url = postgres.url(database: "demo")
        let shop = DemoShop()
        self.shop = shop
        shopServer = try HTTPServer(address: shopAddress) { request, responder in
            shop.answer(request, responder)
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

    private static func server(_ directory: String, _ startsEmpty: Bool) throws -> EmbeddedPostgres {
        // A folder that holds other things is left as it is, and refused.
        if startsEmpty, EmbeddedPostgres.isUsable(directory) { Files.removeTree(directory) }
        return try EmbeddedPostgres(directory: directory)
    }

    func stop() {
        shopServer.stop()
        postgres.stop()
    }
}
