import Admin
import EmbeddedPostgres
import Engine
import Glibc
import Primitives
import Telemetry
import WorkflowFiles

/// What `run` and `dev` take from options and environment.
struct WorkerSettings {
    enum Serving: String, CaseIterable { case own, all }

    /// - Parameter serving: the default of `--serve`.
    static func options(serving: Serving = .own) -> [Option] {
        let serve = Option.value(
            "serve", "own|all",
            "which subscriptions, sagas and schedules: those of the own workflow folder, or all in the database",
            environment: ["OUTRIDER_SERVE"], fallback: serving.rawValue)
        return [.workflows, serve] + others
    }

    private static let others: [Option] = [
        .value(
            "listen", "ADDRESS", "where health, metrics and the API are served; off for nowhere",
            environment: ["OUTRIDER_LISTEN"],
            fallback: "127.0.0.1:7070"),
        .value(
            "callback-listen", "ADDRESS",
            "where callbacks of async steps and nothing else are served, without the admin token; off for nowhere",
            environment: ["OUTRIDER_CALLBACK_LISTEN"], fallback: "off"),
        .value(
            "callback-url", "URL", "where handlers are told to call back, as they reach it",
            environment: ["OUTRIDER_CALLBACK_URL"],
            fallback:
                "http:// and the callback listener's address, else --listen's, unless that stands for all addresses"
        ),
        .value(
            "name", "NAME", "the worker's name in views and logs", environment: ["OUTRIDER_NAME"], fallback: "host:pid"),
        .value(
            "concurrency", "N", "requests in flight over all subscriptions", environment: ["OUTRIDER_CONCURRENCY"],
            fallback: "1024"),
        .value(
            "lease", "DURATION", "how long a worker that is not seen keeps what it claimed",
            environment: ["OUTRIDER_LEASE"],
            fallback: "15s"),
        .value(
            "grace", "DURATION", "how long a drain waits for what is in flight", environment: ["OUTRIDER_GRACE"],
            fallback: "30s"),
        .value("log", "text|json", "how to log, to standard error", environment: ["OUTRIDER_LOG"], fallback: "text"),
        .value(
            "log-level", "LEVEL", "debug, info, warning or error", environment: ["OUTRIDER_LOG_LEVEL"], fallback: "info"
        ),
        .value(
            "expose-env", "NAMES", "variables that expressions see as $env, comma separated",
            environment: ["OUTRIDER_EXPOSE_ENV"]),
        .value(
            "secrets-dir", "FOLDER", "files with secrets, beside environment variables",
            environment: ["OUTRIDER_SECRETS_DIR"]),
        .value(
            "source", "URI", "CloudEvents' source of every message", environment: ["OUTRIDER_SOURCE"],
            fallback: "/outrider"),
    ]

    private enum Level: String, CaseIterable {
        case debug, info, warning, error
    }

    let arguments: Arguments

    func log() throws -> Log {
        let level: Log.Level =
            switch try arguments.choice("log-level", default: Level.info) {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        return Log(level: level, format: try arguments.choice("log", default: .text))
    }

    func admin() throws -> AdminSettings {
        AdminSettings(
            listen: try address("listen", default: "127.0.0.1:7070"),
            callbackListen: try address("callback-listen", default: "off"), callbackURL: try callbackURL(),
            token: adminToken)
    }

    /// Nil for `off`.
    private func address(_ option: String, default fallback: String) throws -> String? {
        let address = arguments[option] ?? fallback
        if address == "off" { return nil }
        guard address.contains(":"), address.split(separator: ":").last.flatMap({ UInt16($0) }) != nil else {
            let what = option.replacing("-", with: " ")
            throw UsageError(
                "the \(what) address is '\(address)'; expected host:port, such as 127.0.0.1:7070, or off (port 0 is any)"
            )
        }
        return address
    }

    /// Without slashes at its end: the path of the step follows.
    private func callbackURL() throws -> String? {
        guard let url = arguments["callback-url"] else { return nil }
        let isClean = url.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && !url.contains { "?#\"<>\\".contains($0) }
        guard isClean, url.wholeMatch(of: #/https?:\/\/[^\/@]+(\/.*)?/#) != nil else {
            throw UsageError(
                "the callback URL is '\(url)'; expected http:// or https:// and a host, such as https://outrider.internal:7071"
            )
        }
        return String(url.reversed().drop { $0 == "/" }.reversed())
    }

    private var adminToken: Secret? {
        arguments.environment["OUTRIDER_ADMIN_TOKEN"].flatMap { $0.isEmpty ? nil : Secret($0) }
    }

    func configuration(
        databaseURL: String, definitions: [Definition], serving: Serving = .own, exposing: [String: String] = [:]
    ) throws -> WorkerConfiguration {
        var environment = arguments.environment
        if let folder = arguments["secrets-dir"] { environment["OUTRIDER_SECRETS_DIR"] = folder }
        var configuration = WorkerConfiguration(
            databaseURL: databaseURL, name: arguments["name"] ?? Self.defaultName, definitions: definitions,
            servesAll: try arguments.choice("serve", default: serving) == .all,
            secrets: Secrets(environment: environment) { Files.read($0) }, executable: "/proc/self/exe")
        configuration.lease = try arguments.duration("lease", default: configuration.lease)
        configuration.grace = try arguments.duration("grace", default: configuration.grace)
        guard configuration.lease >= .seconds(2) else {
            throw UsageError("the lease is \(configuration.lease.text); expected at least 2s")
        }
        configuration.concurrency = try arguments.integer(
            "concurrency", default: configuration.concurrency, in: 1...100_000)
        // All but those of the database, the log, the sidecar's HTTP and the processes for expressions.
        let connections = FileDescriptors.raiseLimit() - 100
        guard connections >= 16 else {
            throw CommandFailure(
                "the process may open \(connections + 100) files; expected at least 116: raise ulimit -n")
        }
        configuration.concurrency = min(configuration.concurrency, connections)
        configuration.connections = min(configuration.concurrency * 2, connections)
        configuration.source = arguments["source"] ?? configuration.source
        for name in (arguments["expose-env"] ?? "").split(separator: ",").map({ $0.filter { $0 != " " } }) {
            // One that is not set is left out: an expression that needs it says so.
            configuration.exposed[name] = environment[name]
        }
        configuration.exposed.merge(exposing) { $1 }
        return configuration
    }

    private static var defaultName: String {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        return "\(host):\(getpid())"
    }
}
