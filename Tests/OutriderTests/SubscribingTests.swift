import EmbeddedPostgres
import Postgres
import Primitives
import TestSupport
import Testing

/// Subscriptions that come and go while publishers and workers are at work.
struct SubscribingTests {
    @Test func fromEarliestBringsEveryMessageOnceWhateverWasOpenMeanwhile() async throws {
        try await Scene.with(options: "from: earliest") { scene in
            try await scene.publish(20)
            let (early, late) = (Session(scene.database.url), Session(scene.database.url))
            func run(_ session: Session, _ script: String) async throws {
                try await session.run { try $0.execute(script: script) }
            }
            let publish = "insert into outrider.outbox (topic, payload) values ('order.created', '{}')"
            try await run(early, "begin; \(publish)")
            try await run(late, "begin isolation level repeatable read; select count(*) from outrider.outbox")
            let worker = try await scene.worker()
            try await run(late, publish)
            try await scene.publish(20)  // waits for nobody
            try await eventually("the opening waits") {
                try await scene.database.value("select status from outrider.operations", as: String.self) == "waiting"
            }
            #expect(scene.handler.count() == 0)
            try await run(early, "commit")
            try await scene.publish(20)
            #expect(
                try await scene.database.value("select status from outrider.operations", as: String.self) == "waiting")
            try await run(late, "commit")
            try await scene.handler.wait(for: 62)
            try await eventually("the opening is finished") {
                try await scene.database.value("select status from outrider.operations", as: String.self)
                    == "finished"
            }
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count() == 62)
            #expect(Set(scene.deliveredIDs).count == 62)
            #expect(scene.handler.received.allSatisfy { $0.header("outrider-replay") == nil })
            _ = worker
            await early.close()
            await late.close()
        }
    }

    @Test func aWorkerWithAnOlderFolderBringsNothingBackThatWasPruned() async throws {
        try await Scene.with { scene in
            let first = try await scene.worker()
            try await scene.publish()
            try await scene.handler.wait(for: 1)
            scene.folder.write(
                """
                subscription: other
                topics: [ order.paid ]
                deliver: { http: "POST http://127.0.0.1:9/other" }
                """, to: "newer/other.yaml")
            let applied = try await scene.command("apply", "--prune", "\(scene.folder.path)/newer")
            #expect(applied.exit == .code(0), "\(applied.errors)")
            let second = try await scene.worker()
            #expect(second.log.contains("definition.superseded"))
            #expect(
                try await scene.database.value(
                    "select string_agg(name, ' ' order by name) from outrider.subscriptions", as: String.self)
                    == "other")
            try await scene.publish(5)
            #expect(try await scene.undelivered() == 0)
            #expect(try await scene.deadLetters() == 0)
            #expect(scene.handler.count() == 1)
            // The one that ran all along serves it no more, and goes on.
            first.terminate()
            #expect(try await first.exit() == .code(0))
        }
    }

    @Test func whatWasPublishedWhileItWasPrunedIsALetterThatComesAfterAll() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            let publisher = Session(scene.database.url)
            try await publisher.run {
                try $0.execute(
                    script:
                        "begin; insert into outrider.outbox (topic, payload) values ('order.created', '\"open\"')")
            }
            scene.folder.write(
                """
                subscription: other
                topics: [ order.paid ]
                deliver: { http: "POST http://127.0.0.1:9/other" }
                """, to: "newer/other.yaml")
            #expect(try await scene.command("apply", "--prune", "\(scene.folder.path)/newer").exit == .code(0))
            try await publisher.run { try $0.execute(script: "commit") }
            // The leader comes round once a minute; the next start does not wait for it.
            worker.terminate()
            #expect(try await worker.exit() == .code(0))
            let next = try await scene.worker(["--serve", "all"])
            try await eventually("it is a dead letter", within: .seconds(30)) { try await scene.deadLetters() == 1 }
            #expect(
                try await scene.database.value("select reason from outrider.dead_letters", as: String.self)
                    == "removed")
            #expect(
                try await scene.command("apply", "\(scene.folder.path)/workflows").exit == .code(0))
            #expect(
                try await scene.command("dead-letters", "redrive", "--subscription", "mail").exit == .code(0))
            try await scene.handler.wait(for: 1, at: "/mail")
            #expect(scene.handler.received[0].body == "\"open\"")
            _ = next
            await publisher.close()
        }
    }
}
