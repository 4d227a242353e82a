import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Publish-subscribe: every subscription has a copy of its own, and what becomes of one is nothing to the others.
struct FanOutTests {
    @Test func everySubscriptionHasItsOwnTriesLettersAndRedrives() async throws {
        let workflows = ["sound", "flaky", "closed"].map { name in
            """
            subscription: \(name)
            topics: [ order.created ]
            deliver: { http: "POST ${ $env.SHOP }/\(name)" }
            retry: { attempts: 3, initial: 10ms }
            """
        }.joined(separator: "\n---\n")
        let handler = HandlerServer.Behaviour.decides { received in
            switch (received.request.path, received.header("outrider-attempt")) {
            case ("/flaky", "1"), ("/flaky", "2"): .text("busy", status: 503)
            case ("/closed", _): .text("no", status: 422)
            default: .text("ok")
            }
        }
        try await Scene.with(workflows: workflows, handler: handler) { scene in
            let workers = [try await scene.worker(), try await scene.worker()]
            try await scene.publish(20)
            try await scene.waitUntilDelivered()
            func ids(_ path: String) -> [String] {
                scene.handler.received(at: path).compactMap { $0.header("ce-id") }
            }
            #expect(ids("/sound").count == 20)
            #expect(ids("/flaky").count == 60)
            #expect(ids("/closed").count == 20)
            #expect(Set(ids("/sound")) == Set(ids("/flaky")) && Set(ids("/flaky")) == Set(ids("/closed")))
            #expect(
                try await scene.database.value(
                    "select string_agg(distinct subscription, ' ') || ' ' || count(*) from outrider.dead_letters",
                    as: String.self)
                    == "closed 20")
            try await scene.database.execute("select outrider.redrive(id) from outrider.dead_letters where key = 'k7'")
            try await scene.handler.wait(for: 21, at: "/closed")
            try await scene.waitUntilDelivered()
            #expect(ids("/sound").count == 20)
            #expect(ids("/flaky").count == 60)
            _ = workers
        }
    }

    @Test func oneThatIsPausedOrReplayedLeavesTheOthersAlone() async throws {
        let workflows = ["mail", "bill"].map { name in
            """
            subscription: \(name)
            topics: [ order.created ]
            deliver: { http: "POST ${ $env.SHOP }/\(name)" }
            """
        }.joined(separator: "\n---\n")
        try await Scene.with(workflows: workflows) { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            #expect(try await scene.command("subscription", "pause", "bill").exit == .code(0))
            let worker = try await scene.worker()
            try await scene.publish(50)
            try await scene.handler.wait(for: 50, at: "/mail")
            #expect(scene.handler.count("/bill") == 0)
            #expect(
                try await scene.command("subscription", "replay", "mail", "--from", "2020-01-01T00:00:00Z", "--wait")
                    .exit
                    == .code(0))
            try await scene.handler.wait(for: 100, at: "/mail")
            #expect(scene.handler.count("/bill") == 0)
            #expect(try await scene.command("subscription", "resume", "bill").exit == .code(0))
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count("/bill") == 50)
            #expect(scene.handler.count("/mail") == 100)
            #expect(scene.handler.received(at: "/bill").allSatisfy { $0.header("outrider-replay") == nil })
            _ = worker
        }
    }

    @Test func patternsAndFiltersDecideWhoGetsACopyAndNobodyGetsTwo() async throws {
        let takes = [
            ("exact", #"[ order.created ]"#, nil), ("one-part", #"[ "order.*" ]"#, nil),
            ("rest", #"[ "order.#" ]"#, nil),
            ("all", ##"[ "#" ]"##, nil), ("last", #"[ "*.created" ]"#, nil),
            ("twice", ##"[ order.created, "order.*", "#" ]"##, nil), ("filtered", ##"[ "#" ]"##, "${ .payload.n > 2 }"),
        ]
        let workflows = takes.map { name, topics, filter in
            """
            subscription: \(name)
            topics: \(topics)
            deliver: { http: "POST ${ $env.SHOP }/\(name)" }
            \(filter.map { "filter: \($0)" } ?? "")
            """
        }.joined(separator: "\n---\n")
        try await Scene.with(workflows: workflows) { scene in
            let workers = [try await scene.worker(), try await scene.worker()]
            try await scene.database.execute(
                """
                insert into outrider.outbox (topic, payload) values ('order.created', '{"n": 1}'), ('order.item.added', '{"n": 2}'),
                    ('order', '{"n": 3}'), ('invoice.created', '{"n": 4}'), ('orders.created', '{"n": 5}')
                """)
            try await scene.waitUntilDelivered()
            func seen(_ name: String) -> [String] {
                scene.handler.received(at: "/\(name)").compactMap { $0.header("ce-type") }.sorted()
            }
            let all = ["invoice.created", "order", "order.created", "order.item.added", "orders.created"]
            #expect(seen("exact") == ["order.created"])
            #expect(seen("one-part") == ["order.created"])
            #expect(seen("rest") == ["order", "order.created", "order.item.added"])
            #expect(seen("all") == all)
            #expect(seen("last") == ["invoice.created", "order.created", "orders.created"])
            #expect(seen("twice") == all)
            #expect(seen("filtered") == ["invoice.created", "order", "orders.created"])
            _ = workers
        }
    }

    /// Point-to-point: several workers are one consumer; a second subscription is a second one.
    @Test func workersCompeteForEachSubscriptionsCopies() async throws {
        let workflows = ["mail", "bill"].map { name in
            """
            subscription: \(name)
            topics: [ order.created ]
            deliver: { http: "POST ${ $env.SHOP }/\(name)" }
            concurrency: 4
            """
        }.joined(separator: "\n---\n")
        try await Scene.with(workflows: workflows) { scene in
            let workers = [try await scene.worker(), try await scene.worker(), try await scene.worker()]
            try await scene.publish(2000)
            try await scene.waitUntilDelivered()
            for path in ["/mail", "/bill"] {
                let ids = scene.handler.received(at: path).compactMap { $0.header("ce-id") }
                #expect(ids.count == 2000)
                #expect(Set(ids).count == 2000)
            }
            _ = workers
        }
    }
}
