import EmbeddedPostgres
import Glibc
import Postgres
import Primitives

/// P7, P8: sagas of HTTP steps, how many and how soon; and what their number of steps and sleeping sagas cost.
enum SagaScenarios {
    /// 20,000 started, three steps each.
    static func throughput(_ stage: Stage, pairs: Int, sagas: Int) async throws -> [Figure] {
        var rates: [Double] = []
        var peak = 0.0
        for _ in 0..<pairs {
            let run = try await drain(stage, saga: "bench-3", steps: 3, sagas: sagas)
            rates.append(run.rate)
            peak = max(peak, run.peak)
        }
        return [
            .atLeast(2500, "P7", "3-step sagas completed per second, median of \(pairs)", rates.median, "/s"),
            .plain("P7", "slowest run", rates.min() ?? 0, "/s"),
            .plain("P7", "most memory", peak, "MB"),
        ]
    }

    /// The same number of calls in sagas of other lengths, and with sleeping sagas lying around.
    static func shapes(_ stage: Stage, calls: Int, sleeping: Int) async throws -> [Figure] {
        var figures: [Figure] = []
        for steps in [1, 3, 10] {
            let run = try await drain(stage, saga: "bench-\(steps)", steps: steps, sagas: calls / steps)
            figures.append(.plain("P7", "calls per second in sagas of \(steps) steps", run.rate * Double(steps), "/s"))
        }
        let alone = try await drain(stage, saga: "bench-3", steps: 3, sagas: calls / 3).rate
        try await stage.forgetSagas()
        try await stage.startSagas("bench-sleeper", sleeping)
        let worker = try await stage.readyWorker()
        try await stage.waitUntil("(select count(*) from outrider.saga where waiting_for is not null) >= \(sleeping)")
        stage.end(worker)
        let crowded = try await drain(stage, saga: "bench-3", steps: 3, sagas: calls / 3, forgets: false)
        figures.append(.plain("P7", "with \(sleeping) sleeping sagas, against without", crowded.rate / alone, ""))
        figures.append(.plain("P7", "most memory with them", crowded.peak, "MB"))
        return figures
    }

    private static func drain(
        _ stage: Stage, saga: String, steps: Int, sagas: Int, forgets: Bool = true
    ) async throws -> (rate: Double, peak: Double) {
        if forgets { try await stage.forgetSagas() }
        try await stage.startSagas(saga, sagas)
        try await stage.session.run { try $0.execute(script: "checkpoint") }
        stage.handler.reset()
        let worker = try stage.worker()
        try await stage.waitForCount(sagas * steps)
        try await stage.waitUntil(
            "(select count(*) from outrider.saga where name = '\(saga)' and finished_at is null) = 0")
        let peak = ThroughputScenarios.memory(worker.id, "VmHWM")
        stage.end(worker)
        let ends = try await stage.session.run { connection in
            let row = try connection.query(
                """
                select extract(epoch from max(finished_at) - (select min(at) from outrider.saga_fact f
                        join outrider.saga s on s.id = f.saga_id and s.name = \(saga)))::float8,
                    (select count(*) from outrider.saga_fact f
                        join outrider.saga s on s.id = f.saga_id and s.name = \(saga))
                from outrider.saga where name = \(saga) and status = 'completed'
                """)[0]
            return (try row.decode(0, as: Double.self), try row.decode(1, as: Int64.self))
        }
        let facts = Int64(sagas * (2 + 2 * steps))
        guard ends.1 == facts else {
            throw BenchError(description: "the history has \(ends.1) rows; expected \(facts)")
        }
        return (Double(sagas) / ends.0, peak)
    }

    /// P8: one saga after the other on an idle system, from the commit of its start to its end.
    static func latency(_ stage: Stage, sagas: Int) async throws -> [Figure] {
        let three = try await times(stage, "bench-3", sagas: sagas)
        var figures: [Figure] = [
            .atMost(15, "P8", "a saga of 3 steps, p50", three.median, "ms"),
            .plain("P8", "a saga of 3 steps, p99", three.percentile(0.99), "ms"),
        ]
        for steps in [1, 10] {
            let times = try await times(stage, "bench-\(steps)", sagas: sagas / 3)
            figures.append(.plain("P8", "a saga of \(steps) steps, p50", times.median, "ms"))
        }
        return figures
    }

    /// How long sagas took, in milliseconds.
    private static func times(_ stage: Stage, _ saga: String, sagas: Int) async throws -> [Double] {
        try await stage.forgetSagas()
        let worker = try await stage.readyWorker()
        for _ in 0..<sagas {
            try await stage.startSagas(saga, 1)
            try await stage.waitUntil("not exists (select from outrider.saga where finished_at is null)")
            try await Task.sleep(for: .milliseconds(Int.random(in: 5...60)))
        }
        stage.end(worker)
        return try await stage.session.run { connection in
            try connection.query(
                "select (extract(epoch from finished_at - started_at) * 1000)::float8 from outrider.saga where name = \(saga)"
            ).map { try $0.decode(0, as: Double.self) }
        }
    }
}

extension Stage {
    func startSagas(_ saga: String, _ count: Int) async throws {
        try await session.run { connection in
            _ = try connection.query(
                """
                select count(outrider.start_saga(\(saga), \(Self.payload)::jsonb)) from generate_series(1, \(Int32(count)))
                """)
        }
    }

    func forgetSagas() async throws {
        try await session.run {
            try $0.execute(
                script: """
                    truncate outrider.saga, outrider.saga_fact, outrider.saga_key, outrider.saga_mail, outrider.saga_callback;
                    truncate outrider.delivery; truncate outrider.scheduled; truncate outrider.outbox
                    """)
        }
    }

    func waitUntil(_ condition: String, patience: Duration = .seconds(120)) async throws {
        let end = ContinuousClock.now + patience
        while try await !session.run({ try $0.query("select \(unsafeSQL: condition)")[0].decode(0, as: Bool.self) }) {
            guard ContinuousClock.now < end else { throw BenchError(description: "never became true: \(condition)") }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
