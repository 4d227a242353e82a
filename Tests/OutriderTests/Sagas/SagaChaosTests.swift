import EmbeddedPostgres
import Glibc
import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// Hundreds of sagas while handlers fail, workers are killed, PostgreSQL crashes and operators cancel: judged by what the
/// handlers have in their own ledger, and by the history.
struct SagaChaosTests {
    /// `OUTRIDER_CHAOS=300` has 300 faults, and sagas in proportion.
    @Test func everySagaEndsWithAllOfItDoneOrAllOfItUndone() async throws {
        let faults = getenv("OUTRIDER_CHAOS").flatMap { Int(String(cString: $0)) } ?? 14
        try await SagaChaos(sagas: faults * 20, faults: faults).run()
    }
}

/// The seed of a run that failed brings the same faults again, though not the same moments.
struct SagaChaos {
    let sagas: Int
    let faults: Int
    var seed = UInt64.random(in: 0 ... .max)

    static let saga = """
        saga: order
        version: 1
        defaults:
          timeout: 1500ms
          retry: { attempts: 5, initial: 10ms, max: 100ms }
          compensate: { timeout: 1500ms, retry: { attempts: forever, initial: 10ms, max: 100ms } }
        steps:
          - id: reserve
            call: { http: POST /reserve/do, endpoint: shop, body: "${ .input.n }" }
            compensate: { call: { http: POST /reserve/undo, endpoint: shop } }
          - id: charge
            call: { http: POST /charge/do, endpoint: shop, body: "${ .input.n }" }
            compensate: { when: started, call: { http: POST /charge/undo, endpoint: shop } }
          - id: book
            call:
              sql: insert into public.book (saga, n) values ($1, 1)
              args: [ "${ .saga.id }" ]
            compensate:
              call:
                sql: insert into public.book (saga, n) values ($1, -1)
                args: [ "${ .saga.id }" ]
          - id: ship
            call: { http: POST /ship/do, endpoint: shop, body: "${ .input.n }" }
            compensate: { call: { http: POST /ship/undo, endpoint: shop } }
        """

