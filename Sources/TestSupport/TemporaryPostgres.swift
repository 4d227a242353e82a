package import EmbeddedPostgres
import Glibc
import Synchronization

extension EmbeddedPostgres {
    private static let temporary = Mutex<[EmbeddedPostgres]>([])
    private static let removesAtExit: Void = {
        atexit {
            for server in EmbeddedPostgres.temporary.withLock({ $0 }) {
                server.killServer()
                Files.removeTree(server.directory)
            }
        }
    }()

    /// A server in a folder of its own, which goes when the process ends; `settings` as in `init`.
    package static func temporary(settings: [(name: String, value: String)] = []) throws -> EmbeddedPostgres {
        _ = removesAtExit
        let server = try EmbeddedPostgres(
            directory: Files.makeTemporaryDirectory("outrider-postgres"), settings: settings)
        temporary.withLock { $0.append(server) }
        return server
    }
}
