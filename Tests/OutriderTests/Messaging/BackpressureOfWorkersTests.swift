import EmbeddedPostgres
import HTTPClient
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Topics with limits, with a worker that counts what waits, and a handler that does not answer.
struct BackpressureOfWorkersTests {
    private static func workflows(_ topic: String, _ subscription: String = "") -> String {
        """
        \(Scene.mail("retry: { attempts: forever, initial: 100ms, multiplier: 1, jitter: none }\n\(subscription)"))
        ---
        topic: order.created
        \(topic)
        """
    }

    @Test func aTopicWhoseHandlerHangsRefusesAndTakesMoreWhenItHasCaughtUp() async throws {
        let topic = "max_backlog: 20"
        try await Scene.with(workflows: Self.workflows(topic, "concurrency: 4"), handler: .hangs) { scene in
            let worker = try await scene.worker(environment: ["OUTRIDER_LISTEN": "127.0.0.1:0"])
            let sidecar = try await Sidecar(of: worker)
            try await scene.publish(25)
            let full = try await scene.refusal("its topic is full, and the leader has told so") {
                $0.message == "topic order.created is full: subscription mail has 25 messages to deliver"
            }
            #expect(full.sqlState?.rawValue == "OR001")
            try await worker.waitForLog("topic.full")
            // Another topic of the same subscriber, and of none.
            try await scene.publish(1, topic: "order.paid")

            let answer = try await sidecar.post("/v1/topics/order.created", "{}")
            #expect(answer.status == 503)
            #expect(answer.text.contains("urn:outrider:OR001"))
            #expect(answer.headers["retry-after"] == "1")
            let metrics = try await sidecar.metrics()
            #expect(metrics[#"outrider_topic_backlog{topic="order.created"}"#] == 25)
            #expect(metrics[#"outrider_topic_full{topic="order.created"}"#] == 1)

            scene.handler.answerHeld()
            try await scene.waitUntilDelivered()
            try await eventually("it takes messages again") { try await scene.refusal() == nil }
            try await scene.waitUntilDelivered()
            try await worker.waitForLog("topic.open")
            #expect(
                try await scene.database.count("select count(*) from outrider.messages where topic = 'order.created'")
                    == 26)
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
        }
    }

    @Test func aPublisherThatWaitsGoesOnWhenTheHandlerDoes() async throws {
        let topic = "max_backlog: 5\noverflow: block\nblock_for: 1m"
        try await Scene.with(workflows: Self.workflows(topic), handler: .hangs) { scene in
            let worker = try await scene.worker(environment: ["OUTRIDER_LISTEN": "127.0.0.1:0"])
            let sidecar = try await Sidecar(of: worker)
            try await scene.publish(5)
            try await worker.waitForLog("topic.full")
            let waiting = Task { try await scene.publish(3) }
            try await eventually("the publisher waits") {
                try await scene.watched(
                    "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
                ) == 1
            }
            // The API has few connections, and makes its callers wait for themselves.
            #expect(try await sidecar.post("/v1/topics/order.created", "{}").status == 503)
            scene.handler.answerHeld()
            try await waiting.value
            try await scene.handler.wait(for: 8, at: "/mail")
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
        }
    }

    /// What is in the hands of the worker stays there, whatever comes.
    @Test func theNewestAreDroppedWhileAHandlerHangsAndCounted() async throws {
        let other = """
            ---
            subscription: bill
            topics: [ order.created ]
            deliver: { http: POST /bill, endpoint: shop }
            """
        let topic = "max_backlog: 10\noverflow: drop_newest\n\(other)"
        try await Scene.with(
            workflows: Self.workflows(topic, "concurrency: 2"),
            handler: .decides { $0.request.path == "/bill" ? .text("ok") : nil }
        ) { scene in
            let worker = try await scene.worker(environment: ["OUTRIDER_LISTEN": "127.0.0.1:0"])
            let sidecar = try await Sidecar(of: worker)
            try await scene.publish(10)
            try await scene.handler.wait(for: 10, at: "/bill")
            try await worker.waitForLog("topic.full")
            // What the other handler has answered counts until that is recorded, and a reading is used for a second.
            try await eventually("mail alone is full") {
                try await scene.database.value(
                    """
                    select coalesce(string_agg(s.name, ' '), '') from outrider.gate_full f
                    join outrider.subscription s on s.id = f.subscription_id
                    """, as: String.self) == "mail"
            }
            // Until then nothing was dropped, and afterwards all is.
            for _ in 0..<10 { try await scene.publish(2) }
            try await scene.handler.wait(for: 30, at: "/bill")
            #expect(
                try await scene.database.count("select count(*) from outrider.deliveries where subscription = 'mail'")
                    == 10)
            #expect(
                try await scene.database.value(
                    "select concat_ws(' ', topic, subscription, reason, count) from outrider.dropped", as: String.self)
                    == "order.created mail drop_newest 20")
            #expect(
                try await sidecar.metrics()[#"outrider_dropped_total{subscription="mail",reason="drop_newest"}"#] == 20)
            scene.handler.answerHeld()
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count("/mail") == 10)
            #expect(scene.handler.count("/bill") == 30)
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
        }
    }

    @Test func theOldestMakeRoomWhileAHandlerHangsAndAreCounted() async throws {
        let topic = "max_backlog: 10\noverflow: drop_oldest"
        try await Scene.with(workflows: Self.workflows(topic, "concurrency: 2"), handler: .hangs) { scene in
            let worker = try await scene.worker()
            try await scene.publish(2)
            try await scene.handler.wait(for: 2, at: "/mail")
            try await scene.publish(5000)
            try await eventually("the leader has made room") { try await scene.undelivered() == 10 }
            try await worker.waitForLog("deliveries.dropped")
            #expect(
                try await scene.database.value("select count from outrider.dropped", as: Int64.self) == 5002 - 10)
            scene.handler.answerHeld()
            try await scene.waitUntilDelivered()
            // The two that the worker had, and the eight newest.
            let payloads = Set(scene.handler.received(at: "/mail").map(\.body))
            #expect(payloads == Set(["{\"n\": 1}", "{\"n\": 2}"] + (4993...5000).map { "{\"n\": \($0)}" }))
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
        }
    }

    @Test func whatSagasPublishPassesAFullTopic() async throws {
        let saga = """
            ---
            saga: announce
            version: 1
            steps:
              - id: tell
                publish: { topic: order.created, payload: { from: saga } }
            """
        try await Scene.with(workflows: Self.workflows("max_backlog: 5\npublish_rate: 1/h\n\(saga)"), handler: .hangs) {
            scene in
            let worker = try await scene.worker()
            try await scene.publish(5)
            try await worker.waitForLog("topic.full")
            try await scene.database.query("select outrider.start_saga('announce', '{}')")
            try await eventually("the saga ends") {
                try await scene.database.count("select count(*) from outrider.sagas where status = 'completed'") == 1
            }
            #expect(try await scene.undelivered() == 6)
            worker.terminate()
            scene.handler.answerHeld()
            #expect(try await worker.exit() == .code(0))
        }
    }

    @Test func aRateIsTheAPIsToo() async throws {
        try await Scene.with(workflows: Self.workflows("publish_rate: 2/h")) { scene in
            let worker = try await scene.worker(environment: ["OUTRIDER_LISTEN": "127.0.0.1:0"])
            let sidecar = try await Sidecar(of: worker)
            let taken = try await sidecar.post("/v1/topics/order.created", "{}")
            #expect(taken.status == 202, "\(taken.text)")
            let answer = try await sidecar.post("/v1/topics/order.created", "{}")
            #expect(answer.status == 429)
            #expect(answer.text.contains("urn:outrider:OR002"))
            #expect((1200...1801).contains(try #require(answer.headers["retry-after"].flatMap { Int($0) })))
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
        }
    }
}

extension Scene {
    /// How a message of `order.created` is refused; nil when it is published.
    fileprivate func refusal() async throws -> PostgresError? {
        do {
            try await publish()
            return nil
        } catch let error as PostgresError {
            return error
        }
    }

    /// Asks, without publishing, until it is refused so.
    fileprivate func refusal(
        _ what: String, _ isMeant: @Sendable (PostgresError) -> Bool
    ) async throws -> PostgresError {
        var last: PostgresError?
        try await eventually(what) {
            do {
                try await database.execute(
                    "begin; insert into outrider.outbox (topic, payload) values ('order.created', '{}')")
                last = nil
            } catch let error as PostgresError {
                last = error
            }
            try await database.execute("rollback")
            return last.map(isMeant) ?? false
        }
        return try #require(last)
    }

    /// By a session of its own: that of the database may be waiting.
    fileprivate func watched(_ sql: SQL) async throws -> Int {
        let session = Session(database.url)
        let count = try await session.run { try $0.query(sql)[0].decode(0, as: Int64.self) }
        await session.close()
        return Int(count)
    }
}
