import EmbeddedPostgres
import Glibc
import Primitives

/// The demo's worker: `outrider run` in a process of its own, which can be killed.
final class DemoWorker: Sendable {
    let name: String
    private let process: ChildProcess

    var id: Int32 { process.id }

    /// Returns when it is ready.
    init(name: String, _ environment: DemoEnvironment, workflows: String) async throws {
        self.name = name
        let log = "\(environment.postgres.directory)/\(name).log"
        process = try ChildProcess(
            [
                environment.executable, "run", "--name", name, "--database-url", environment.url,
                "--workflows", workflows, "--serve", "own", "--expose-env", "SHOP_URL", "--listen", "off",
                "--log", "text", "--log-level", "info",
            ],
            environment: ["SHOP_URL": environment.shopURL], output: log, deathSignal: "KILL")
        while Files.text(log)?.contains("worker.ready") != true {
            guard process.status == nil else {
                throw CommandFailure("the demo's worker ended before it was ready:\n\(Files.text(log) ?? "")")
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// As when the machine loses power: no word to anybody.
    func kill() {
        process.kill(SIGKILL)
        process.wait()
    }

    /// Lets it end what is in flight. True when it says that all went well.
    func drain() async throws -> Bool {
        process.kill(SIGTERM)
        while process.status == nil { try await Task.sleep(for: .milliseconds(10)) }
        return process.wait() == .code(0)
    }
}
