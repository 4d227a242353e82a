import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// Order per key: one message of a key at a time, in the order of commits, whatever workers, handlers and operators do.
struct OrderTests {
    @Test func handlersHaveOneMessageOfAKeyAtATime() async throws {
        try await Scene.with(options: "ordered: true", handler: .hangs) { scene in
            let workers = [try await scene.worker(), try await scene.worker()]
            for _ in 1...5 { try await scene.publish(1, key: "a") }
            try await scene.publish(5, key: "b")
            try await scene.handler.wait(for: 2)
            #expect(try await scene.states() == ["blocked 8", "in_flight 2"])
            #expect(try await scene.database.value("select blocked from outrider.queue_depth", as: Int64.self) == 8)
            scene.handler.answerHeld()
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count() == 10)
            for key in ["a", "b"] { #expect(scene.numbers(of: key).sorted() == scene.numbers(of: key)) }
            try await scene.expectNoSlots()
            _ = workers
        }
    }

    @Test func messagesWithoutAKeyAreNotOrdered() async throws {
        try await Scene.with(options: "ordered: true", handler: .hangs) { scene in
            let worker = try await scene.worker()
            try await scene.database.execute(
                "insert into outrider.outbox (topic, payload) select 'order.created', '{}' from generate_series(1, 5)")
            try await scene.handler.wait(for: 5)
            #expect(scene.handler.received.allSatisfy { $0.header("outrider-fence") == nil })
            _ = worker
        }
    }

    /// The truth is told by a sequence that each publisher draws from while it holds its key's lane.
    @Test func overlappingPublishersArePutIntoTheOrderOfTheirCommits() async throws {
        try await Scene.with(options: "ordered: true") { scene in
            let workers = [try await scene.worker(), try await scene.worker()]
            try await scene.database.execute(
                "create table truth (n bigint generated always as identity, id uuid, key text)")
            let url = scene.database.url
            try await withThrowingTaskGroup(of: Void.self) { group in
                for publisher in 0..<8 {
                    group.addTask {
                        let session = Session(url)
                        for round in 0..<25 {
                            let key = "key-\((publisher + round) % 5)"
                            let isolation = round % 5 == 4 ? "repeatable read" : "read committed"
                            try await session.run { connection in
                                try connection.execute(script: "begin isolation level \(isolation); select 1")
                                try connection.query(
                                    """
                                    with m as (select outrider.publish('order.created', '{}', key => \(key)) as id)
                                    insert into truth (id, key) select m.id, \(key) from m
                                    """)
                                try connection.query("select pg_sleep(\(Double(round % 4) / 1000))")
                                try connection.execute(script: round % 7 == 6 ? "rollback" : "commit")
                            }
                        }
                        await session.close()
                    }
                }
                try await group.waitForAll()
            }
            try await scene.waitUntilDelivered()
            for key in 0..<5 {
                let truth = try await scene.database.run { connection in
                    try connection.query("select id::text from truth where key = \("key-\(key)") order by n")
                        .map { try $0.decode(0, as: String.self) }
                }
                #expect(scene.ids(of: "key-\(key)") == truth)
            }
            try await scene.expectNoSlots()
            _ = workers
        }
    }

