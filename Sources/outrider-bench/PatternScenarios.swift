import EmbeddedPostgres
import Postgres
import Primitives
import Synchronization

/// P6 and P13: what order per key and fan-out cost.
enum PatternScenarios {
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
        _ stage: Stage, messages: Int, keys: Int = 1, copies: Int = 1, blocked: Int = 0
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
        try await stage.waitForCount(messages * copies)
        let rate = Double(messages * copies) / stage.span.seconds
        stage.end(worker)
        return rate
    }
}
