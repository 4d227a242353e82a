import Postgres
import Primitives
import Store
import TestSupport
import Testing
import WorkflowFiles

/// Keys in the database: who may take a slot, who hands it on, who finds what was left behind.
struct KeyTests {
    /// Its last message's worker cannot see what the publisher put behind it, and may not forget the key.
    @Test(arguments: ["commit", "rollback"])
    func aKeyIsNotForgottenWhileAPublisherOfItIsOpen(end: String) async throws {
        try await KeyScene.with { scene in
            try await scene.database.publish(key: "a")
            let claimed = try await scene.worker.claim(10)
            let publisher = Session(scene.database.url)
            try await publisher.execute("begin; select outrider.publish('order.created', '2', key => 'a')")
            #expect(try await scene.worker.acknowledge(claimed) == 0)
            #expect(try await scene.checks() == 1)
            // While it is open, looking at the key finds nothing and is repeated.
            try await scene.tend()
            #expect(try await scene.checks() == 1)
            try await publisher.execute(end)
            try await scene.tend()
            let next = try await scene.worker.claim(10)
            #expect(next.count == (end == "commit" ? 1 : 0))
            if !next.isEmpty { _ = try await scene.worker.acknowledge(next) }
            #expect(try await scene.left() == 0)
            await publisher.close()
        }
    }

    @Test func publishersOfOneKeyWaitForEachOther() async throws {
        try await KeyScene.with { scene in
            let first = Session(scene.database.url)
            try await first.execute("begin; select outrider.publish('order.created', '1', key => 'a')")
            let second = Session(scene.database.url)
            let waiting = Task { try await second.execute("select outrider.publish('order.created', '2', key => 'a')") }
            try await scene.database.waitForBlocked()
            // Of another key nobody waits, and neither does who publishes elsewhere.
            try await scene.database.publish(key: "b")
            try await scene.database.publish("order.paid", key: "a")
            try await first.execute("commit")
            try await waiting.value
            await second.close()
            #expect(try await scene.worker.claim(10).count == 2)
            await first.close()
        }
    }

    /// An old snapshot shows neither who was there nor who is gone.
    @Test func inARepeatableReadWhatIsPublishedWaitsForTheLeader() async throws {
        try await KeyScene.with { scene in
            let old = Session(scene.database.url)
            try await old.execute("begin isolation level repeatable read; select 1")
            try await scene.database.publish(key: "a")
            try await old.execute("select outrider.publish('order.created', '2', key => 'a'); commit")
            // Whoever comes later comes behind it.
            try await scene.database.publish(key: "a")
            #expect(try await scene.database.count("select count(*) from outrider.arrival") == 2)
            try await scene.tend()
            var seen: [String] = []
            for _ in 1...3 {
                let claimed = try await scene.worker.claim(10)
                seen += claimed.map { String(decoding: $0.message?.payload ?? [], as: UTF8.self) }
                _ = try await scene.worker.acknowledge(claimed)
            }
            #expect(seen == ["{}", "2", "{}"])
            #expect(try await scene.left() == 0)
            await old.close()
        }
    }

    @Test func slotsThatWereSettledAreStillTaken() async throws {
        try await KeyScene.with { scene in
            try await scene.database.publish(key: "a")
            try await scene.settle()
            #expect(try await scene.database.count("select count(*) from outrider.held_slot") == 1)
            try await scene.database.publish(key: "a")
            let first = try await scene.worker.claim(10)
            #expect(first.count == 1)
            _ = try await scene.worker.acknowledge(first)
            let second = try await scene.worker.claim(10)
            #expect(second.count == 1)
            try await scene.settle()
            _ = try await scene.worker.acknowledge(second)
            #expect(try await scene.left() == 0)
        }
    }

    /// Two workers that see the same rows, and take one each.
    @Test func slotsOfAKeyThatAreGivenBackAtOnceAreAllGivenBack() async throws {
        try await KeyScene.with(options: ["ordered": false, "concurrency_per_key": 3]) { scene in
            for isHeld in [false, true] {
                for _ in 1...3 { try await scene.database.publish(key: "a") }
                if isHeld { try await scene.settle() }
                #expect(try await scene.slots() == 3)
                let places = try await scene.database.values(
                    "select place from outrider.delivery order by 1", as: Int64.self)
                let first = Session(scene.database.url)
                let second = Session(scene.database.url)
                func giveBack(_ place: Int64, in session: Session) async throws {
                    try await session.run {
                        _ = try $0.query(
                            """
                            select outrider.advance(array[d.subscription_id], array[d.key], array[d.place])
                            from outrider.delivery d where d.place = \(place)
                            """)
                    }
                }
                try await first.execute("begin")
                try await giveBack(places[0], in: first)
                async let given: Void = giveBack(places[1], in: second)
                try await eventually("the second has done so, or waits for the first") {
                    try await scene.database.count(
                        """
                        select count(*) from pg_stat_activity
                        where datname = current_database() and query like '%outrider.advance%'
                            and (state = 'idle' or wait_event_type = 'Lock')
                        """) == 1
                }
                try await first.execute("commit")
                try await given
                #expect(try await scene.slots() == 1)
                try await giveBack(places[2], in: second)
                #expect(try await scene.slots() == 0)
                try await scene.database.execute("delete from outrider.delivery")
                await first.close()
                await second.close()
            }
        }
    }

    /// Its row would lie below the floor, seen by nobody.
    @Test func aLaneOfAnOpenPublisherIsNotSettled() async throws {
        try await KeyScene.with { scene in
            let publisher = Session(scene.database.url)
            try await publisher.execute("begin; select outrider.publish('order.created', '1', key => 'a')")
            try await scene.settle()
            #expect(try await scene.database.count("select count(*) from outrider.lane_floor") == 255)
            try await publisher.execute("commit")
            try await scene.database.publish(key: "a")
            #expect(try await scene.worker.claim(10).count == 1)
            await publisher.close()
        }
    }