    /// Handlers that fail, workers that are killed and frozen: a message may come again, never a later one first.
    @Test func nothingOvertakesThroughRetriesAndCrashes() async throws {
        let ledger = KeyLedger(failsEach: 7)
        let options = "ordered: true\nretry: { attempts: forever, initial: 5ms, max: 20ms }"
        try await Scene.with(options: options, handler: ledger.behaviour) { scene in
            var workers: [RunningOutrider] = []
            for _ in 0..<3 { workers.append(try await scene.worker()) }
            for round in 0..<40 {
                try await scene.database.query(
                    """
                    insert into outrider.outbox (topic, key, payload)
                    select 'order.created', 'k' || k, to_jsonb(\(Int32(round)) * 5 + n)
                    from generate_series(1, 20) k, generate_series(1, 5) n order by n, k
                    """)
                switch round {
                case 8, 24:
                    try await scene.handler.wait(for: scene.handler.count() + 20)
                    workers.removeFirst().kill9()
                    workers.append(try await scene.worker())
                case 16, 32:
                    workers[0].freeze()
                    try await eventually("the others take over from the frozen one") {
                        try await scene.database.count("select count(*) from outrider.workers") == 2
                    }
                    workers[0].thaw()
                default: break
                }
            }
            try await scene.waitUntilDelivered(within: .seconds(60))
            #expect(ledger.violations == [])
            for key in 1...20 { #expect(ledger.done("k\(key)") == Array(1...200)) }
            try await scene.expectNoSlots()
        }
    }

    @Test func theFenceGrowsWithEachSendOfAKey() async throws {
        let ledger = KeyLedger(failsEach: 3)
        try await Scene.with(
            options: "ordered: true\nretry: { attempts: forever, initial: 5ms, max: 5ms }", handler: ledger.behaviour
        ) { scene in
            let worker = try await scene.worker()
            try await scene.database.execute(
                "insert into outrider.outbox (topic, key, payload) select 'order.created', 'k', to_jsonb(n) from generate_series(1, 20) n"
            )
            try await scene.waitUntilDelivered()
            let fences = scene.handler.received.compactMap { $0.header("outrider-fence").flatMap { Int64($0) } }
            #expect(fences.count == scene.handler.count() && fences.count > 20)
            #expect(zip(fences, fences.dropFirst()).allSatisfy { $0 < $1 })
            _ = worker
        }
    }

    // MARK: - Dead letters

    @Test func afterADeadLetterTheKeyGoesOn() async throws {
        try await Scene.with(options: "ordered: true", handler: .refusing("2")) { scene in
            let worker = try await scene.worker()
            try await scene.publishNumbers(4, key: "a")
            try await scene.waitUntilDelivered()
            #expect(scene.handler.received.map(\.body) == ["1", "2", "3", "4"])
            #expect(try await scene.deadLetters() == 1)
            // What is sent again joins the end.
            try await scene.publishNumbers(1, key: "a")
            try await scene.database.query("select outrider.redrive(id) from outrider.dead_letters")
            try await scene.handler.wait(for: 6)
            try await scene.waitUntilDelivered()
            try await scene.expectNoSlots()
            _ = worker
        }
    }

    @Test(arguments: ["redrive", "discard"])
    func aBlockedKeyWaitsForAPerson(act: String) async throws {
        let isRefusing = Atomic(true)
        let behaviour = HandlerServer.Behaviour.decides { received in
            received.body == "2" && isRefusing.load(ordering: .relaxed)
                ? ServerResponse(status: 422) : .text("ok")
        }
        try await Scene.with(options: "ordered: true\non_exhausted: block", handler: behaviour) { scene in
            let worker = try await scene.worker()
            try await scene.publishNumbers(4, key: "a")
            try await scene.publishNumbers(1, key: "b")
            try await eventually("the letter is written") { try await scene.deadLetters() == 1 }
            try await scene.handler.wait(for: 3)
            try await scene.publishNumbers(1, key: "b")
            try await scene.handler.wait(for: 4)
            try await eventually("only what waits is left") { try await scene.states() == ["blocked 2"] }
            isRefusing.store(false, ordering: .relaxed)
            try await scene.database.query(
                act == "redrive"
                    ? "select outrider.redrive(id) from outrider.dead_letters"
                    : "select outrider.discard(id, 'paid by phone') from outrider.dead_letters")
            try await scene.waitUntilDelivered()
            let bodies = scene.handler.received.filter { $0.header("ce-subject") == "a" }.map(\.body)
            #expect(bodies == (act == "redrive" ? ["1", "2", "2", "3", "4"] : ["1", "2", "3", "4"]))
            try await scene.expectNoSlots()
            _ = worker
        }
    }

    // MARK: - Beginnings, delays, ends

    @Test func whatWasPublishedBeforeComesBeforeWhatCameLater() async throws {
        try await Scene.with { scene in
            let first = try await scene.worker()
            try await scene.publishNumbers(60, key: "a")
            try await scene.waitUntilDelivered()
            first.terminate()
            _ = try await first.exit()
            scene.handler.forget()
            scene.folder.write(
                """
                endpoint: shop
                url: ${ $env.SHOP }
                ---
                subscription: audit
                topics: [ order.created ]
                ordered: true
                from: earliest
                deliver: { http: POST /audit, endpoint: shop }
                """, to: "workflows/mail.yaml")
            // A transaction that is open keeps the subscription from being opened while others publish.
            let open = Session(scene.database.url)
            try await open.run {
                try $0.execute(script: "begin; insert into outrider.outbox (topic, payload) values ('other', '1')")
            }
            let second = try await scene.worker()
            try await scene.database.execute(
                """
                insert into outrider.outbox (topic, key, payload)
                select 'order.created', 'a', to_jsonb(60 + n) from generate_series(1, 20) n
                """)
            try await open.run { try $0.execute(script: "commit") }
            await open.close()
            try await scene.handler.wait(for: 80, at: "/audit", within: .seconds(40))
            #expect(scene.handler.received(at: "/audit").map(\.body) == (1...80).map { "\($0)" })
            _ = second
        }
    }

    @Test func aDelayedMessageJoinsTheEndOfItsKeyWhenItComesDue() async throws {
        try await Scene.with(options: "ordered: true", handler: .hangs) { scene in
            let worker = try await scene.worker()
            try await scene.database.execute(
                """
                select outrider.publish('order.created', '"first"', key => 'a');
                select outrider.publish('order.created', '"delayed"', key => 'a',
                    deliver_at => clock_timestamp() + interval '300 ms');
                select outrider.publish('order.created', '"second"', key => 'a')
                """)
            try await scene.handler.wait(for: 1)
            try await eventually("the delayed one waits for its key") {
                try await scene.states() == ["blocked 2", "in_flight 1"]
            }
            scene.handler.answerHeld()
            try await scene.waitUntilDelivered()
            #expect(scene.handler.received.map(\.body) == ["\"first\"", "\"second\"", "\"delayed\""])
            _ = worker
        }
    }

    @Test func anExpiredOrCancelledMessageHandsItsPlaceOn() async throws {
        try await Scene.with(options: "ordered: true\nfilter: ${ .payload | type == \"string\" }") { scene in
            let worker = try await scene.worker()
            try await scene.database.execute(
                """
                select outrider.publish('order.created', '"cancelled"', key => 'a', id => '00000000-0000-4000-8000-000000000001');
                select outrider.publish('order.created', '"expired"', key => 'a', expires_at => clock_timestamp());
                select outrider.publish('order.created', '"later"', key => 'a', id => '00000000-0000-4000-8000-000000000002');
                select outrider.publish('order.created', '0', key => 'a');
                select outrider.publish('order.created', '"sent"', key => 'a');
                select outrider.cancel_message('00000000-0000-4000-8000-000000000002'),
                    outrider.cancel_message('00000000-0000-4000-8000-000000000001')
                """)
            try await scene.handler.wait(for: 1)
            try await scene.waitUntilDelivered()
            #expect(scene.handler.received.map(\.body) == ["\"sent\""])
            try await scene.expectNoSlots()
            _ = worker
        }
    }

    // MARK: - Concurrency per key

    @Test func soManyMessagesOfAKeyAreOutAtOnce() async throws {
        try await Scene.with(options: "concurrency_per_key: 3", handler: .hangs) { scene in
            let workers = [try await scene.worker(), try await scene.worker()]
            try await scene.publish(10, key: "a")
            try await scene.publish(2, key: "b")
            try await scene.handler.wait(for: 5)
            #expect(try await scene.states() == ["blocked 7", "in_flight 5"])
            scene.handler.answerHeld()
            try await scene.waitUntilDelivered()
            #expect(scene.handler.count() == 12)
            try await scene.expectNoSlots()
            _ = workers
        }
    }
}

/// A handler's memory of keys: which numbers came in which order, and what came too early. It refuses what is late, as handlers
/// can: what a worker had sent when it was frozen or killed may arrive after the same message from another worker.
final class KeyLedger: Sendable {
    private struct State {
        var done: [String: [Int]] = [:]
        var fences: [String: Int64] = [:]
        var calls = 0
        var violations: [String] = []
    }

