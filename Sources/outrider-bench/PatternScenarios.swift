import EmbeddedPostgres
import Postgres
import Primitives
import Synchronization

/// P2, P6, P13: what batches bring, and what order per key and fan-out cost; and the price of each option.
enum PatternScenarios {
    /// P2: messages in batches of 100.
    static func batches(_ stage: Stage, rounds: Int, messages: Int) async throws -> [Figure] {
        stage.declare(subscriptions: 1, options: ["batch: { max: 100, linger: 5ms }"])
        try await stage.apply()
        var rates: [Double] = []
        for _ in 0..<rounds { rates.append(try await drain(stage, messages: messages, inBatches: true)) }
        stage.declare(subscriptions: 1)
        try await stage.apply()
        return [
            .atLeast(30_000, "P2", "messages per second in batches of 100, median of \(rounds)", rates.median, "/s"),
            .plain("P2", "slowest run", rates.min() ?? 0, "/s"),
        ]
    }

    /// An option of a subscription, what else it needs, and how many keys the messages have.
    struct Option: Sendable {
        let name: String
        let lines: [String]
        var documents: [String] = []
        var keys = 1
    }

    /// Those that change the way of each message, and do not bind.
    static let options = [
        Option(name: "ordered: true, 10,000 keys", lines: ["ordered: true"], keys: 10_000),
        Option(name: "ordered: true, 100 keys", lines: ["ordered: true"], keys: 100),
        Option(name: "concurrency_per_key: 4, 10,000 keys", lines: ["concurrency_per_key: 4"], keys: 10_000),
        Option(name: "filter: a plain path", lines: ["filter: ${ .payload.orderId }"]),
        Option(name: "filter: jq", lines: ["filter: ${ .payload.orderId > 0 }"]),
        Option(name: "audit: all", lines: ["audit: all"]),
        Option(name: "delivery: at-most-once", lines: ["delivery: at-most-once"]),
        Option(name: "rate that does not bind", lines: ["rate: 1000000/s"]),
        Option(
            name: "endpoint with concurrency, rate, breaker", lines: ["deliver: { http: POST /, endpoint: handler }"],
            documents: [
                "endpoint: handler\nurl: ${ $env.HANDLER }\nconcurrency: 1000\nrate: 1000000/s\nbreaker: { failures: 20 }"
            ]),
        Option(
            name: "topic with max_backlog and publish_rate", lines: [],
            documents: ["topic: bench.message\nmax_backlog: 1000000\npublish_rate: 1000000/s"]),
    ]

    /// P1 with an option, against P1 without, in interleaved pairs.
    static func prices(_ stage: Stage, pairs: Int, messages: Int) async throws -> [Figure] {
        var figures: [Figure] = []
        for option in options {
            var ratios: [Double] = []
            var rates: [Double] = []
            for _ in 0..<pairs {
                stage.declare(subscriptions: 1)
                try await stage.apply()
                let without = try await drain(stage, messages: messages, keys: option.keys)
                stage.declare(subscriptions: 1, options: option.lines, documents: option.documents)
                try await stage.apply()
                let with = try await drain(stage, messages: messages, keys: option.keys)
                ratios.append(with / without)
                rates.append(with)
            }
            figures.append(.plain("P1+", option.name, rates.median, "/s"))
            figures.append(.plain("P1+", "against P1 without it", ratios.median, ""))
        }
        stage.declare(subscriptions: 1)
        try await stage.apply()
        return figures
    }

    /// P6: 50,000 messages of free keys of an ordered subscription, with 100,000 behind two blocked keys and without them.
    static func blockedKeys(_ stage: Stage, pairs: Int, blocked: Int, free: Int) async throws -> [Figure] {
        stage.declare(subscriptions: 1, options: ["ordered: true", "on_exhausted: block"])
        try await stage.apply()
        stage.handler.blocks.store(true, ordering: .relaxed)
        var ratios: [Double] = []
        var rates: [Double] = []
        for _ in 0..<pairs {
            let without = try await drain(stage, messages: free, keys: 1000, blocked: 0)
            let with = try await drain(stage, messages: free, keys: 1000, blocked: blocked)
            ratios.append(with / without)
            rates.append(with)
        }
        stage.handler.blocks.store(false, ordering: .relaxed)
        stage.declare(subscriptions: 1)
        try await stage.apply()
        return [
            .plain("P6", "ordered deliveries per second, 1,000 keys", rates.median, "/s"),
            .atLeast(0.9, "P6", "with \(blocked) behind 2 blocked keys", ratios.median, ""),
        ]
    }

    /// P13: deliveries per second with ten subscriptions of a topic, against one.
    static func fanOut(_ stage: Stage, pairs: Int, messages: Int) async throws -> [Figure] {
        var ratios: [Double] = []
        var rates: [Double] = []
        for _ in 0..<pairs {
            let one = try await drain(stage, messages: messages * 10)
            stage.declare(subscriptions: 10, fansOut: true)
            try await stage.apply()
            let ten = try await drain(stage, messages: messages, copies: 10)
            stage.declare(subscriptions: 1)
            try await stage.apply()
            ratios.append(ten / one)
            rates.append(ten)
        }
        return [
            .plain("P13", "deliveries per second to 10 subscriptions", rates.median, "/s"),
            .atLeast(0.8, "P13", "against one subscription, median of \(pairs)", ratios.median, ""),
        ]
    }

    /// Deliveries per second of what waits when the subscriptions are resumed.
    private static func drain(
        _ stage: Stage, messages: Int, keys: Int = 1, copies: Int = 1, blocked: Int = 0, inBatches: Bool = false
    ) async throws -> Double {
        try await stage.forgetMessages()
        let worker = try await stage.readyWorker()
        if blocked > 0 {
            stage.handler.reset()
            try await stage.publish(2, keys: 2, prefix: "blocked")
            try await stage.waitForCount(2)
            try await stage.publish(blocked, keys: 2, prefix: "blocked")
        }
        try await stage.setPaused(true)
        try await stage.publish(messages, keys: keys)
        stage.handler.reset()
        try await stage.setPaused(false)
        if inBatches { try await stage.waitUntilDelivered() } else { try await stage.waitForCount(messages * copies) }
        let rate = Double(messages * copies) / stage.span.seconds
        stage.end(worker)
        return rate
    }
}