    func run() async throws {
        print("seed of the saga chaos: \(seed)")
        var random = SplitMix(state: seed)
        let postgres = try EmbeddedPostgres.temporary(settings: [("max_connections", "100")])
        let ledger = Ledger(seed: seed)
        let handler = try HandlerServer(.decides { ledger.answer(to: $0) })
        let folder = TemporaryFolder()
        folder.write(Self.saga + Scene.shop, to: "order.yaml")
        let environment = [
            "OUTRIDER_DATABASE_URL": postgres.url(), "OUTRIDER_WORKFLOWS": folder.path, "OUTRIDER_EXPOSE_ENV": "SHOP",
            "SHOP": handler.url, "OUTRIDER_LEASE": "3s",
        ]
        #expect(try await RunningOutrider.run(["migrate"], environment: environment).exit == .code(0))
        #expect(try await RunningOutrider.run(["apply", folder.path], environment: environment).exit == .code(0))
        let session = Session(postgres.url())
        try await session.run {
            try $0.execute(
                script: """
                    create table public.book (saga text, n int);
                    grant insert on public.book to outrider_step;
                    """)
        }
        var workers = try (0..<3).map { _ in try RunningOutrider(["run"], environment: environment) }
        let batch = sagas / max(1, faults - 2)
        for fault in 0..<faults {
            try? await start(batch, session)
            let count = handler.count()
            _ = try? await eventually("sagas go on", within: .milliseconds(400)) { handler.count() > count + batch * 3 }
            try? await cancelSome(session)
            let victim = Int.random(in: workers.indices, using: &random)
            if fault % 30 == 7 {
                postgres.killServer()
                try postgres.start()
                continue
            }
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<7: workers[victim].kill9()
            case 7: workers[victim].terminate()
            case 8:
                workers[victim].freeze()
                let count = handler.count()
                _ = try? await eventually("others go on", within: .milliseconds(400)) { handler.count() > count + 50 }
                workers[victim].thaw()
                continue
            default:
                try? await perform(
                    """
                    select pg_terminate_backend(pid) from pg_stat_activity
                    where application_name like 'outrider %' order by random() limit 2
                    """, session)
                continue
            }
            workers[victim] = try RunningOutrider(["run"], environment: environment)
        }
        try await drain(session)
        let problems = try await judge(session, ledger)
        #expect(problems.isEmpty, "seed \(seed): \(problems.prefix(20).joined(separator: "\n"))")
        await session.close()
        _ = workers
        postgres.stop()
    }

    private func perform(_ sql: SQL, _ session: Session) async throws {
        try await session.run { _ = try $0.query(sql) }
    }

    private func start(_ count: Int, _ session: Session) async throws {
        try await perform(
            "select outrider.start_saga('order', jsonb_build_object('n', n)) from generate_series(1, \(Int32(count))) n",
            session)
    }

    private func cancelSome(_ session: Session) async throws {
        try await perform(
            """
            select outrider.cancel_saga(id, 'chaos') from outrider.sagas
            where finished_at is null and status = 'running' order by random() limit 3
            """, session)
    }

    /// A saga that was in the hands of five killed workers is parked: somebody has it tried again.
    private func drain(_ session: Session) async throws {
        func count(_ condition: String) async throws -> Int64 {
            try await session.run { connection in
                try connection.query("select count(*) from outrider.sagas where \(unsafeSQL: condition)")[0]
                    .decode(0, as: Int64.self)
            }
        }
        do {
            try await eventually("all sagas end", within: .seconds(60)) {
                try await perform(
                    """
                    select outrider.retry_saga(s.id) from outrider.saga s
                    where s.status = 'stuck' and s.owner is null
                        and not exists (select from outrider.saga_mail m where m.saga_id = s.id)
                    """, session)
                return try await count("finished_at is null") == 0
            }
        } catch {
            let left = try await session.run { connection in
                try connection.query(
                    """
                    select concat_ws(' ', s.id, s.status, s.waiting_for, s.worker, (select string_agg(concat_ws(' ', event, step, op, attempt), E'\\n  ' order by seq) from outrider.saga_history h where h.saga_id = s.id))
                    from outrider.sagas s where finished_at is null limit 3
                    """
                ).map { try $0.decode(0, as: String.self) }
            }
            throw NeverHappened(
                description:
                    "seed \(seed): \(error): \(try await count("finished_at is null")) are left, such as\n\(left.joined(separator: "\n"))"
            )
        }
    }

    // MARK: - Judging

    private struct Ended {
        var id: String
        var status: String
        var events: [String]
        var booked: Int
    }

    private func judge(_ session: Session, _ ledger: Ledger) async throws -> [String] {
        let ended = try await session.run { connection in
            try connection.query(
                """
                select s.id::text, s.status,
                    array(select concat_ws(' ', event, step, op) from outrider.saga_history h where h.saga_id = s.id order by seq),
                    coalesce((select sum(n) from public.book b where b.saga = s.id::text), 0)::int4,
                    (select count(*) from public.book b where b.saga = s.id::text and n > 0)::int4
                from outrider.sagas s
                """
            ).map { row in
                (
                    Ended(
                        id: try row.decode(0, as: String.self), status: try row.decode(1, as: String.self),
                        events: try row.decode(2, as: [String].self), booked: Int(try row.decode(3, as: Int32.self))),
                    Int(try row.decode(4, as: Int32.self))
                )
            }
        }
        var problems: [String] = []
        var statuses: [String: Int] = [:]
        for (saga, bookings) in ended {
            statuses[saga.status, default: 0] += 1
            problems += Self.judge(saga).map {
                "\(saga.id) \(saga.status): \($0)\n  \(saga.events.joined(separator: "\n  "))"
            }
            problems += ledger.judge(saga.id, isCompleted: saga.status == "completed").map {
                "\(saga.id) \(saga.status): \($0)\n  \(saga.events.joined(separator: "\n  "))"
            }
            if bookings > 1 { problems.append("\(saga.id): booked \(bookings) times") }
        }
        print("sagas by status: \(statuses); calls: \(ledger.count)")
        if statuses["completed", default: 0] == 0 || statuses["compensated", default: 0] == 0 {
            problems.append("nothing happened: \(statuses)")
        }
        if ended.count < sagas / 2 { problems.append("only \(ended.count) sagas were started") }
        return problems
    }

    /// By its history.
    private static func judge(_ saga: Ended) -> [String] {
        var problems: [String] = []
        let events = saga.events.filter { !$0.hasPrefix("late") && !$0.hasPrefix("refused") }
        if events.first != "begun" { problems.append("it begins with \(events.first ?? "nothing")") }
        if events.last != saga.status { problems.append("it ends with \(events.last ?? "nothing")") }
        if let abort = events.firstIndex(of: "aborting") {
            let sent = events[abort...].filter {
                ($0.hasPrefix("started") || $0.hasPrefix("sent")) && $0.hasSuffix("action")
            }
            if !sent.isEmpty { problems.append("actions after the abort: \(sent)") }
            if events[..<abort].contains(where: { $0.hasSuffix("compensate") }) {
                problems.append("undone before the abort")
            }
        }
        let expected = saga.status == "completed" ? 1 : 0
        if saga.booked != expected { problems.append("booked \(saga.booked)") }
        return problems
    }
}

