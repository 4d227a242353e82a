import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// Partitions of the log, and what is removed when.
struct RetentionTests {
    // MARK: - Making

    @Test func partitionsAreThereSevenDaysAhead() async throws {
        try await TestDatabase.with { database in
            #expect(
                try await database.values("select name from outrider.outbox_partition order by name", as: String.self)
                    == (0...7).map { Partition.name(daysAgo: -$0) })
            #expect(try await database.run { try Housekeeping($0).makePartitions() } == 0)
            let id = try await database.publish()
            #expect(try await database.partitionOf(id) == "outrider." + Partition.name(daysAgo: 0))
        }
    }

    @Test func aMessageWithoutAPartitionIsDeliveredAndMovesWhenThereIsOne() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let id = try await database.value(
                "select outrider.publish('order.created', '{}', id => outrider.uuid_v7_floor(now() + interval '8 days'))",
                as: UUID.self)
            #expect(try await database.partitionOf(id) == "outrider.outbox_default")
            #expect(try await database.value("select outrider.make_partitions(9)", as: Int32.self) == 1)
            #expect(try await database.partitionOf(id) == "outrider." + Partition.name(daysAgo: -8))
            #expect(try await database.count("select count(*) from outrider.messages") == 1)
            #expect(try await database.count("select count(*) from outrider.deliveries") == 1)
            let again = try await failure {
                try await database.query("select outrider.publish('order.created', '{}', id => \(id))")
            }
            #expect(again?.state == "OR008")
        }
    }

    @Test func makingWaitsForAnOpenPublisherOnlyBriefly() async throws {
        try await TestDatabase.with { database in
            let publisher = Session(database.url)
            try await publisher.execute(
                """
                begin;
                select outrider.publish('order.created', '{}', id => outrider.uuid_v7_floor(now() + interval '8 days'))
                """)
            let error = try await failure { try await database.execute("select outrider.make_partitions(9)") }
            #expect(error?.state == "55P03")
            try await publisher.execute("commit")
            #expect(try await database.value("select outrider.make_partitions(9)", as: Int32.self) == 1)
            await publisher.close()
        }
    }

    // MARK: - Dropping

    @Test func aPartitionIsDroppedOnceItsLongestRetentionHasPassed() async throws {
        try await TestDatabase.with { database in
            try await database.apply(["topic": "order.kept", "retention": "4d"])
            for daysAgo in [6, 5, 3, 1] { try await database.partition(daysAgo: daysAgo) }
            // 6: nobody's; 5: short; 3: short, with one that is kept longer; 1: over since today.
            try await database.publishAged("order.created", daysAgo: 5, count: 10)
            try await database.publishAged("order.created", daysAgo: 3, count: 10)
            let kept = try await database.publishAged("order.kept", daysAgo: 3)
            try await database.publishAged("order.created", daysAgo: 1)
            func dropAll() async throws -> [String] {
                try await database.run { connection in
                    var names: [String] = []
                    while let name = try Housekeeping(connection).dropExpiredPartition() { names.append(name) }
                    return names
                }
            }
            #expect(try await dropAll() == [6, 5].map { Partition.name(daysAgo: $0) })
            // Were the topic's retention shorter, the day would go; what is kept by then is decided row by row.
            try await database.apply(["topic": "order.kept", "retention": "1h"])
            #expect(try await dropAll() == [Partition.name(daysAgo: 3)])
            #expect(try await database.count("select count(*) from outrider.messages where id = \(kept)") == 0)
            #expect(try await database.count("select count(*) from outrider.messages") == 1)
            #expect(
                try await database.count("select count(*) from pg_class where relname = \(Partition.name(daysAgo: 3))")
                    == 0)
        }
    }

    @Test func whatIsNotDeliveredYetIsMovedAsideAndStillDelivered() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.partition(daysAgo: 5)
            try await database.publishAged("order.created", daysAgo: 5, count: 10)
            try await database.execute(
                """
                delete from outrider.delivery where id > (select min(id) from outrider.delivery) + 1;
                with later as (
                    delete from outrider.delivery where id = (select max(id) from outrider.delivery) returning *
                )
                insert into outrider.scheduled (due_at, subscription_id, attempts, message_id)
                select now(), l.subscription_id, 3, l.message_id from later l
                """)
            #expect(
                try await database.run { try Housekeeping($0).dropExpiredPartition() } == Partition.name(daysAgo: 5))
            #expect(try await database.count("select count(*) from outrider.messages") == 2)
            _ = try await database.run { try Housekeeping($0).prune(most: 100) }
            _ = try await database.run { try Housekeeping($0).moveDue(most: 10) }
            let payloads = try await database.values(
                """
                select m.payload::text from outrider.deliveries d join outrider.messages m on m.id = d.message_id
                order by m.id
                """, as: String.self)
            #expect(payloads == [#"{"n": 1}"#, #"{"n": 2}"#])
            // Delivered, they go row by row.
            try await database.execute("delete from outrider.delivery")
            _ = try await database.run { try Housekeeping($0).prune(most: 100) }
            #expect(try await database.count("select count(*) from outrider.messages") == 0)
        }
    }

    @Test(arguments: [false, true])
    func aDeadLetterKeepsItsMessageAndRedriveBringsItBack(dayIsThere: Bool) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.partition(daysAgo: 5)
            let message = try await database.publishAged("order.created", daysAgo: 5)
            let letter = try await database.value(
                """
                with gone as (delete from outrider.delivery d returning d.*)
                select outrider.bury(g.subscription_id, g.message_id, 3, now(), 'exhausted', 'HTTP 503') from gone g
                """, as: UUID.self)
            #expect(
                try await database.run { try Housekeeping($0).dropExpiredPartition() } == Partition.name(daysAgo: 5))
            #expect(try await database.count("select count(*) from outrider.messages") == 0)
            if dayIsThere { try await database.partition(daysAgo: 5) }
            #expect(try await database.value("select outrider.redrive(\(letter))", as: UUID.self) == message)
            _ = try await database.run { try Housekeeping($0).prune(most: 100) }
            let row = try await database.value(
                """
                select jsonb_build_object('key', m.key, 'payload', m.payload, 'age', m.published_at < now() - interval '4 days')
                from outrider.deliveries d join outrider.messages m on m.id = d.message_id
                """, as: JSON.self)
            #expect(row["payload"] == ["n": 1])
            #expect(row["key"] == "k1")
            #expect(row["age"] == true)
        }
    }

    @Test func droppingGivesUpSoonWhileAReaderIsThere() async throws {
        try await TestDatabase.with { database in
            try await database.partition(daysAgo: 5)
            try await database.publishAged("order.created", daysAgo: 5)
            let reader = Session(database.url)
            try await reader.execute("begin; select count(*) from outrider.messages")
            let error = try await failure { try await database.execute("select outrider.drop_expired_partition()") }
            #expect(error?.state == "55P03")
            #expect(try await database.count("select count(*) from outrider.messages") == 1)
            try await reader.execute("commit")
            #expect(
                try await database.run { try Housekeeping($0).dropExpiredPartition() } == Partition.name(daysAgo: 5))
            await reader.close()
        }
    }

    // MARK: - Pruning

    @Test func pruningIsBoundedAndStopsAtWhatIsStillNeeded() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.execute(
                """
                insert into outrider.dedupe (topic, dedupe_key, message_id, expires_at)
                select 'a', n::text, gen_random_uuid(), now() - interval '1 s' from generate_series(1, 5) n;
                insert into outrider.dedupe values ('a', 'open', gen_random_uuid(), now() + interval '1 h');
                insert into outrider.chosen_id (id, at)
                select gen_random_uuid(), now() - interval '4 days' from generate_series(1, 5);
                insert into outrider.cancelled_message (message_id, at)
                select gen_random_uuid(), now() - interval '4 days' from generate_series(1, 5);
                insert into outrider.delivery_attempt (message_id, subscription_id, attempt, at, outcome, worker)
                select gen_random_uuid(), 1, 1, now() - interval '8 days', 'failed', 'w' from generate_series(1, 5);
                insert into outrider.delivery_attempt (message_id, subscription_id, attempt, at, outcome, worker)
                values (gen_random_uuid(), 1, 1, now() - interval '6 days', 'failed', 'w');
                insert into outrider.dead_letter (attempts, reason, redriven_at, discarded_at)
                select 1, 'exhausted', case when n < 3 then now() - interval '31 days' end,
                    case when n >= 3 then now() - interval '31 days' end from generate_series(1, 5) n;
                insert into outrider.dead_letter (attempts, reason, dead_at) values (1, 'open', now() - interval '400 days');
                insert into outrider.dead_letter (attempts, reason, redriven_at) values (1, 'recent', now() - interval '29 days');
                """)
            let removed = try await database.run { connection in
                try (0..<4).map { _ in try Housekeeping(connection).prune(most: 2) }
            }
            #expect(removed == [10, 10, 5, 0])
            #expect(
                try await database.values("select dedupe_key from outrider.dedupe", as: String.self) == ["open"])
            #expect(
                try await database.values("select reason from outrider.dead_letters order by 1", as: String.self)
                    == ["open", "recent"])
            #expect(try await database.count("select count(*) from outrider.delivery_attempts") == 1)
        }
    }

    @Test func pruningLeavesWhatARedriveBringsBackAtThisMoment() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publishAged("order.created", daysAgo: 5)  // no such day: the default partition
            let letter = try await database.value(
                """
                with gone as (delete from outrider.delivery d returning d.*)
                select outrider.bury(g.subscription_id, g.message_id, 3, now(), 'exhausted', 'HTTP 503') from gone g
                """, as: UUID.self)
            let person = Session(database.url)
            try await person.execute("begin; select outrider.redrive('\(letter)')")
            #expect(try await database.run { try Housekeeping($0).prune(most: 100) } == 0)
            try await person.execute("commit")
            #expect(try await database.run { try Housekeeping($0).prune(most: 100) } == 0)
            #expect(
                try await database.count(
                    "select count(*) from outrider.deliveries d join outrider.messages m on m.id = d.message_id") == 1)
            await person.close()
        }
    }

    @Test func aChosenIdIsKeptAsLongAsItsMessage() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let id = UUID("8f3e2d1c-0000-4000-8000-000000000001")!
            try await database.query("select outrider.publish('order.created', '{}', id => \(id))")
            try await database.execute(
                """
                update outrider.outbox set published_at = now() - interval '30 days';
                update outrider.chosen_id set at = now() - interval '30 days'
                """)
            #expect(try await database.run { try Housekeeping($0).prune(most: 100) } == 0)
            try await database.execute("delete from outrider.delivery")
            #expect(try await database.run { try Housekeeping($0).prune(most: 100) } == 1)
            #expect(try await database.run { try Housekeeping($0).prune(most: 100) } == 1)
            #expect(try await database.count("select count(*) from outrider.messages") == 0)
            #expect(try await database.count("select count(*) from outrider.chosen_id") == 0)
        }
    }
}
