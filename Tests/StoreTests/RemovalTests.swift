import Postgres
import Primitives
import Store
import TestSupport
import Testing
import WorkflowFiles

/// Subscriptions that are pruned: nothing that was published for them is lost, and nothing brings them back by accident.
struct RemovalTests {
    @Test(arguments: ["read committed", "repeatable read"])
    func whatATransactionPublishedThatDidNotSeeTheRemovalBecomesADeadLetter(isolation: String) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let open = Session(database.url)
            try await open.execute(
                """
                begin isolation level \(isolation);
                select outrider.publish('order.created', '{}', key => 'open');
                select outrider.publish('order.created', '{}', key => 'open, later', deliver_at => now() + interval '1 h')
                """)
            try await database.apply(prunes: true)
            #expect(try await database.buryRemoved() == 0)
            try await open.execute("commit")
            try await database.publish(key: "after")
            #expect(try await database.buryRemoved() == 2)
            #expect(
                try await database.values(
                    "select subscription || ' ' || reason || ' ' || key from outrider.dead_letters order by key",
                    as: String.self) == ["mail removed open", "mail removed open, later"])
            #expect(try await database.count("select count(*) from outrider.deliveries") == 0)
            await open.close()
        }
    }

    /// Not the rest of what matches: that reached the subscription in its former life.
    @Test func itsLettersCanBeRedrivenOnceItIsAppliedAgain() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let message = try await database.publish(key: "waiting")
            let letter = try await database.deadLetter(of: "mail")
            try await database.apply(prunes: true)
            let removed = try await database.value(
                "select id from outrider.dead_letters where message_id = \(message)", as: UUID.self)
            for id in [letter, removed] {
                let error = try await failure { try await database.query("select outrider.redrive(\(id))") }
                #expect(error?.state == "OR006")
                #expect(error?.hint?.contains("Apply its file again") == true)
            }
            try await database.publish(key: "in between")
            try await database.subscribe("mail", to: "order.created")
            #expect(try await database.value("select outrider.redrive(\(removed))", as: UUID.self) == message)
            try await database.query("select outrider.redrive(\(letter))")
            try await database.publish(key: "again")
            #expect(
                try await database.values(
                    "select coalesce(key, '') from outrider.deliveries order by 1", as: String.self)
                    == ["", "again", "waiting"])
            #expect(try await database.buryRemoved() == 0)
        }
    }

    @Test func anOlderFolderBringsNothingBackThatWasPruned() async throws {
        try await TestDatabase.with { database in
            let folder = [try Definition(content: Definition.content(of: "mail", to: ["order.created"]))]
            func start() async throws -> [DefinitionStore.Change] {
                try await database.run {
                    try DefinitionStore($0).apply(folder, by: "worker", restores: false).map(\.change)
                }
            }
            #expect(try await start() == [.created])
            try await database.apply(prunes: true)
            #expect(try await start() == [.superseded])
            try await database.publish()
            #expect(try await database.count("select count(*) from outrider.deliveries") == 0)
            #expect(try await database.run { try DefinitionStore($0).subscriptions().count } == 0)
            try await database.subscribe("mail", to: "order.created")
            #expect(try await start() == [.unchanged])
        }
    }

    @Test func aPausedSubscriptionThatIsAppliedAgainIsNotPaused() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.execute("select outrider.pause('mail')")
            try await database.apply(prunes: true)
            let error = try await failure { try await database.execute("select outrider.resume('mail')") }
            #expect(error?.state == "OR007")
            try await database.subscribe("mail", to: "order.created")
            #expect(
                try await database.count("select count(*) from outrider.subscriptions where paused_at is null") == 1)
        }
    }
}

extension TestDatabase {
    fileprivate func buryRemoved() async throws -> Int {
        try await run { try Housekeeping($0).buryRemoved(most: 100) }
    }
}
