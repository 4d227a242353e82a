internal import Glibc
internal import Synchronization

/// A PostgreSQL server of one's own, from the installed binaries, in a folder of one's choice. It dies with this process.
///
/// For `outrider dev`, the demo, the tests and the benchmark. The folder's data outlives the server and is used again.
package final class EmbeddedPostgres: Sendable {
    package struct Failure: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    package enum StopMode: Sendable {
        /// Sessions are ended, what was committed is on disk.
        case fast
        /// As in a power cut: the next start recovers.
        case immediate
    }

    package let port: Int
    package let directory: String
    package var logFile: String { "\(directory)/server.log" }

    private let binaries: String
    private let user: String?
    private let settings: [(name: String, value: String)]
    private let process = Mutex<ChildProcess?>(nil)

    /// Makes the cluster if the folder holds none, and starts the server; returns when it takes connections.
    ///
    /// - Parameters:
    ///   - directory: made when missing. As root the server runs as `postgres` or `nobody`, which must be able to reach it.
    ///   - settings: of postgresql.conf, in addition to a port and a socket of its own.
    ///   - binaries: the folder of `postgres` and `initdb`; nil finds it.
    package init(
        directory: String, settings: [(name: String, value: String)] = [], binaries: String? = nil
    ) throws {
        self.directory = directory
        self.settings = settings
        self.binaries = try binaries ?? Self.findBinaries()
        user = try Self.unprivilegedUser()
        port = try Self.freePort()
        try makeCluster()
        try start()
    }

    deinit {
        stop(.immediate)
    }

    /// A connection string for a database of this server.
    package func url(database: String = "postgres") -> String {
        "postgresql://postgres@127.0.0.1:\(port)/\(database)"
    }

    // MARK: - Starting and stopping

    package func start() throws {
        var arguments = ["\(binaries)/postgres", "-D", "\(directory)/data", "-p", String(port), "-k", ""]
        for (name, value) in [("listen_addresses", "127.0.0.1"), ("logging_collector", "off")] + settings {
            arguments += ["-c", "\(name)=\(value)"]
        }
        let child = try ChildProcess(arguments, user: user, directory: directory, output: logFile)
        process.withLock { $0 = child }
        // The last line of postmaster.pid is the server's own word (miscadmin.h, PM_STATUS_READY).
        let ready = wait(for: .seconds(60)) {
            if child.status != nil { return true }
            let lines = Files.text("\(directory)/data/postmaster.pid")?.split(separator: "\n") ?? []
            return lines.first.map(String.init) == String(child.id) && lines.last?.hasPrefix("ready") == true
        }
        if let status = child.status {
            throw Failure(
                description: "PostgreSQL ended while starting (\(status)); the end of \(logFile):\n\(logTail)")
        }
        guard ready else {
            throw Failure(description: "PostgreSQL did not start within 60 s; the end of \(logFile):\n\(logTail)")
        }
    }

    package func stop(_ mode: StopMode = .fast) {
        guard let child = process.withLock({ $0.take() }) else { return }
        child.kill(mode == .fast ? SIGINT : SIGQUIT)
        child.wait()
    }

    /// kill -9 of the server and all its processes, as by the kernel when memory runs out. `start` brings it back.
    package func killServer() {
        guard let child = process.withLock({ $0.take() }) else { return }
        let family = children(of: child.id)
        child.kill(SIGKILL)
        for id in family { kill(id, SIGKILL) }
        child.wait()
        // The new server refuses to start while an old process is attached to the shared memory.
        _ = wait(for: .seconds(10)) { family.allSatisfy { kill($0, 0) != 0 } }
    }

    private func children(of parent: pid_t) -> [pid_t] {
        let text = Files.text("/proc/\(parent)/task/\(parent)/children") ?? ""
        return text.split(separator: " ").compactMap { pid_t($0) }
    }

    private func wait(for limit: Duration, _ condition: () -> Bool) -> Bool {
        let end = ContinuousClock.now + limit
        while !condition() {
            guard ContinuousClock.now < end else { return false }
            usleep(3000)
        }
        return true
    }

    private var logTail: String {
        (Files.text(logFile) ?? "").split(separator: "\n").suffix(8).joined(separator: "\n")
    }

    // MARK: - Making

    private func makeCluster() throws {
        guard Files.makeDirectory(directory) else {
            throw Failure(description: "the folder \(directory) cannot be made: \(String(cString: strerror(errno)))")
        }
        guard Self.isUsable(directory) else {
            throw Failure(
                description:
                    "the folder \(directory) holds other things than a database of ours; name an empty or a new one")
        }
        if let process = runningServer {
            throw Failure(
                description: "a server runs in \(directory) already (PID \(process)): stop that, or name another folder"
            )
        }
        if let user, let entry = getpwnam(user) { chown(directory, entry.pointee.pw_uid, entry.pointee.pw_gid) }
        guard !Files.exists("\(directory)/data/PG_VERSION") else { return }
        let output = "\(directory)/initdb.log"
        let child = try ChildProcess(
            [
                "\(binaries)/initdb", "-D", "\(directory)/data", "-U", "postgres", "--auth=trust", "--encoding=UTF8",
                "--locale=C.UTF-8", "--no-sync",
            ], user: user, directory: "/", output: output)
        guard child.wait() == .code(0) else {
            throw Failure(
                description: """
                    initdb could not make a cluster in \(directory)\(user.map { " as user \($0)" } ?? ""): \
                    \((Files.text(output) ?? "no output").split(separator: "\n").suffix(4).joined(separator: "; "))
                    """)
        }
    }

    /// Whether a folder is empty, missing, or was made by us: nobody else's is taken over or emptied.
    package static func isUsable(_ directory: String) -> Bool {
        Files.names(in: directory).isEmpty || Files.exists("\(directory)/initdb.log")
    }

    /// Of a postmaster.pid whose process lives.
    private var runningServer: pid_t? {
        let lines = Files.text("\(directory)/data/postmaster.pid")?.split(separator: "\n") ?? []
        guard let id = lines.first.flatMap({ pid_t($0) }), kill(id, 0) == 0 else { return nil }
        return id
    }

    /// PostgreSQL refuses to run as root.
    private static func unprivilegedUser() throws -> String? {
        guard geteuid() == 0 else { return nil }
        for name in ["postgres", "nobody"] where getpwnam(name) != nil { return name }
        throw Failure(
            description: "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
    }

    package static func findBinaries() throws -> String {
        let root = "/usr/lib/postgresql"
        let versions = Files.names(in: root).compactMap(Int.init).sorted(by: >).map { "\(root)/\($0)/bin" }
        let path = currentEnvironment()["PATH"]?.split(separator: ":").map(String.init) ?? []
        for folder in versions + path
        where Files.isExecutable("\(folder)/initdb") && Files.isExecutable("\(folder)/postgres") {
            return folder
        }
        throw Failure(
            description: "PostgreSQL's server is not installed (looked in \(root) and PATH): apt-get install postgresql"
        )
    }

    private static func freePort() throws -> Int {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard bound else {
            throw Failure(description: "no free port on 127.0.0.1: \(String(cString: strerror(errno)))")
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