    private let state = Mutex(State())
    private let failsEach: Int

    /// - Parameter failsEach: every so many-th request is answered 503.
    init(failsEach: Int) {
        self.failsEach = failsEach
    }

    var violations: [String] { state.withLock { $0.violations } }

    /// The numbers that succeeded, without repetitions.
    func done(_ key: String) -> [Int] { state.withLock { $0.done[key] ?? [] } }

    var behaviour: HandlerServer.Behaviour {
        .decides { [self] received in
            guard let key = received.header("ce-subject"), let number = Int(received.body),
                let fence = received.header("outrider-fence").flatMap({ Int64($0) })
            else { return ServerResponse(status: 400) }
            return state.withLock { state in
                guard fence > state.fences[key] ?? 0 else { return ServerResponse(status: 409) }
                state.fences[key] = fence
                let last = state.done[key]?.last ?? 0
                if number != last, number != last + 1 { state.violations.append("\(key): \(number) after \(last)") }
                state.calls += 1
                if state.calls % failsEach == 0 { return ServerResponse(status: 503) }
                if number != last { state.done[key, default: []].append(number) }
                return .text("ok")
            }
        }
    }
}

extension HandlerServer.Behaviour {
    /// Refuses one body for good.
    static func refusing(_ body: String) -> Self {
        .decides { $0.body == body ? ServerResponse(status: 422) : .text("ok") }
    }
}

extension Scene {
    fileprivate func publishNumbers(_ count: Int, key: String) async throws {
        try await database.query(
            """
            insert into outrider.outbox (topic, key, payload)
            select 'order.created', \(key), to_jsonb(n) from generate_series(1, \(Int32(count))) n
            """)
    }

    fileprivate func states() async throws -> [String] {
        try await database.run { connection in
            try connection.query(
                "select state || ' ' || count(*) from outrider.deliveries group by state order by state"
            ).map { try $0.decode(0, as: String.self) }
        }
    }

    fileprivate func ids(of key: String) -> [String] {
        handler.received.filter { $0.header("ce-subject") == key }.compactMap { $0.header("ce-id") }
    }

    fileprivate func numbers(of key: String) -> [Int] {
        handler.received.filter { $0.header("ce-subject") == key }
            .compactMap { (try? JSON(parsing: $0.request.body))?["n"]?.int }
    }

    /// Each key has given back what it held.
    func expectNoSlots() async throws {
        try await eventually("no key holds a slot") {
            try await self.database.count(
                """
                select (select count(*) from outrider.active_slot) + (select count(*) from outrider.held_slot)
                    + (select count(*) from outrider.backlog) + (select count(*) from outrider.arrival)
                """) == 0
        }
    }
}
