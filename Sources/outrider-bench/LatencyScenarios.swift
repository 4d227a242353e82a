import EmbeddedPostgres
import Glibc
import HTTPClient
import Postgres
import Primitives
import Synchronization

/// P3, P4, P12, P14: how soon.
enum LatencyScenarios {
    /// P3: 100 messages a second on an idle system, from the commit to the handler.
    static func commitToHandler(_ stage: Stage, seconds: Int) async throws -> [Figure] {
        try await stage.forgetMessages()
        let worker = try await stage.readyWorker()
        stage.handler.reset()
        stage.handler.notesArrivals.store(true, ordering: .relaxed)
        var committed: [String: ContinuousClock.Instant] = [:]
        let began = ContinuousClock.now
        for number in 0..<seconds * 100 {
            try await Task.sleep(until: began + .milliseconds(10) * number, clock: .continuous)
            let message = try await stage.publishOne()
            committed[message.id] = message.at
        }
        try await stage.waitForCount(committed.count)
        stage.handler.notesArrivals.store(false, ordering: .relaxed)
        let delays = stage.handler.arrivals.withLock { $0 }.compactMap { arrival in
            // The handler may be faster than the answer to COMMIT is on its way to us.
            committed[arrival.id].map { max(0, (arrival.at - $0).seconds * 1000) }
        }
        stage.end(worker)
        return [
            .atMost(3, "P3", "commit to handler, p50", delays.percentile(0.5), "ms"),
            .atMost(10, "P3", "commit to handler, p99", delays.percentile(0.99), "ms"),
        ]
    }

    /// What comes in while a snapshot is held open.
    enum Load: String {
        /// 2,000 messages a second.
        case plain = ""
        /// As many, over 1,000 keys.
        case ordered = "ordered: "
        /// 200 sagas of three steps a second.
        case sagas = "sagas: "
    }

    /// P4: with and without a snapshot that is held open all the while.
    static func oldSnapshot(_ stage: Stage, _ load: Load, seconds: Int) async throws -> [Figure] {
        if load == .ordered {
            stage.declare(subscriptions: 1, options: ["ordered: true"])
            try await stage.apply()
        }
        func run(holding: Bool) async throws -> (rate: Double, claim99: Double) {
            try await stage.forgetMessages()
            try await stage.forgetSagas()
            let holder = Session(stage.url)
            if holding {
                try await holder.run {
                    try $0.execute(
                        script: "begin isolation level repeatable read; select 1 from outrider.delivery limit 1")
                }
            }
            let worker = try await stage.readyWorker(listen: "127.0.0.1:7979")
            stage.handler.reset()
            let began = ContinuousClock.now
            for step in 0..<seconds * 50 {
                try await Task.sleep(until: began + .milliseconds(20) * step, clock: .continuous)
                if load == .sagas {
                    try await stage.startSagas("bench-3", 4)
                } else {
                    // Other keys each time.
                    try await stage.publish(40, keys: 40, prefix: "customer-\(step % 25)")
                }
            }
            let requests = seconds * (load == .sagas ? 600 : 2000)
            try await stage.waitForCount(requests)
            let rate = Double(requests) / stage.span.seconds
            let claim99 = try await claimPercentile(0.99, of: load == .sagas ? "sagas" : "deliveries", stage)
            stage.end(worker)
            await holder.close()
            return (rate, claim99)
        }
        let free = try await run(holding: false)
        let held = try await run(holding: true)
        if load == .ordered {
            stage.declare(subscriptions: 1)
            try await stage.apply()
        }
        let kind = load.rawValue
        return [
            .atLeast(0.97, "P4", "\(kind)throughput under a snapshot held \(seconds) s", held.rate / free.rate, ""),
            .plain("P4", "\(kind)claim p99 without the snapshot", free.claim99 * 1000, "ms"),
            .atMost(1.2, "P4", "\(kind)claim p99 with it, against that", held.claim99 / free.claim99, ""),
        ]
    }

    /// From the worker's histogram, interpolated within its bucket.
    private static func claimPercentile(_ share: Double, of kind: String, _ stage: Stage) async throws -> Double {
        let caller = HTTPCaller()
        defer { caller.close() }
        let metrics = try await caller.send(HTTPRequest(url: "http://127.0.0.1:7979/metrics")).result.get()
        let lines = String(decoding: metrics.body, as: UTF8.self).split(separator: "\n")
        let buckets = lines.compactMap { line -> (bound: Double, count: Double)? in
            guard line.hasPrefix("outrider_claim_duration_seconds_bucket{kind=\"\(kind)\","),
                let bound = line.split(separator: "\"").dropLast().last,
                let count = line.split(separator: " ").last.flatMap({ Double($0) })
            else { return nil }
            return (Double(bound) ?? .infinity, count)
        }
        guard let total = buckets.last?.count else {
            throw BenchError(description: "the worker shows no claim durations")
        }
        var below = (bound: 0.0, count: 0.0)
        for bucket in buckets {
            if bucket.count >= total * share {
                return below.bound + (bucket.bound - below.bound) * (total * share - below.count)
                    / max(1, bucket.count - below.count)
            }
            below = bucket
        }
        return below.bound
    }

    /// P12: from kill -9 of the worker that has a message to its arrival from another one.
    static func takeOver(_ stage: Stage, rounds: Int) async throws -> [Figure] {
        try await stage.forgetMessages()
        var delays: [Double] = []
        var idle = try await stage.readyWorker()
        for _ in 0..<rounds {
            let busy = idle
            stage.handler.reset()
            stage.handler.hangs.store(true, ordering: .relaxed)
            try await stage.publish(1)
            try await stage.waitForCount(1)
            idle = try await stage.readyWorker()
            stage.handler.hangs.store(false, ordering: .relaxed)
            stage.handler.reset()
            // At a moment of its own within the survivor's beat.
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...600)))
            let killed = ContinuousClock.now
            busy.kill(SIGKILL)
            try await stage.waitForCount(1)
            delays.append((ContinuousClock.now - killed).seconds * 1000)
        }
        stage.end(idle)
        return [
            .plain("P12", "kill -9 to redelivery, median of \(rounds)", delays.median, "ms"),
            .atMost(1000, "P12", "kill -9 to redelivery, p99", delays.percentile(0.99), "ms"),
        ]
    }

    /// P14: from the start of the process to the arrival of a message that waits, with 15 definitions.
    static func start(_ stage: Stage, rounds: Int) async throws -> [Figure] {
        try await stage.forgetMessages()
        stage.declare(subscriptions: 15)
        var delays: [Double] = []
        for _ in 0..<rounds + 1 {
            try await stage.publish(1)
            stage.handler.reset()
            let began = ContinuousClock.now
            let worker = try stage.worker()
            try await stage.waitForCount(1)
            delays.append((ContinuousClock.now - began).seconds * 1000)
            stage.end(worker)
        }
        stage.declare(subscriptions: 1)
        // The first round applied the definitions to the database for the first time: part of the truth, so it counts.
        return [
            .atMost(300, "P14", "start to first delivery, 15 definitions, median", delays.median, "ms"),
            .plain("P14", "the slowest of \(delays.count)", delays.max() ?? .nan, "ms"),
        ]
    }
}
