import Postgres
import Primitives

/// The demo's second part: orders as sagas. Some are undone, one waits for a person, one gets stuck, and the worker dies.
struct DemoSagas {
    let narrator: DemoNarrator
    let orders: [DemoOrder]
    let workflows: String

    private var services: DemoServices { narrator.environment.shop.services }
    private var session: Session { narrator.session }

    init(_ narrator: DemoNarrator, _ orders: [DemoOrder], workflows: String) {
        self.narrator = narrator
        self.orders = orders
        self.workflows = workflows
    }

    /// - Returns: whether the services' ledgers agree with the sagas, and the worker that is left.
    func run(_ worker: DemoWorker) async throws -> (Bool, DemoWorker) {
        services.takeRefunds(false)
        narrator.say(
            """
            Now orders as sagas, as \(workflows)/place-order.yaml says: stock is reserved, the card charged, the parcel shipped;
            what cannot go on is undone. \(orders.count) orders come in. Some cards are declined, some articles are out of stock,
            payments are busy now and then, lose an answer here and there, and are closed for refunds today.
            """)
        try narrator.outrider("start", "place-order", "\(DemoOrder.large.input)")
        let worker = try await placeAll(but: DemoOrder.large.number, worker)
        try await narrator.wait(for: "all orders but two", telling: progress) { try await atWork() == 0 }
        narrator.say("What was with the services when the worker died, and was sent again:")
        try narrator.psql(
            """
            select step, op, count(*) from outrider.saga_history
            where event = 'lost' group by 1, 2 order by 3 desc
            """)
        try await approve()
        try await repair()
        return (try await audit(), worker)
    }

    // MARK: - Orders come in

    /// - Returns: the worker that took over, for the first one is killed half-way.
    private func placeAll(but placed: Int, _ worker: DemoWorker) async throws -> DemoWorker {
        var worker = worker
        let orders = orders.filter { $0.number != placed }
        let size = max(1, orders.count / 12)
        for (group, start) in stride(from: 0, to: orders.count, by: size).enumerated() {
            try await place(orders[start..<min(start + size, orders.count)])
            if group % 3 == 2 { try await progress() }
            if group == 5 { worker = try await replace(worker) }
            try await Task.sleep(for: .milliseconds(100))
        }
        return worker
    }

    private func place(_ orders: ArraySlice<DemoOrder>) async throws {
        try await session.run { connection in
            for order in orders { try connection.query("select outrider.start_saga('place-order', \(order.input))") }
        }
    }

    private func replace(_ worker: DemoWorker) async throws -> DemoWorker {
        // Were its parcel under way, nobody could know that there is none, and the order would be stuck for that.
        try await narrator.wait(for: "the order that gets stuck") { try await count("stuck", DemoOrder.piano) == 1 }
        narrator.say("The worker dies in the middle of it.")
        narrator.tell("$ kill -9 \(worker.id)")
        worker.kill()
        try narrator.psql("select status, worker, count(*) from outrider.sagas group by 1, 2 order by 1, 2")
        let next = try await DemoWorker(name: "demo-2", narrator.environment, workflows: workflows)
        narrator.say("A new one, process \(next.id), takes its sagas over from their histories.")
        return next
    }

    // MARK: - A person is needed

    private func approve() async throws {
        narrator.say("One large order waits for somebody to look at it, who then lets it go:")
        try narrator.psql(
            """
            select saga, key, input->'total' as total, waiting_for
            from outrider.sagas where status = 'running'
            """)
        try narrator.outrider(
            "saga", "signal", "place-order/\(DemoOrder.large.number)", "review", "{\"approved\": true}")
        try await narrator.wait(for: "the approved order") { try await count("completed", DemoOrder.large) == 1 }
        try await progress()
    }