    @Test func aKeysMessageThatIsTakenOverKeepsItsPlace() async throws {
        try await KeyScene.with { scene in
            for _ in 1...3 { try await scene.database.publish(key: "a") }
            let lost = try await Life.begin("lost", on: scene.database)
            let first = try await lost.claim(10)
            await lost.session.close()
            try await eventually("it is taken over") { try await scene.worker.beat().rescued == 1 }
            let again = try await scene.worker.claim(10)
            #expect(again.map(\.messageID) == first.map(\.messageID))
            #expect(try #require(again.first).id > (try #require(first.first)).id)
            // The lost one's answer counts no more, and lets nobody advance.
            #expect(try await lost.lateAnswer(first, on: scene.database) == 1)
            #expect(try await scene.worker.claim(10).isEmpty)
        }
    }

    /// Letters of a blocked key, given up in the middle of a crash loop.
    @Test func whatIsAbandonedBlocksItsKeyWhereTheFileSaysSo() async throws {
        try await KeyScene.with(options: ["on_exhausted": "block"]) { scene in
            for _ in 1...2 { try await scene.database.publish(key: "a") }
            try await scene.database.execute("update outrider.delivery set rescues = 5")
            let lost = try await Life.begin("lost", on: scene.database)
            _ = try await lost.claim(10)
            await lost.session.close()
            try await eventually("it is given up") { try await scene.worker.beat().rescued == 1 }
            #expect(try await scene.worker.claim(10).isEmpty)
            try await scene.database.query("select outrider.discard(id, 'known') from outrider.dead_letters")
            #expect(try await scene.worker.claim(10).count == 1)
        }
    }

    @Test func aRemovedSubscriptionForgetsItsKeys() async throws {
        try await KeyScene.with { scene in
            for _ in 1...3 { try await scene.database.publish(key: "a") }
            try await scene.database.apply(prunes: true)
            #expect(try await scene.left() == 0)
            #expect(
                try await scene.database.count("select count(*) from outrider.dead_letters where reason = 'removed'")
                    == 3)
            try await scene.subscribe()
            try await scene.database.publish(key: "a")
            #expect(try await scene.worker.claim(10).count == 1)
        }
    }

    @Test func aReplayJoinsTheEndsOfTheKeysInTheOrderOfPublishing() async throws {
        try await KeyScene.with { scene in
            for _ in 1...2 {
                try await scene.database.query(
                    """
                    insert into outrider.outbox (topic, key, payload)
                    select 'order.created', 'k' || n % 2, to_jsonb(n) from generate_series(1, 100) n
                    """)
                while true {
                    let claimed = try await scene.worker.claim(100)
                    if claimed.isEmpty { break }
                    _ = try await scene.worker.acknowledge(claimed)
                }
            }
            try await scene.database.query(
                "select outrider.replay('mail', now() - interval '1 hour', now(), key => 'k1')")
            try await scene.work()
            var seen: [Int] = []
            while true {
                let claimed = try await scene.worker.claim(100)
                if claimed.isEmpty { break }
                seen += claimed.compactMap { Int(String(decoding: $0.message?.payload ?? [], as: UTF8.self)) }
                #expect(claimed.allSatisfy { $0.isReplay && $0.isKeyed })
                _ = try await scene.worker.acknowledge(claimed)
            }
            let once = stride(from: 1, through: 99, by: 2).map { $0 }
            #expect(seen == once + once)
            #expect(try await scene.left() == 0)
        }
    }
}

/// A keyed subscription `mail`, and a worker.
private struct KeyScene {
    let database: TestDatabase
    let worker: Life
    let options: [String: JSON]

    static func with(
        options: [String: JSON] = [:], _ body: @escaping @Sendable (KeyScene) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            let scene = KeyScene(
                database: database, worker: try await Life.begin("worker", on: database), options: options)
            try await scene.subscribe()
            try await body(scene)
            await scene.worker.session.close()
        }
    }

    func subscribe() async throws {
        var content = Definition.content(of: "mail", to: ["order.created"]).object ?? JSONObject()
        content["ordered"] = true
        for option in options { content[option.key] = option.value }
        try await database.apply(.object(content))
    }

    /// What the leader does at a beat, whatever the time.
    func tend() async throws {
        try await database.query("update outrider.key_check set due_at = clock_timestamp()")
        try await database.query("select outrider.move_due()")
    }

    func slots() async throws -> Int {
        try await database.count(
            "select (select count(*) from outrider.active_slot) + (select count(*) from outrider.held_slot)")
    }

    /// As if much had been published meanwhile.
    func settle() async throws {
        try await database.query("select setval('outrider.place', nextval('outrider.place') + 100000)")
        try await database.query("select outrider.settle_slots(1000)")
    }

    /// Carries out all operations.
    func work() async throws {
        while try await database.count("select count(*) from outrider.operation where finished_at is null") > 0 {
            try await database.query("select outrider.operation_step(id) from outrider.operation")
        }
        try await tend()
    }

    func checks() async throws -> Int { try await database.count("select count(*) from outrider.key_check") }

    /// What keys hold, or have waiting.
    func left() async throws -> Int {
        try await database.count(
            """
            select (select count(*) from outrider.active_slot) + (select count(*) from outrider.held_slot)
                + (select count(*) from outrider.queued)
            """)
    }
}

extension Life {
    /// Reports success after its session has ended, as its next session does.
    fileprivate func lateAnswer(_ deliveries: [ClaimedDelivery], on database: TestDatabase) async throws -> Int {
        try await Life(token: token, session: Session(database.url)).acknowledge(deliveries)
    }
}
