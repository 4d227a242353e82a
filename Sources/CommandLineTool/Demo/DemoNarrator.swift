import EmbeddedPostgres
import Glibc
import Postgres
import Primitives

/// Tells the demo's story while it happens: what comes to pass in bold, and below it what anybody would see who asks.
struct DemoNarrator: Sendable {
    let environment: DemoEnvironment
    let session: Session

    func say(_ text: String) {
        print(Help.bold("\n" + text))
        fflush(nil)  // also into a pipe: the story is told while it happens
    }

    func tell(_ text: String) {
        print("  " + text)
        fflush(nil)
    }

    /// With psql, as anybody would ask.
    func psql(_ query: String) throws {
        let psql = "\(try EmbeddedPostgres.findBinaries())/psql"
        let typed = query.replacing("\"", with: "\\\"").split(separator: "\n").joined(separator: "\n      ")
        try show("psql -c \"\(typed)\"", [psql, "-X", "-P", "footer=off", environment.url, "-c", query])
    }

    /// With this program, as an operator would.
    func outrider(_ words: String...) throws {
        let plain = { (word: String) in word.allSatisfy { $0.isLetter || $0.isNumber || "-/.".contains($0) } }
        let typed = words.map { plain($0) ? $0 : "'\($0)'" }.joined(separator: " ")
        try show("outrider \(typed)", [environment.executable] + words)
    }

    /// A command as it is typed, and what it prints.
    private func show(_ typed: String, _ command: [String]) throws {
        tell("$ \(typed)")
        let output = "\(environment.postgres.directory)/said"
        unlink(output)
        let child = try ChildProcess(
            command, environment: ["OUTRIDER_DATABASE_URL": environment.url], output: output)
        let exit = child.wait()
        var lines = (Files.text(output) ?? "").split(separator: "\n", omittingEmptySubsequences: false)
        while lines.last?.isEmpty == true { lines.removeLast() }
        for line in lines { tell(String(line)) }
        guard exit == .code(0) else { throw CommandFailure("\(command[0]) failed: \(exit)") }
    }

    // MARK: - Waiting

    /// - Parameter progress: told now and then meanwhile, and once more in the end.
    func wait(
        for what: String, telling progress: () async throws -> Void = {}, until condition: () async throws -> Bool
    ) async throws {
        let end = ContinuousClock.now + .seconds(60)
        var nextProgress = ContinuousClock.now
        while try await !condition() {
            let now = ContinuousClock.now
            guard now < end else {
                let folder = environment.postgres.directory
                throw CommandFailure("waited a minute in vain for \(what); the worker's log is in \(folder)")
            }
            if now >= nextProgress {
                try await progress()
                nextProgress = now + .milliseconds(400)
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        try await progress()
    }

    func count(_ query: SQL) async throws -> Int {
        Int(try await session.run { try $0.query(query)[0].decode(0, as: Int64.self) })
    }
}
