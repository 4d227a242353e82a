package import EmbeddedPostgres
import Glibc
import HTTPServer

/// The built `outrider` as a process of its own, with its output in files.
package final class RunningOutrider: Sendable {
    /// The program beside the test runner.
    package static let executable: String = {
        var folder = CommandLine.arguments[0]
        var target = [CChar](repeating: 0, count: 4096)
        let bundles = CommandLine.arguments.filter { $0.hasSuffix(".xctest") }
        if readlink("/proc/self/exe", &target, target.count - 1) > 0 {
            folder = target.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        }
        for start in bundles + [folder, CommandLine.arguments[0]] {
            var folder = Substring(start)
            while let slash = folder.lastIndex(of: "/") {
                folder = folder[..<slash]
                let candidate = "\(folder)/outrider"
                if Files.isExecutable(candidate), Files.names(in: candidate).isEmpty { return candidate }
            }
        }
        preconditionFailure("there is no built outrider beside the test runner \(CommandLine.arguments)")
    }()

    private let process: ChildProcess
    private let folder: String

    /// - Parameters:
    ///   - environment: added to this process's; `OUTRIDER_LISTEN` is off unless it says otherwise.
    ///   - openFiles: how many descriptors it may have, which it cannot raise.
    package init(
        _ arguments: [String], environment: [String: String] = [:], input: String? = nil, directory: String? = nil,
        openFiles: Int? = nil
    ) throws {
        folder = Files.makeTemporaryDirectory("outrider-run")
        let defaults = ["OUTRIDER_LISTEN": "off", "NO_COLOR": "1"]
        var inputFile: String?
        if let input {
            inputFile = "\(folder)/in"
            Files.write(input, to: "\(folder)/in")
        }
        let limit = openFiles.map { ["sh", "-c", "ulimit -n \($0); exec \"$0\" \"$@\""] } ?? []
        process = try ChildProcess(
            limit + [Self.executable] + arguments, environment: defaults.merging(environment) { $1 },
            directory: directory,
            output: "\(folder)/out", errors: "\(folder)/err", input: inputFile, deathSignal: "KILL")
    }

    deinit {
        process.kill(SIGKILL)
        process.wait()
        Files.removeTree(folder)
    }

    package var id: Int32 { process.id }
    package var output: String { Files.text("\(folder)/out") ?? "" }
    package var log: String { Files.text("\(folder)/err") ?? "" }
    package var status: ChildProcess.Exit? { process.status }

    package func terminate() { process.kill(SIGTERM) }
    package func interrupt() { process.kill(SIGINT) }
    package func kill9() { process.kill(SIGKILL) }
    /// Returns once it stands still: a signal takes effect a moment after it was sent.
    package func freeze() {
        process.kill(SIGSTOP)
        while status == nil, !isStopped { sched_yield() }
    }
    package func thaw() { process.kill(SIGCONT) }

    /// By the state in its line of statistics (proc(5)), which follows the name in parentheses.
    private var isStopped: Bool {
        let fields = Files.text("/proc/\(id)/stat")?.split(separator: ")").last?.split(separator: " ")
        return fields?.first == "T"
    }

    /// How it ended, once it has.
    package func exit(within limit: Duration = .seconds(40)) async throws -> ChildProcess.Exit {
        try await eventually("outrider ends; its log:\n\(log)", within: limit) { self.status != nil }
        return process.wait()
    }

    package func waitForLog(_ text: String, within limit: Duration = .seconds(20)) async throws {
        do {
            try await eventually("the log says \(text)", within: limit) {
                self.log.contains(text) || self.status != nil
            }
        } catch {
            throw NeverHappened(description: "\(error); the log:\n\(log)")
        }
        guard log.contains(text) else {
            throw NeverHappened(description: "it ended (\(status!)) without \(text); the log:\n\(log)")
        }
    }

    /// Runs a command to its end.
    package static func run(
        _ arguments: [String], environment: [String: String] = [:], input: String? = nil, directory: String? = nil,
        openFiles: Int? = nil
    ) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
        let outrider = try RunningOutrider(
            arguments, environment: environment, input: input, directory: directory, openFiles: openFiles)
        let exit = try await outrider.exit()
        return (exit, outrider.output, outrider.log)
    }
}
