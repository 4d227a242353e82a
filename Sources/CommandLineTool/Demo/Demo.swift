import EmbeddedPostgres
import Engine
import Glibc
import Postgres
import Primitives
import Store
import Telemetry
import WorkflowFiles

/// The demo's story, told while it happens.
struct Demo {
    private let environment: DemoEnvironment
    private let orders: Int
    private let worker: Worker
    private let session: Session
    private let services = ["email", "warehouse", "bills"]

    init(_ environment: DemoEnvironment, orders: Int, definitions: [Definition]) {
        self.environment = environment
        self.orders = orders
        var configuration = WorkerConfiguration(
            databaseURL: environment.url, name: "demo", definitions: definitions, servesAll: false,
            secrets: Secrets(environment: [:]) { _ in nil }, executable: "/proc/self/exe")
        configuration.exposed = ["SHOP_URL": environment.shopURL]
        // The story shows what is logged; the log itself would drown it.
        worker = Worker(configuration, log: Log(level: .error, sink: { _ in }), metrics: WorkerMetrics())
        session = Session(environment.url)
    }

    /// True when nothing was lost.
    func run() async throws -> Bool {
        let (worker, shop) = (worker, environment.shop)
        TerminationSignals.onFirst { worker.drain() }
        let running = Task { try await worker.run() }
        try await wait { worker.health.current.isReady }
        say("PostgreSQL runs on port \(environment.postgres.port), the shop's handlers at \(environment.shopURL).")

        say("The warehouse is down. \(orders) orders come in; every tenth transaction is rolled back.")
        shop.takeWarehouse(down: true)
        try await session.run {
            try $0.execute(script: "create schema shop; create table shop.orders (id int primary key, total numeric)")
        }
        for start in stride(from: 1, through: orders, by: 10) {
            try await place(start..<min(start + 10, orders + 1))
            if start % 100 == 91 { try await progress() }
        }
        say("The warehouse is back.")
        shop.takeWarehouse(down: false)
        try await waitWithProgress { try await self.undelivered() == 0 }

        let letters = try await session.run {
            try Operations($0).deadLetters(subscription: nil, closedToo: false, limit: 100)
        }
        say("Everything is delivered but \(letters.count) refused bills. The dead letters, as an operator sees them:")
        try psql(
            "select subscription, key, attempts, reason, last_error from outrider.dead_letters where redriven_at is null"
        )
        say("The cards are unblocked, the letters redriven: select outrider.redrive(id) from outrider.dead_letters …")
        shop.unblockCards()
        _ = try await session.run { try Operations($0).redriveAll(subscription: "order-billing", before: nil) }
        try await waitWithProgress {
            let open = try await self.session.run {
                try Operations($0).deadLetters(subscription: nil, closedToo: false, limit: 1)
            }
            let waiting = try await self.undelivered()
            return open.isEmpty && waiting == 0
        }

        say("What happened, from the audit:")
        try psql(
            """
            select subscription, outcome, count(*), max(attempt) as most_attempts, max(left(error, 60)) as an_error
            from outrider.delivery_attempts group by 1, 2 order by 1, 2
            """)
        try psql("table outrider.queue_depth")
        worker.drain()
        try await running.value
        let isComplete = try await compare()
        await session.close()
        return isComplete
    }

    /// Ten orders, each with its message in one transaction; one of them is rolled back.
    private func place(_ numbers: Range<Int>) async throws {
        try await session.run { connection in
            for number in numbers {
                try connection.execute(script: "begin")
                let total = number % 25 == 0 ? 0 : number
                try connection.query("insert into shop.orders values (\(Int32(number)), \(Int32(total)))")
                try connection.query(
                    """
                    insert into outrider.outbox (topic, key, payload)
                    values ('order.created', \("order-\(number)"),
                        jsonb_build_object('orderId', \(Int32(number)), 'total', \(Int32(total))))
                    """)
                try connection.execute(script: number % 10 == 5 ? "rollback" : "commit")
            }
        }
    }

    // MARK: - Watching

    private func undelivered() async throws -> Int {
        Int(
            try await session.run {
                try $0.query("select count(*) from outrider.deliveries")[0].decode(0, as: Int64.self)
            })
    }

    private func progress() async throws {
        let line = try await session.run { connection in
            let row = try connection.query(
                """
                select (select count(*) from outrider.messages), sum(ready + in_flight)::bigint, sum(scheduled)::bigint, sum(dead)::bigint
                from outrider.queue_depth
                """)[0]
            return """
                published \(try row.decode(0, as: Int64.self)), waiting \(try row.decode(1, as: Int64.self)), \
                to be tried again \(try row.decode(2, as: Int64.self)), dead \(try row.decode(3, as: Int64.self))
                """
        }
        let ledger = environment.shop.ledger
        print("  \(line); the shop answered \(ledger.requests) requests, refused \(ledger.refusals)")
    }

    private func waitWithProgress(until condition: () async throws -> Bool) async throws {
        while try await !condition() {
            try await progress()
            try await Task.sleep(for: .milliseconds(400))
        }
        try await progress()
    }

    private func wait(until condition: () async throws -> Bool) async throws {
        while try await !condition() { try await Task.sleep(for: .milliseconds(10)) }
    }

    /// The shop's own ledgers against its own orders: Outrider's tables are not asked.
    private func compare() async throws -> Bool {
        let rows = try await session.run { connection in
            try connection.query("select id, total::int from shop.orders").map {
                (Int(try $0.decode(0, as: Int32.self)), Int(try $0.decode(1, as: Int32.self)))
            }
        }
        let ledger = environment.shop.ledger
        let placed = Set(rows.map(\.0))
        var isComplete = true
        say("The shop's ledgers against its \(placed.count) orders:")
        for service in services {
            let expected = service == "bills" ? Set(rows.filter { $0.1 > 0 }.map(\.0)) : placed
            let done = ledger.orders[service] ?? []
            let (missing, invented) = (expected.subtracting(done), done.subtracting(expected))
            print(
                "  \(service): \(done.count) of \(expected.count) done, \(missing.count) missing, \(invented.count) of orders that were rolled back or need none"
            )
            if !missing.isEmpty || !invented.isEmpty { isComplete = false }
        }
        print("  requests that repeated a done one: \(ledger.repeats)")
        say(isComplete ? "Nothing was lost, nothing was invented." : "THE LEDGERS DO NOT AGREE.")
        return isComplete
    }

    // MARK: - Telling

    private func say(_ text: String) {
        print(Help.bold("\n" + text))
        fflush(nil)  // also into a pipe: the story is told while it happens
    }

    /// With psql, as anybody would ask.
    private func psql(_ query: String) throws {
        print("  $ psql -c \"\(query.split(separator: "\n").map { $0.trimmed }.joined(separator: " "))\"")
        let output = "\(environment.postgres.directory)/psql.out"
        let binaries = try EmbeddedPostgres.findBinaries()
        let child = try ChildProcess(
            ["\(binaries)/psql", "-X", "-P", "footer=off", environment.url, "-c", query], output: output)
        child.wait()
        print((Files.text(output) ?? "").split(separator: "\n").map { "  \($0)" }.joined(separator: "\n"))
    }
}

extension Substring {
    fileprivate var trimmed: Substring { drop { $0 == " " } }
}
