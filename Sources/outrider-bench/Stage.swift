import EmbeddedPostgres
import Glibc
import HTTPServer
import Postgres
import Primitives
import Store
import Synchronization

/// What a measurement needs: a PostgreSQL with the settings that users have, a handler, and workers as processes of their own.
final class Stage: Sendable {
    /// The handler: counts, and notes when what came.
    final class Handler: Sendable {
        struct Arrival: Sendable {
            let id: String
            let at: ContinuousClock.Instant
        }

        let count = Atomic(0)
        let first = Mutex<ContinuousClock.Instant?>(nil)
        let last = Mutex<ContinuousClock.Instant?>(nil)
        let arrivals = Mutex<[Arrival]>([])
        let notesArrivals = Atomic(false)
        /// Leaves requests without an answer.
        let hangs = Atomic(false)
        /// Refuses for good what has a key that begins with `blocked`.
        let blocks = Atomic(false)
        private let held = Mutex<[Responder]>([])

        func take(_ request: ServerRequest, _ responder: Responder) {
            let now = ContinuousClock.now
            first.withLock { if $0 == nil { $0 = now } }
            last.withLock { $0 = now }
            count.add(1, ordering: .relaxed)
            if notesArrivals.load(ordering: .relaxed), let id = request.headers["ce-id"] {
                arrivals.withLock { $0.append(Arrival(id: id, at: now)) }
            }
            if hangs.load(ordering: .relaxed) {
                held.withLock { $0.append(responder) }
            } else if blocks.load(ordering: .relaxed), request.headers["ce-subject"]?.hasPrefix("blocked") == true {
                responder.respond(ServerResponse(status: 422))
            } else {
                responder.respond(ServerResponse(status: 200))
            }
        }

        func reset() {
            first.withLock { $0 = nil }
            last.withLock { $0 = nil }
            count.store(0, ordering: .relaxed)
            arrivals.withLock { $0 = [] }
            held.withLock { $0 = [] }
        }
    }

    let postgres: EmbeddedPostgres
    let handler = Handler()
    let server: HTTPServer
    let session: Session
    let folder: String

    var url: String { postgres.url(database: "bench") }
    var handlerURL: String { "http://127.0.0.1:\(server.port)/" }

    init(folder: String) async throws {
        self.folder = folder
        Files.removeTree(folder)
        postgres = try EmbeddedPostgres(
            directory: folder,
            settings: [
                ("fsync", "on"), ("synchronous_commit", "on"), ("shared_buffers", "256MB"), ("max_wal_size", "4GB"),
                ("max_connections", "200"),
            ])
        let handler = handler
        server = try HTTPServer(address: "127.0.0.1:0") { request, responder in handler.take(request, responder) }
        let admin = Session(postgres.url())
        try await admin.run { try $0.execute(script: "create database bench") }
        await admin.close()
        session = Session(postgres.url(database: "bench"))
        _ = try await session.run { try Migrator().up(on: $0) }
        declare(subscriptions: 1)
        // Applies them: what is published before there is a subscription waits for nobody.
        end(try await readyWorker())
    }

    func stop() async {
        await session.close()
        server.stop()
        postgres.stop()
        Files.removeTree(folder)
    }

    /// Writes the workflow folder: so many subscriptions, of which the first gets the messages.
    ///
    /// - Parameters:
    ///   - options: further lines of each.
    ///   - fansOut: all of them get the messages.
    ///   - documents: beside them.
    func declare(
        subscriptions count: Int, options: [String] = [], fansOut: Bool = false, documents others: [String] = []
    ) {
        Files.removeTree("\(folder)/workflows")
        Files.makeDirectory("\(folder)/workflows")
        let documents = (1...count).map { number in
            """
            subscription: bench-\(number)
            topics: [ bench.\(number == 1 || fansOut ? "message" : "other-\(number)") ]

            """
                + (options.contains { $0.hasPrefix("deliver:") }
                    ? "" : "deliver: { http: \"POST ${ $env.HANDLER }\" }\n")
                + options.joined(separator: "\n")
        }
        let sagas = [1, 3, 10].map { steps in
            "saga: bench-\(steps)\nversion: 1\nsteps:\n"
                + (1...steps).map { number in
                    """
                      - id: step_\(number)
                        call:
                          http: POST ${ $env.HANDLER }
                          body: ${ .input }
                        compensate: none

                    """
                }.joined()
        }
        let sleeper = """
            saga: bench-sleeper
            version: 1
            steps:
              - id: sleep
                await: { event: wake-up, timeout: 30d }
            """
        let all = documents + others + sagas + [sleeper]
        Files.write(all.joined(separator: "\n---\n") + "\n", to: "\(folder)/workflows/bench.yaml")
    }

    // MARK: - Messages

    /// A payload of about 300 bytes.
    static let payload =
        #"{"orderId": 17, "customer": "customer-42", "pad": ""# + String(repeating: "x", count: 240) + #""}"#

