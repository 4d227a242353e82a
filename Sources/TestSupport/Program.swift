package import EmbeddedPostgres

/// Programs of the system that tests rely on.
package enum Program {
    /// Runs a program to its end; its output is that of both streams.
    package static func run(
        _ command: [String], input: String? = nil, directory: String? = nil
    ) async throws -> (exit: ChildProcess.Exit, output: String) {
        let folder = TemporaryFolder()
        let inputFile = input.map { folder.write($0, to: "in") }
        let output = folder.write("", to: "out")
        let process = try ChildProcess(command, directory: directory, output: output, input: inputFile)
        try await eventually("\(command[0]) ends") { process.status != nil }
        return (process.wait(), Files.text(output) ?? "")
    }

    /// What `promtool check metrics` objects to in a program's metrics; empty when it is content.
    package static func promtoolComplaints(about metrics: String) async throws -> String {
        let (exit, output) = try await run(["promtool", "check", "metrics"], input: metrics)
        return exit == .code(0) ? output : "\(exit): \(output)\n\(metrics)"
    }
}
