import EmbeddedPostgres
import Postgres
import Primitives
import Store
import TestSupport
import Testing
import WorkflowFiles

/// `from: earliest`: what was published before, while and after a subscription is applied reaches it once.
struct OpeningTests {
    enum Isolation: String, CaseIterable, Sendable {
        case readCommitted = "read committed"
        case repeatableRead = "repeatable read"
    }

    @Test(arguments: Isolation.allCases)
    func whatIsPublishedBeforeWhileAndAfterItIsAppliedReachesItOnce(isolation: Isolation) async throws {
        try await TestDatabase.with { database in
            let chosen = UUID("8f3e2d1c-0000-4000-8000-000000000001")!
            try await database.publish(key: "before")
            try await database.query(
                "select outrider.publish('order.created', '{}', key => 'before, chosen', id => \(chosen))")
            let (early, late) = (Session(database.url), Session(database.url))
            // Both have a snapshot from before; the one has published already, the other does so afterwards.
            try await early.begin(isolation)
            try await early.publish("open, published before")
            try await late.begin(isolation)
            try await database.subscribe("mail", to: "order.created", from: "earliest")
            try await late.publish("open, published after")
            let operation = try await database.value("select id from outrider.operations", as: UUID.self)

            // Waits for both, and meanwhile delivers nothing and holds up no publisher.
            for _ in 0..<4 { _ = try await database.step(operation) }
            #expect(try await database.status(of: operation) == "waiting 0")
            try await database.publish(key: "after")
            try await early.execute("commit")
            for _ in 0..<4 { _ = try await database.step(operation) }
            #expect(try await database.status(of: operation) == "waiting 0")
            #expect(try await database.claimable() == 0)

            try await late.execute("commit")
            try await database.run { try Housekeeping($0).carryOutOperations(most: 2) }
            #expect(try await database.status(of: operation).hasPrefix("finished"))
            try await database.publish(key: "later")
            #expect(
                try await database.values("select key from outrider.deliveries order by key", as: String.self) == [
                    "after", "before", "before, chosen", "later", "open, published after", "open, published before",
                ])
            #expect(try await database.count("select count(*) from outrider.deliveries where not replay") == 6)
            #expect(try await database.claimable() == 6)
            await early.close()
            await late.close()
        }
    }

    @Test func delayedMessagesWaitForTheirTime() async throws {
        try await TestDatabase.with { database in
            try await database.execute(
                "select outrider.publish('order.created', '{}', key => 'before', deliver_at => now() + interval '1 h')")
            try await database.subscribe("mail", to: "order.created", from: "earliest")
            try await database.execute(
                "select outrider.publish('order.created', '{}', key => 'after', deliver_at => now() + interval '1 h')")
            try await database.run { try Housekeeping($0).carryOutOperations(most: 100) }
            #expect(
                try await database.values(
                    "select key || ' ' || state from outrider.deliveries order by 1", as: String.self)
                    == ["after scheduled", "before scheduled"])
        }
    }

    @Test func aPublisherDoesNotWaitForAnApplyThatIsUnderWay() async throws {
        try await TestDatabase.with { database in
            // The apply has written the subscription and gets no further than its operation.
            let blocker = Session(database.url)
            try await blocker.execute("begin; lock table outrider.operation in share mode")
            let applier = Session(database.url)
            let definition = try Definition(
                content: Definition.content(of: "mail", to: ["order.created"], from: "earliest"))
            async let applied = applier.run {
                try DefinitionStore($0).apply([definition], by: "test", restores: true).count
            }
            try await database.waitForBlocked()
            try await database.execute("set statement_timeout = '10s'")
            try await database.publish(key: "meanwhile")
            try await blocker.execute("commit")
            #expect(try await applied == 1)
            try await database.run { try Housekeeping($0).carryOutOperations(most: 100) }
            #expect(try await database.values("select key from outrider.deliveries", as: String.self) == ["meanwhile"])
            await blocker.close()
            await applier.close()
        }
    }

    @Test func whatWasCancelledIsNotDeliveredByAnOpening() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("bill", to: "order.created")
            let cancelled = try await database.publish(key: "cancelled")
            try await database.query("select outrider.cancel_message(\(cancelled))")
            try await database.publish(key: "wanted")
            try await database.subscribe("mail", to: "order.created", from: "earliest")
            try await database.run { try Housekeeping($0).carryOutOperations(most: 100) }
            #expect(
                try await database.values(
                    "select key from outrider.deliveries where subscription = 'mail'", as: String.self) == ["wanted"])
        }
    }

    @Test func aTransactionOfAnotherDatabaseHoldsNoOpeningUp() async throws {
        try await TestDatabase.with { database in
            let elsewhere = Session(TestCluster.shared.url())
            try await elsewhere.execute("begin; select pg_current_xact_id()")
            try await database.publish()
            try await database.subscribe("mail", to: "order.created", from: "earliest")
            let operation = try await database.value("select id from outrider.operations", as: UUID.self)
            try await eventually("it finishes") {
                _ = try await database.step(operation)
                return try await database.status(of: operation) == "finished 1"
            }
            await elsewhere.close()
        }
    }
}

extension Session {
    /// Begins a transaction that has a snapshot, and has read what is published.
    fileprivate func begin(_ isolation: OpeningTests.Isolation) async throws {
        try await execute(
            "begin isolation level \(isolation.rawValue); select count(*) from outrider.subscription")
    }

    fileprivate func publish(_ key: String) async throws {
        try await execute("select outrider.publish('order.created', '{}', key => '\(key)')")
    }
}

extension TestDatabase {
    /// How many rows the only subscription hands out now; they are given back.
    fileprivate func claimable() async throws -> Int {
        let worker = try await Life.begin("w", on: self)
        let claimed = try await worker.claim(100)
        let token = worker.token
        try await worker.session.run {
            try WorkerRegistry($0).release(claimed, token: token)
            try WorkerRegistry($0).unregister(token: token)
        }
        await worker.session.close()
        return claimed.count
    }
}