/// The handlers' own account of what they did, by saga and step, in the order in which it reached them.
private final class Ledger: Sendable {
    private struct Entry {
        var isDone = false
        var isUndone = false
        var dones = 0
    }

    private struct State {
        var random: SplitMix
        var entries: [String: [String: Entry]] = [:]
        /// Sagas of which something was undone.
        var undoing: Set<String> = []
        var problems: [String: [String]] = [:]
        var balance = 0
        var count = 0
    }

    private let state: Mutex<State>

    init(seed: UInt64) {
        state = Mutex(State(random: SplitMix(state: seed ^ 0xABCD)))
    }

    var count: Int { state.withLock { $0.count } }

    func answer(to received: HandlerServer.Received) -> ServerResponse? {
        let parts = received.request.segments
        guard let saga = received.header("outrider-saga-id"), parts.count == 2 else { return .text("?", status: 400) }
        return state.withLock { state in
            state.count += 1
            return parts[1] == "do"
                ? Self.act(parts[0], saga, received, &state) : Self.undo(parts[0], saga, received, &state)
        }
    }

    private static func act(
        _ step: String, _ saga: String, _ received: HandlerServer.Received, _ state: inout State
    ) -> ServerResponse? {
        if state.undoing.contains(saga) {
            state.problems[saga, default: []].append("\(step) after something was undone")
        }
        if received.header("idempotency-key") != "\"\(saga)/\(step)/action\"" {
            state.problems[saga, default: []].append("\(step) has the key \(received.header("idempotency-key") ?? "")")
        }
        let fate = Int.random(in: 0..<100, using: &state.random)
        if state.entries[saga]?[step]?.isDone == true { return fate < 20 ? .text("", status: 503) : .text("known") }
        switch fate {
        case 0..<5: return .text("not done", status: 500)
        case 5..<10: return .text("", status: 429)
        case 10..<15: return .text("", status: 422)
        default:
            state.entries[saga, default: [:]][step, default: Entry()].isDone = true
            state.entries[saga]![step]!.dones += 1
            state.balance += 1
            return fate < 20 ? .text("done all the same", status: 500) : fate < 21 ? nil : .text("done")
        }
    }

    private static func undo(
        _ step: String, _ saga: String, _ received: HandlerServer.Received, _ state: inout State
    ) -> ServerResponse? {
        state.undoing.insert(saga)
        if received.header("outrider-forward-idempotency-key") != "\"\(saga)/\(step)/action\"" {
            state.problems[saga, default: []].append("undo of \(step) without its key")
        }
        let fate = Int.random(in: 0..<100, using: &state.random)
        if fate < 10 { return .text("not undone", status: 500) }
        let entry = state.entries[saga]?[step] ?? Entry()
        if entry.isDone, !entry.isUndone { state.balance -= 1 }
        state.entries[saga, default: [:]][step, default: Entry()].isUndone = true
        return fate < 20 ? .text("undone all the same", status: 500) : fate < 21 ? nil : .text("undone")
    }

    func judge(_ saga: String, isCompleted: Bool) -> [String] {
        state.withLock { state in
            var problems = state.problems[saga] ?? []
            let entries = state.entries[saga] ?? [:]
            for step in ["reserve", "charge", "ship"] {
                let entry = entries[step] ?? Entry()
                if isCompleted, !entry.isDone || entry.isUndone { problems.append("\(step) is not done") }
                if !isCompleted, entry.isDone, !entry.isUndone { problems.append("\(step) is not undone") }
                if entry.dones > 1 { problems.append("\(step) was done \(entry.dones) times") }
            }
            return problems
        }
    }
}
