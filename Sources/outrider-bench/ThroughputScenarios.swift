import EmbeddedPostgres
import Glibc
import HTTPClient
import HTTPServer
import Postgres
import Primitives
import Synchronization

/// P1, P5, P9, P11: how fast a full queue is drained, and what that costs.
enum ThroughputScenarios {
    /// 200,000 messages waiting, one subscription, against the HTTP client alone; with P9's and P11's figures of the same runs.
    static func drain(_ stage: Stage, pairs: Int, messages: Int) async throws -> [Figure] {
        var rates: [Double] = []
        var ratios: [Double] = []
        var wal: [Double] = []
        var commits: [Double] = []
        var peak = 0.0
        // Full-page images depend on when the last checkpoint was, not on us.
        try await stage.set("full_page_writes", "off")
        for _ in 0..<pairs {
            let baseline = try await clientRate(stage, requests: messages / 2)
            try await stage.forgetMessages()
            try await stage.publish(messages)
            try await stage.session.run { try $0.execute(script: "checkpoint") }
            stage.handler.reset()
            let before = try await counters(stage)
            let worker = try stage.worker()
            try await stage.waitForCount(messages)
            let rate = Double(messages) / stage.span.seconds
            try await stage.waitUntilDelivered()
            peak = max(peak, memory(worker.id, "VmHWM"))
            stage.end(worker)
            let after = try await counters(stage)
            rates.append(rate)
            ratios.append(rate / baseline)
            wal.append(Double(after.wal - before.wal) / Double(messages))
            commits.append(Double(after.commits - before.commits) / Double(messages))
        }
        try await stage.set("full_page_writes", nil)
        return [
            .atLeast(15_000, "P1", "deliveries per second, median of \(pairs)", rates.median, "/s"),
            .plain("P1", "slowest run", rates.min() ?? 0, "/s"),
            .atLeast(0.35, "P1", "share of the HTTP client alone, median", ratios.median, ""),
            .atMost(1024, "P9", "WAL per delivered message", wal.median, "bytes"),
            .atMost(0.03, "P9", "commits per delivered message", commits.median, ""),
            .atMost(60, "P11", "most memory while draining", peak, "MB"),
        ]
    }

    /// The same client in a process of its own against the same server.
    static func clientRate(_ stage: Stage, requests: Int) async throws -> Double {
        let output = "\(stage.folder)/client.out"
        unlink(output)
        let client = try ChildProcess([Stage.own, "--client", stage.handlerURL, String(requests)], output: output)
        while client.status == nil { try await Task.sleep(for: .milliseconds(20)) }
        guard let rate = Files.text(output).flatMap({ Double($0.split(separator: "\n").first ?? "") }) else {
            throw BenchError(description: "the baseline client failed: \(Files.text(output) ?? "no output")")
        }
        return rate
    }

    /// Child process: posts so many requests, 64 in flight, and prints the rate.
    static func runClient(url: String, requests: Int) async {
        let done = Atomic(0)
        let box = ClientBox()
        let headers = [
            "Content-Type: application/json", "Idempotency-Key: \"01a20cbb-5355-7a85-aebc-e0fb000002e6\"", "Expect:",
        ]
        let request = HTTPRequest(method: "POST", url: url, headers: headers, body: Array(Stage.payload.utf8))
        let finished = Atomic(false)
        let left = Atomic(requests - 64)
        let client = HTTPClient { exchanges in
            let total = done.add(exchanges.count, ordering: .relaxed).newValue
            var more: [HTTPRequest] = []
            for _ in exchanges where left.subtract(1, ordering: .relaxed).newValue >= 0 { more.append(request) }
            box.client.withLock { $0 }?.submit(more)
            if total >= requests { finished.store(true, ordering: .releasing) }
        }
        box.client.withLock { $0 = client }
        let began = ContinuousClock.now
        client.submit([HTTPRequest](repeating: request, count: 64))
        while !finished.load(ordering: .acquiring) { try? await Task.sleep(for: .milliseconds(1)) }
        print(Double(requests) / (ContinuousClock.now - began).seconds)
        box.client.withLock { $0 = nil }
        client.close()
    }

    private final class ClientBox: Sendable {
        let client = Mutex<HTTPClient?>(nil)
    }

    /// P5: a million waiting against ten thousand.
    static func backlog(_ stage: Stage, pairs: Int, messages: Int) async throws -> [Figure] {
        var ratios: [Double] = []
        var deep: [Double] = []
        for _ in 0..<pairs {
            var rate: [Double] = []
            for (count, rounds) in [(10_000, 12), (messages, 1)] {
                var time = Duration.zero
                for _ in 0..<rounds {
                    try await stage.forgetMessages()
                    try await stage.setPaused(true)
                    let worker = try await stage.readyWorker()
                    try await stage.publish(count)
                    stage.handler.reset()
                    try await stage.setPaused(false)
                    try await stage.waitForCount(count)
                    time += stage.span
                    stage.end(worker)
                }
                rate.append(Double(count * rounds) / time.seconds)
            }
            ratios.append(rate[1] / rate[0])
            deep.append(rate[1])
        }
        return [
            .plain("P5", "deliveries per second of \(messages) waiting", deep.median, "/s"),
            .atLeast(0.95, "P5", "against 10,000 waiting, median of \(pairs)", ratios.median, ""),
        ]
    }

    /// P11: an idle worker.
    static func idle(_ stage: Stage, seconds: Int) async throws -> [Figure] {
        try await stage.forgetMessages()
        // Its transactions would count as the worker's.
        try await stage.set("autovacuum", "off")
        stage.handler.reset()
        let worker = try await stage.readyWorker()
        try await stage.publish(1)
        try await stage.waitForCount(1)
        // A session that falls idle reports what it did up to ten seconds later (pgstat.c, PGSTAT_IDLE_INTERVAL).
        try await Task.sleep(for: .seconds(11))
        let before = try await counters(stage)
        let began = ContinuousClock.now
        try await Task.sleep(for: .seconds(seconds))
        let after = try await counters(stage)
        let measured = (ContinuousClock.now - began).seconds
        let resident = memory(worker.id, "VmRSS")
        stage.end(worker)
        try await stage.set("autovacuum", nil)
        return [
            .atMost(25, "P11", "memory when idle", resident, "MB"),
            // The two readings themselves are transactions of ours.
            .atMost(
                2, "P11", "queries per second when idle",
                Double(after.transactions - before.transactions - 1) / measured, "/s"),
        ]
    }

    struct Counters: Sendable {
        let wal: Int64
        let commits: Int64
        let transactions: Int64
    }

    static func counters(_ stage: Stage) async throws -> Counters {
        try await stage.session.run { connection in
            try connection.query("select pg_stat_force_next_flush()")
            // Other sessions' counters arrive within a second.
            try connection.query("select pg_sleep(1.2)")
            let row = try connection.query(
                """
                select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, xact_commit, xact_commit + xact_rollback
                from pg_stat_database where datname = current_database()
                """)[0]
            return Counters(
                wal: try row.decode(0, as: Int64.self), commits: try row.decode(1, as: Int64.self),
                transactions: try row.decode(2, as: Int64.self))
        }
    }

    /// In MB, from /proc (proc(5)).
    static func memory(_ process: Int32, _ field: String) -> Double {
        let line = Files.text("/proc/\(process)/status")?.split(separator: "\n").first { $0.hasPrefix(field) }
        let kilobytes = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap {
            Double($0)
        }
        return (kilobytes ?? .nan) / 1024
    }
}
