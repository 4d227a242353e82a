import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// A replay: in which order, of which topics, and what it says of what is gone.
struct ReplayTests {
    // MARK: - Order

    /// Many messages of one statement share a millisecond, within which ids are in no order.
    @Test(arguments: [7, 1000])
    func messagesComeInTheOrderOfPublishing(most: Int32) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(500)
            try await database.execute("delete from outrider.delivery")
            let operation = try await database.replayAll("mail")
            while try await database.step(operation, most: most) {}
            #expect(try await database.status(of: operation) == "finished 500")
            #expect(try await database.queuedPayloads() == Array(1...500))
        }
    }

    @Test func thoseWithIdsOfTheirOwnComeAmongTheOthers() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            for n in 1...20 {
                // Later ids that sort before earlier ones, and one that no clock made.
                let id = n.isMultiple(of: 3) ? "gen_random_uuid()" : n.isMultiple(of: 4) ? "outrider.uuid_v7()" : "null"
                try await database.execute(
                    """
                    select outrider.publish('order.created', '{"n": \(n)}', key => 'a', id => \(id)); select pg_sleep(0.002)
                    """)
            }
            try await database.execute("delete from outrider.delivery")
            let operation = try await database.replayAll("mail")
            while try await database.step(operation, most: 3) {}
            #expect(try await database.queuedPayloads() == Array(1...20))
        }
    }

    @Test func itsProgressIsTheTimeThatItHasReached() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            for _ in 0..<3 {
                try await database.execute("select outrider.publish('order.created', '{}'), pg_sleep(0.002)")
            }
            try await database.execute("delete from outrider.delivery")
            let operation = try await database.replayAll("mail")
            #expect(try await database.step(operation, most: 1))
            #expect(try await database.status(of: operation) == "running 1")
            #expect(
                try await database.count(
                    """
                    select count(*) from outrider.operations o, outrider.messages m
                    where outrider.uuid_v7_time(m.id) between o.from_time and o.reached_at
                    """) == 1)
        }
    }

    // MARK: - Topics

    @Test func ofATopicOnlyThatOneIsReplayed() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.#")
            try await database.publish("order.created", key: "a")
            try await database.publish("order.paid", key: "b")
            try await database.publish("order.paid", key: "c")
            try await database.execute("delete from outrider.delivery")
            let operation = try await database.value(
                """
                select outrider.replay('mail', now() - interval '1 h', clock_timestamp(), null, 'order.paid')
                """, as: UUID.self)
            while try await database.step(operation) {}
            #expect(
                try await database.values("select key from outrider.deliveries order by 1", as: String.self) == [
                    "b", "c",
                ])
            let both = try await database.value(
                """
                select outrider.replay('mail', now() - interval '1 h', clock_timestamp(), topic => 'order.created', key => 'b')
                """, as: UUID.self)
            while try await database.step(both) {}
            #expect(try await database.status(of: both) == "finished 0")
        }
    }

    @Test func aTopicThatTheSubscriptionDoesNotTakeIsRefused() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.*", "invoice.sent")
            let error = try await failure {
                try await database.query(
                    "select outrider.replay('mail', now() - interval '1 h', now(), topic => 'invoice.paid')")
            }
            #expect(error?.state == "OR005")
            #expect(error?.message == "subscription mail takes no topic 'invoice.paid'")
            #expect(error?.hint == "It takes order.*, invoice.sent.")
        }
    }

    // MARK: - What is gone

    @Test func aReplayOverADroppedPartitionSaysThatTheLogDoesNotReachThatFar() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.subscribe("bill", to: "order.paid")
            try await database.partition(daysAgo: 5)
            try await database.publishAged("order.created", daysAgo: 5, count: 3)
            try await database.execute("delete from outrider.delivery")
            try await database.publish(key: "kept")
            try await database.execute("delete from outrider.delivery")
            #expect(try await database.note(ofReplay: "mail") == nil)
            try await database.execute("delete from outrider.delivery")
            _ = try await database.run { try Housekeeping($0).dropExpiredPartition() }

            let day = String((Timestamp.now() + .seconds(-86_400 * 4)).rfc3339.prefix(10))
            let note = try await database.note(ofReplay: "mail")
            #expect(
                note?.hasPrefix("the log does not reach that far: of what was published before \(day)T00:00:00Z")
                    == true)
            // It sends what there is.
            #expect(try await database.values("select key from outrider.deliveries", as: String.self) == ["kept"])
            // Neither those who took nothing of that day are told, nor those who ask for later ones.
            #expect(try await database.note(ofReplay: "bill") == nil)
            #expect(try await database.note(ofReplay: "mail", days: 3) == nil)
        }
    }

    @Test func whatIsDroppedWhileItIsUnderWayIsToldAtItsEnd() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.partition(daysAgo: 5)
            try await database.publishAged("order.created", daysAgo: 5, count: 3)
            try await database.execute("delete from outrider.delivery")
            let operation = try await database.value(
                "select outrider.replay('mail', now() - interval '9 days', now())", as: UUID.self)
            _ = try await database.run { try Housekeeping($0).dropExpiredPartition() }
            while try await database.step(operation) {}
            #expect(
                try await database.value("select note from outrider.operations", as: String?.self)?
                    .contains("does not reach that far") == true)
        }
    }

    /// Ids that no clock made are in no day: such messages go one by one.
    @Test func whatIsPrunedRowByRowIsToldOf() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.query("select outrider.publish('order.created', '{}', id => gen_random_uuid())")
            try await database.execute(
                "delete from outrider.delivery; update outrider.outbox set published_at = now() - interval '2 days'")
            #expect(try await database.note(ofReplay: "mail") == nil)
            try await database.execute("delete from outrider.delivery")
            _ = try await database.run { try Housekeeping($0).prune(most: 100) }
            #expect(try await database.note(ofReplay: "mail")?.contains("does not reach that far") == true)
            #expect(try await database.note(ofReplay: "mail", days: 1) == nil)
        }
    }

    @Test func aSubscriptionFromATimeThatTheLogDoesNotReachIsToldButNotOneFromTheEarliest() async throws {
        try await TestDatabase.with { database in
            try await database.partition(daysAgo: 5)
            try await database.publishAged("order.created", daysAgo: 5, count: 3)
            _ = try await database.run { try Housekeeping($0).dropExpiredPartition() }
            let from = JSON((Timestamp.now() + .seconds(-86_400 * 6)).rfc3339)
            try await database.subscribe("old", to: "order.created", from: from)
            try await database.subscribe("earliest", to: "order.created", from: "earliest")
            try await database.run { try Housekeeping($0).carryOutOperations(most: 10) }
            #expect(
                try await database.values(
                    "select subscription from outrider.operations where note is not null", as: String.self) == ["old"])
        }
    }

    @Test func aDayThatIsDroppedLosesNothingThatIsNotDone() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.partition(daysAgo: 5)
            try await database.publishAged("order.created", daysAgo: 5, count: 5)
            // Of the five, by payload: 1 is in flight, 2 a letter, 3 scheduled, 4 ready, 5 delivered.
            let worker = try await Life.begin("w", on: database)
            var held = try await worker.claim(5)
            held.sort { $0.id < $1.id }
            try await worker.report([held[1]], "refused", .dead(reason: "refused"))
            try await worker.report([held[2]], "failed", .again(after: .seconds(3600), attempts: 1))
            try await database.query("update outrider.delivery set owner = null where id = \(held[3].id)")
            #expect(try await worker.acknowledge([held[4]]) == 0)
            #expect(
                try await database.run { try Housekeeping($0).dropExpiredPartition() } == Partition.name(daysAgo: 5))
            _ = try await database.run { try Housekeeping($0).prune(most: 100) }
            #expect(
                try await database.values(
                    """
                    select concat(m.payload ->> 'n', ' ', d.state) from outrider.deliveries d
                    join outrider.messages m on m.id = d.message_id order by 1
                    """, as: String.self) == ["1 in_flight", "3 scheduled", "4 ready"])
            #expect(try await database.count("select count(*) from outrider.messages") == 3)
            #expect(
                try await database.values("select payload ->> 'n' from outrider.dead_letters", as: String.self) == ["2"]
            )
            // What was in flight is given back, and read from where it was moved to.
            try await database.query("update outrider.delivery set owner = null")
            #expect(try await worker.claim(5).map { $0.message != nil } == [true, true])
            await worker.session.close()
        }
    }
}

extension TestDatabase {
    /// The last hour.
    fileprivate func replayAll(_ subscription: String) async throws -> UUID {
        try await value("select outrider.replay(\(subscription), now() - interval '1 h', clock_timestamp())")
    }

    /// The number in the payload of each ready delivery, in the order in which they are handed out.
    fileprivate func queuedPayloads() async throws -> [Int] {
        try await values(
            """
            select (m.payload ->> 'n')::bigint from outrider.delivery d join outrider.messages m on m.id = d.message_id order by d.id
            """, as: Int64.self
        ).map { Int($0) }
    }

    /// What a replay of so many days has to say; it is carried out, and told from the beginning.
    fileprivate func note(ofReplay subscription: String, days: Int32 = 30) async throws -> String? {
        let operation = try await value(
            "select outrider.replay(\(subscription), now() - \(days) * interval '1 day', now())", as: UUID.self)
        let first = try await value("select note from outrider.operations where id = \(operation)", as: String?.self)
        while try await step(operation) {}
        #expect(try await status(of: operation).hasPrefix("finished"))
        #expect(
            try await value("select note from outrider.operations where id = \(operation)", as: String?.self) == first)
        return first
    }
}
