import Primitives
package import WorkflowFiles

/// What a worker is told. Every default is documented here and shown by `outrider run --help`.
package struct WorkerConfiguration: Sendable {
    /// A connection string as libpq understands it.
    package var databaseURL: String
    /// Shown in `workers` and in recorded tries. Default `host:pid`.
    package var name: String
    /// What this worker's own folder declares; applied at the start.
    package var definitions: [Definition]
    /// Serve every subscription in the database, not only those that `definitions` declares.
    package var servesAll: Bool
    /// Requests in flight over all subscriptions. Default 1024.
    package var concurrency = 1024
    /// Connections to handlers, in use and kept alive. Default twice the concurrency.
    package var connections = 2048
    /// How long a worker that is not seen keeps what it claimed. Default 15 s.
    package var lease: Duration = .seconds(15)
    /// How long a drain waits for what is in flight. Default 30 s.
    package var grace: Duration = .seconds(30)
    /// The variables that expressions may see as `$env`.
    package var exposed: [String: String] = [:]
    package var secrets: Secrets
    /// The binary that runs expressions in a child process: this one.
    package var executable: String
    /// `ce-source` of every message. Default `/outrider`.
    package var source = "/outrider"
    /// Where callbacks of async steps reach this worker, without a slash at its end; nil where they cannot.
    package var callbackURL: String?

    package init(
        databaseURL: String, name: String, definitions: [Definition], servesAll: Bool, secrets: Secrets,
        executable: String
    ) {
        self.databaseURL = databaseURL
        self.name = name
        self.definitions = definitions
        self.servesAll = servesAll
        self.secrets = secrets
        self.executable = executable
    }
}