    /// - Parameter keys: over how many keys they are spread, called `prefix-1` and so on.
    func publish(_ count: Int, keys: Int = 1, prefix: String = "customer") async throws {
        try await session.run { connection in
            _ = try connection.query(
                """
                insert into outrider.outbox (topic, key, payload)
                select 'bench.message', \(prefix) || '-' || n % \(Int32(keys)), \(Self.payload)::jsonb
                from generate_series(1, \(Int32(count))) n
                """)
        }
    }

    /// Publishes one message in a transaction of its own; when it was committed, and its id.
    func publishOne() async throws -> (id: String, at: ContinuousClock.Instant) {
        try await session.run { connection in
            let id = try connection.query(
                "insert into outrider.outbox (topic, key, payload) values ('bench.message', 'customer-42', \(Self.payload)::jsonb) returning id"
            )[0]
            .decode(0, as: UUID.self)
            return (id.description, .now)
        }
    }

    /// A setting of the server; nil is its default.
    func set(_ name: String, _ value: String?) async throws {
        try await session.run { connection in
            try connection.execute(
                script: value.map { "alter system set \(name) = \($0)" } ?? "alter system reset \(name)")
            try connection.execute(script: "select pg_reload_conf()")
        }
    }

    /// Of all subscriptions.
    func setPaused(_ isPaused: Bool) async throws {
        try await session.run {
            _ = try $0.query(
                """
                select outrider.\(unsafeSQL: isPaused ? "pause" : "resume")(s.name) from outrider.subscriptions s
                where s.name like 'bench-%'
                """)
        }
    }

    /// Brings the database to what is declared, and removes what is not.
    func apply() async throws {
        let apply = try ChildProcess(
            [Self.outrider, "apply", "--prune", "\(folder)/workflows"],
            environment: ["OUTRIDER_DATABASE_URL": url, "OUTRIDER_EXPOSE_ENV": "HANDLER", "HANDLER": handlerURL],
            output: "\(folder)/apply.log", errors: "\(folder)/apply.err")
        while apply.status == nil { try await Task.sleep(for: .milliseconds(5)) }
        guard apply.status == .code(0) else {
            throw BenchError(description: "apply failed: \(Files.text("\(folder)/apply.err") ?? "")")
        }
    }

    func forgetMessages() async throws {
        try await session.run {
            try $0.execute(
                script:
                    """
                    truncate outrider.outbox, outrider.delivery, outrider.scheduled, outrider.delivery_attempt,
                        outrider.backlog, outrider.arrival, outrider.active_slot, outrider.held_slot, outrider.key_check,
                        outrider.dead_letter; checkpoint
                    """
            )
        }
    }

    /// Waits for so many arrivals, and gives up when nothing arrived for a while.
    func waitForCount(_ count: Int, patience: Duration = .seconds(30)) async throws {
        var (seen, seenAt) = (0, ContinuousClock.now)
        while handler.count.load(ordering: .relaxed) < count {
            let now = handler.count.load(ordering: .relaxed)
            if now > seen { (seen, seenAt) = (now, .now) }
            guard ContinuousClock.now - seenAt < patience else {
                throw BenchError(description: "only \(now) of \(count) messages arrived; see \(folder)")
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    func waitUntilDelivered() async throws {
        while try await session.run({
            try $0.query("select exists (select from outrider.queued)")[0].decode(0, as: Bool.self)
        }) {
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// From the first arrival to the last.
    var span: Duration {
        guard let first = handler.first.withLock({ $0 }), let last = handler.last.withLock({ $0 }) else { return .zero }
        return last - first
    }

    // MARK: - Workers

    func worker(listen: String = "off") throws -> ChildProcess {
        try ChildProcess(
            [Self.outrider, "run"],
            environment: [
                "OUTRIDER_DATABASE_URL": url, "OUTRIDER_WORKFLOWS": "\(folder)/workflows", "OUTRIDER_LISTEN": listen,
                "OUTRIDER_EXPOSE_ENV": "HANDLER", "HANDLER": handlerURL,
            ], output: "\(folder)/worker.log", deathSignal: "KILL")
    }

    /// Starts a worker and waits until it has registered.
    func readyWorker(listen: String = "off") async throws -> ChildProcess {
        let before = try await workers()
        let worker = try self.worker(listen: listen)
        while try await workers() <= before {
            guard worker.status == nil else {
                throw BenchError(description: "the worker ended: \(Files.text("\(folder)/worker.log") ?? "")")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        return worker
    }

    func workers() async throws -> Int {
        Int(try await session.run { try $0.query("select count(*) from outrider.worker")[0].decode(0, as: Int64.self) })
    }

    func end(_ worker: ChildProcess) {
        worker.kill(SIGTERM)
        worker.wait()
    }

    /// This program, and the worker beside it.
    static let own: String = {
        var path = [CChar](repeating: 0, count: 4096)
        readlink("/proc/self/exe", &path, path.count - 1)
        return path.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }()

    static let outrider =
        own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/outrider"
}

struct BenchError: Error, CustomStringConvertible {
    let description: String
}