    private func repair() async throws {
        narrator.say(
            "One order is stuck: no carrier takes a piano, and the refund of its charge was refused. That needs a person:"
        )
        try narrator.psql(
            """
            select saga, key, waiting_for, trouble->>'detail' as trouble
            from outrider.sagas where status = 'stuck'
            """)
        try narrator.outrider("saga", "show", "place-order/\(DemoOrder.piano.number)")
        services.takeRefunds(true)
        narrator.say("Payments are open for refunds again, and the saga goes on where it was:")
        try narrator.outrider("saga", "retry", "place-order/\(DemoOrder.piano.number)")
        try await narrator.wait(for: "the repaired order") { try await count("compensated", DemoOrder.piano) == 1 }
        narrator.say("Its whole story, from the audit:")
        try narrator.psql(
            """
            select to_char(h.at - s.started_at, 'SS.MS') as sec, h.event, h.step, h.op, h.attempt as try,
                coalesce(h.detail->'error'->>'detail', h.detail->>'detail', h.detail->>'reason', h.detail->>'steps',
                    h.detail->>'by') as detail
            from outrider.saga_history h join outrider.sagas s on s.id = h.saga_id
            where s.key = '\(DemoOrder.piano.number)' order by h.seq
            """)
    }

    // MARK: - Watching

    /// Sagas that neither have ended nor wait for a person.
    private func atWork() async throws -> Int {
        try await narrator.count(
            """
            select count(*) from outrider.sagas
            where finished_at is null and status <> 'stuck' and waiting_for is distinct from 'review'
                and coalesce(waiting_for, '') not like 'review: the event%'
            """)
    }

    private func count(_ status: String, _ order: DemoOrder) async throws -> Int {
        try await narrator.count(
            "select count(*) from outrider.sagas where status = \(status) and key = \("\(order.number)")")
    }

    private func progress() async throws {
        let counts = try await session.run {
            try $0.query(
                """
                select coalesce(string_agg(n || ' ' || status, ', ' order by rank), 'none') from (
                    select status, count(*) as n, array_position(
                        array['running', 'compensating', 'stuck', 'completed', 'compensated'], status) as rank
                    from outrider.sagas group by 1) s
                """)[0].decode(0, as: String.self)
        }
        let ledger = services.ledger
        narrator.tell(
            "\(counts); charges: \(ledger.charges), refunds: \(ledger.refunds), parcels: \(ledger.parcels.count)")
    }

    // MARK: - In the end

    private func audit() async throws -> Bool {
        narrator.say("What became of them, and how long it took:")
        try narrator.psql(
            """
            select status, count(*), to_char(avg(finished_at - started_at), 'SS.MS') as avg_sec,
                to_char(max(finished_at - started_at), 'SS.MS') as max_sec
            from outrider.sagas group by 1 order by 1
            """)
        narrator.say("What was undone, and why:")
        try narrator.psql(
            """
            select failure->>'step' as failed_at, failure->>'type' as because, undone, count(*)
            from outrider.sagas s, lateral (
                select coalesce(string_agg(step, ', ' order by start_seq desc), 'nothing') as undone
                from outrider.saga_steps where saga_id = s.id and compensation_status = 'compensated') u
            where failure is not null group by 1, 2, 3 order by 4 desc
            """)
        narrator.say("How long the steps took, with all their tries:")
        try narrator.psql(
            """
            select step, count(*), sum(attempts) as tries,
                round(1000 * extract(epoch from avg(finished_at - started_at))) as avg_ms,
                round(1000 * extract(epoch from max(finished_at - started_at))) as max_ms
            from outrider.saga_steps where status = 'succeeded' group by 1 order by min(start_seq)
            """)
        // The warehouse hears of the last ones a moment later.
        try await narrator.wait(for: "the last messages") {
            try await narrator.count("select count(*) from outrider.deliveries") == 0
        }
        let outcomes = try await session.run { connection in
            try connection.query("select key, status from outrider.sagas").map {
                (Int(try $0.decode(0, as: String.self)) ?? 0, try $0.decode(1, as: String.self))
            }
        }
        let audit = DemoAudit(
            orders: orders, statuses: Dictionary(outcomes) { first, _ in first }, ledger: services.ledger,
            told: narrator.environment.shop.ledger.told)
        narrator.say("The services' own ledgers against the \(audit.completed.count) orders whose sagas completed:")
        for line in audit.lines { narrator.tell(line) }
        narrator.say(
            audit.differences.isEmpty
                ? "Every order is shipped and paid, or undone as if it had never been." : "THE LEDGERS DO NOT AGREE.")
        for difference in audit.differences { narrator.tell(difference) }
        return audit.differences.isEmpty
    }
}
