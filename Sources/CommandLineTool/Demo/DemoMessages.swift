import Postgres
import Primitives
import Store

/// The demo's first part: orders as messages, of which nothing is lost and nothing invented.
struct DemoMessages {
    let narrator: DemoNarrator
    let orders: Int
    private let services = ["email", "warehouse", "bills"]

    private var shop: DemoShop { narrator.environment.shop }
    private var session: Session { narrator.session }

    init(_ narrator: DemoNarrator, orders: Int) {
        self.narrator = narrator
        self.orders = orders
    }

    /// True when nothing was lost.
    func run() async throws -> Bool {
        narrator.say("The warehouse is down. \(orders) orders come in; every tenth transaction is rolled back.")
        shop.takeWarehouse(down: true)
        try await session.run {
            try $0.execute(script: "create schema shop; create table shop.orders (id int primary key, total numeric)")
        }
        for start in stride(from: 1, through: orders, by: 10) {
            try await place(start..<min(start + 10, orders + 1))
            if start % 100 == 91 { try await progress() }
        }
        narrator.say("The warehouse is back.")
        shop.takeWarehouse(down: false)
        try await narrator.wait(for: "all deliveries", telling: progress) { try await undelivered() == 0 }

        let letters = try await session.run {
            try Operations($0).deadLetters(.init(), limit: 100)
        }
        narrator.say(
            "Everything is delivered but \(letters.count) refused bills. The dead letters, as an operator sees them:")
        try narrator.psql(
            """
            select subscription, key, attempts, reason, last_error
            from outrider.dead_letters where redriven_at is null
            """)
        narrator.say(
            "The cards are unblocked, the letters redriven: select outrider.redrive(id) from outrider.dead_letters …")
        shop.unblockCards()
        _ = try await session.run { try Operations($0).redriveAll(subscription: "order-billing", before: nil) }
        try await narrator.wait(for: "the redriven bills", telling: progress) {
            let open = try await session.run {
                try Operations($0).deadLetters(.init(), limit: 1)
            }
            let waiting = try await undelivered()
            return open.isEmpty && waiting == 0
        }

        narrator.say("What happened, from the audit:")
        try narrator.psql(
            """
            select subscription, outcome, count(*), max(attempt) as most_attempts, max(left(error, 60)) as an_error
            from outrider.delivery_attempts group by 1, 2 order by 1, 2
            """)
        return try await compare()
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
        try await narrator.count("select count(*) from outrider.deliveries")
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
        let ledger = shop.ledger
        narrator.tell("\(line); the shop answered \(ledger.requests) requests, refused \(ledger.refusals)")
    }

    /// The shop's own ledgers against its own orders: Outrider's tables are not asked.
    private func compare() async throws -> Bool {
        let rows = try await session.run { connection in
            try connection.query("select id, total::int from shop.orders").map {
                (Int(try $0.decode(0, as: Int32.self)), Int(try $0.decode(1, as: Int32.self)))
            }
        }
        let ledger = shop.ledger
        let placed = Set(rows.map(\.0))
        var isComplete = true
        narrator.say("The shop's ledgers against its \(placed.count) orders:")
        for service in services {
            let expected = service == "bills" ? Set(rows.filter { $0.1 > 0 }.map(\.0)) : placed
            let done = ledger.orders[service] ?? []
            let (missing, invented) = (expected.subtracting(done), done.subtracting(expected))
            narrator.tell(
                "\(service): \(done.count) of \(expected.count) done, \(missing.count) missing, \(invented.count) of orders that were rolled back or need none"
            )
            if !missing.isEmpty || !invented.isEmpty { isComplete = false }
        }
        narrator.tell("requests that repeated a done one: \(ledger.repeats)")
        narrator.say(isComplete ? "Nothing was lost, nothing was invented." : "THE LEDGERS DO NOT AGREE.")
        return isComplete
    }
}
