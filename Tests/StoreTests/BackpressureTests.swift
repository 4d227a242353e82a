import Postgres
import Primitives
import Store
import TestSupport
import Testing
import WorkflowFiles

/// What a topic takes from its publishers, by the database alone: no worker runs, and readings are taken when a test says so.
struct BackpressureTests {
    private static func topic(_ options: [(name: String, value: JSON)]) -> JSON {
        .object(JSONObject([(name: "topic", value: "order.created")] + options))
    }

    /// A database with the subscriptions `mail` of `order.created` and `other` of `order.*`, and a topic with these options.
    private static func with(
        _ options: [(name: String, value: JSON)], _ body: (TestDatabase) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.subscribe("other", to: "order.*")
            try await database.apply(topic(options))
            try await body(database)
        }
    }

    // MARK: - reject

    @Test func aFullTopicRefusesEveryWayToPublishAndAllRowsOfAStatement() async throws {
        try await Self.with([("max_backlog", 5)]) { database in
            try await database.publish(5)
            try await database.read()
            let refused = try await failure { try await database.publish() }
            #expect(refused?.state == "OR001")
            #expect(refused?.message == "topic order.created is full: subscription mail has 5 messages to deliver")
            #expect(refused?.detail == "Its max_backlog is 5.")
            #expect(refused?.hint?.contains("outrider.topic_limits") == true)
            #expect(try await failure { try await database.publish(3) }?.state == "OR001")
            let copied = try await failure {
                try await database.run { connection in
                    try connection.copy(into: "copy outrider.outbox (topic, payload) from stdin") { write in
                        try write("order.paid\t{}\norder.created\t{}\n")
                    }
                }
            }
            #expect(copied?.state == "OR001")
            let delayed = try await failure {
                try await database.query(
                    """
                    insert into outrider.outbox (topic, payload, deliver_at)
                    values ('order.created', '{}', now() + interval '1 hour')
                    """)
            }
            #expect(delayed?.state == "OR001")
            #expect(try await database.count("select count(*) from outrider.messages") == 5)
            #expect(try await database.count("select count(*) from outrider.deliveries") == 10)
        }
    }

    @Test func otherTopicsAreOpenWhileOneIsFull() async throws {
        try await Self.with([("max_backlog", 5)]) { database in
            try await database.publish(5)
            try await database.read()
            try await database.publish("order.paid")
            try await database.publish("unheard.of")
            #expect(
                try await database.values("select topic from outrider.topic_limits where is_full", as: String.self)
                    == ["order.created"])
        }
    }

    @Test func whatWaitsAnywhereInTheQueueCounts() async throws {
        try await TestDatabase.with { database in
            try await database.apply(
                [
                    "subscription": "mail", "topics": ["order.created"], "ordered": true,
                    "deliver": ["http": "POST http://127.0.0.1:9/mail"],
                ], Self.topic([("max_backlog", 5)]))
            // One is ready, two are blocked behind it, one is due later.
            for _ in 0..<3 { try await database.publish(key: "k") }
            try await database.query(
                "insert into outrider.outbox (topic, key, payload, deliver_at) values ('order.created', 'k', '{}', now() + interval '1 hour')"
            )
            try await database.read()
            #expect(try await database.isOpen())
            let life = try await Life.begin("w", on: database)
            #expect(try await life.claim(10).count == 1)
            // The one in flight counts as well.
            try await database.publish(key: "other")
            try await database.read()
            #expect(try await !database.isOpen())
            #expect(
                try await database.value("select backlog from outrider.topic_limits", as: Int64.self) == 5)
        }
    }

    @Test func aTopicOpensWhenItsBacklogHasShrunk() async throws {
        try await Self.with([("max_backlog", 5)]) { database in
            try await database.publish(5)
            try await database.read()
            #expect(try await !database.isOpen())
            try await database.execute(
                "delete from outrider.delivery where id in (select min(id) from outrider.delivery group by subscription_id)"
            )
            try await database.read()
            #expect(try await database.isOpen())
            #expect(try await database.count("select count(*) from outrider.gate_full") == 0)
        }
    }

    @Test func withoutALeaderPublishersCountForThemselves() async throws {
        try await Self.with([("max_backlog", 5)]) { database in
            try await database.publish(4)
            try await database.age()
            // A fifth one fits: what its own statement has put into the queue is not counted against it.
            try await database.publish()
            try await database.age()
            #expect(try await failure { try await database.publish() }?.state == "OR001")
            // And nobody counts again for a while.
            let reading = try await database.reading()
            #expect(try await failure { try await database.publish() }?.state == "OR001")
            #expect(try await database.reading() == reading)
        }
    }

    /// With a reading of a publisher there are never more of them than there is room.
    @Test func permitsThatPublishersGaveEndWhereTheTopicIsFull() async throws {
        try await Self.with([("max_backlog", 100)]) { database in
            try await database.publish()
            #expect(try await database.permits() == 5)
            try await database.publish(3)
            #expect(try await database.permits() == 2)
            try await database.publish(93)
            try await database.age()
            try await database.publish()
            #expect(try await database.permits() == 2)
            try await database.age()
            try await database.publish(2)
            #expect(try await failure { try await database.publish() }?.state == "OR001")
        }
    }

    @Test func theLeaderTakesPermitsBackWhenATopicIsFull() async throws {
        try await Self.with([("max_backlog", 100)]) { database in
            try await database.publish(90)
            try await database.read()
            #expect(try await database.permits() == 5)
            // From a topic without a limit.
            for _ in 0..<10 { try await database.publish("order.paid") }
            try await database.read()
            #expect(try await database.permits() == 0)
            #expect(try await failure { try await database.publish() }?.state == "OR001")
            // There is room again.
            try await database.execute("delete from outrider.delivery")
            try await database.read()
            try await database.publish()
            #expect(try await database.permits() == 5)
        }
    }

    @Test func anOldSnapshotIsNoWordForOthers() async throws {
        try await Self.with([("max_backlog", 5)]) { database in
            let session = Session(database.url)
            try await session.execute("begin isolation level repeatable read; select 1 from outrider.gate")
            try await database.publish(5)
            try await database.age()
            // By its snapshot there is room.
            try await session.execute(
                "insert into outrider.outbox (topic, payload) values ('order.created', '{}'); rollback")
            #expect(try await database.reading() == 0)
            #expect(try await failure { try await database.publish() }?.state == "OR001")
            await session.close()
        }
    }

    @Test func removingTheFileOpensTheTopic() async throws {
        try await Self.with([("max_backlog", 5)]) { database in
            try await database.publish(5)
            try await database.read()
            try await database.apply(Definition.content(of: "mail", to: ["order.created"]), prunes: true)
            try await database.publish(10)
            #expect(try await database.count("select count(*) from outrider.topic_limits") == 0)
            #expect(try await database.count("select count(*) from outrider.route where subscription_id < 0") == 0)
            // And once more with a limit.
            try await database.apply(Self.topic([("max_backlog", 5)]))
            #expect(try await failure { try await database.publish() }?.state == "OR001")
        }
    }

    @Test func workersAreExemptAndOthersCannotClaimToBe() async throws {
        try await Self.with([("max_backlog", 5), ("publish_rate", "1/h")]) { database in
            try await database.publish(5)
            try await database.read()
            let worker = try await database.login(memberOf: "outrider_worker")
            let application = try await database.login(memberOf: "outrider_app")
            for session in [worker, application] { try await session.execute("set outrider.exempt = on") }
            try await worker.execute("insert into outrider.outbox (topic, payload) values ('order.created', '{}')")
            let refused = try await failure {
                try await application.execute(
                    "insert into outrider.outbox (topic, payload) values ('order.created', '{}')")
            }
            #expect(refused?.state == "OR001")
            await worker.close()
            await application.close()
        }
    }

    // MARK: - block

    @Test func aPublisherThatWaitsGoesOnWhenThereIsRoomEvenWithAnOldSnapshot() async throws {
        try await Self.with([("max_backlog", 5), ("overflow", "block"), ("block_for", "1m")]) { database in
            try await database.publish(5)
            try await database.read()
            for isolation in ["read committed", "repeatable read"] {
                try await database.read()
                let session = Session(database.url)
                async let published: Void = session.execute(
                    """
                    begin isolation level \(isolation);
                    insert into outrider.outbox (topic, payload) values ('order.created', '{"late": true}'); commit
                    """)
                try await eventually("the publisher waits") {
                    // As the leading worker does.
                    try await database.read()
                    return try await database.count(
                        "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
                    )
                        == 1
                }
                try await database.execute(
                    "delete from outrider.delivery where id in (select min(id) from outrider.delivery group by subscription_id)"
                )
                try await database.read()
                try await published
                await session.close()
            }
            #expect(
                try await database.count("select count(*) from outrider.messages where payload ? 'late'") == 2)
        }
    }

    @Test func aPublisherWaitsNoLongerThanTheFileAndItsSessionSay() async throws {
        try await Self.with([("max_backlog", 5), ("overflow", "block"), ("block_for", "100ms")]) { database in
            try await database.publish(5)
            try await database.read()
            let refused = try await failure { try await database.publish() }
            #expect(refused?.state == "OR001")
            #expect(refused?.detail?.contains("it was waited for 0.") == true)
            try await database.apply(Self.topic([("max_backlog", 5), ("overflow", "block"), ("block_for", "1h")]))
            try await database.execute("set outrider.block_for = '0'")
            #expect(try await failure { try await database.publish() }?.state == "OR001")
        }
    }

    // MARK: - drop_newest

    @Test func theNewestGoToSubscriptionsWithRoomOnly() async throws {
        try await Self.with([("max_backlog", 5), ("overflow", "drop_newest")]) { database in
            try await database.apply(
                [
                    "subscription": "books", "topics": ["order.created"], "ordered": true,
                    "deliver": ["http": "POST http://127.0.0.1:9/books"],
                ])
            try await database.publish(5)
            // `other` has caught up.
            try await database.execute(
                "delete from outrider.delivery d using outrider.subscription s where s.id = d.subscription_id and s.name = 'other'"
            )
            try await database.read()
            try await database.query(
                """
                insert into outrider.outbox (topic, key, payload, deliver_at)
                select t, 'new', '{}', case when n = 3 then now() + interval '1 hour' end
                from generate_series(1, 3) n, unnest('{order.created, order.paid}'::text[]) t
                """)
            #expect(try await database.count("select count(*) from outrider.messages") == 11)
            #expect(
                try await database.values(
                    "select subscription || ' ' || count(*) from outrider.deliveries group by subscription order by 1",
                    as: String.self)
                    == ["books 5", "mail 5", "other 6"])
            #expect(
                try await database.values(
                    "select concat_ws(' ', topic, subscription, reason, count) from outrider.dropped order by 1",
                    as: String.self)
                    == ["order.created books drop_newest 3", "order.created mail drop_newest 3"])
            // It goes on when there is room, and the count stays.
            try await database.execute(
                "delete from outrider.delivery; delete from outrider.backlog; delete from outrider.active_slot")
            try await database.read()
            try await database.publish()
            #expect(
                try await database.count(
                    "select count(*) from outrider.deliveries where subscription in ('mail', 'books')") == 2)
            #expect(try await database.count("select sum(count)::bigint from outrider.dropped") == 6)
        }
    }

    @Test func ofManyPublishersExactlyTheNewestAreDropped() async throws {
        try await Self.with([("max_backlog", 100), ("overflow", "drop_newest")]) { database in
            try await database.publish(100)
            try await database.read()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let session = Session(database.url)
                        for _ in 0..<10 {
                            try await session.execute(
                                "insert into outrider.outbox (topic, payload) select 'order.created', '{}' from generate_series(1, 5)"
                            )
                        }
                        await session.close()
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await database.count("select count(*) from outrider.messages") == 500)
            #expect(try await database.count("select count(*) from outrider.delivery") == 200)
            #expect(try await database.count("select sum(count)::bigint from outrider.dropped") == 800)
            // Folding loses none.
            #expect(try await database.value("select outrider.fold_dropped(5000)", as: Int32.self) > 0)
            #expect(try await database.count("select sum(count)::bigint from outrider.dropped") == 800)
            #expect(try await database.count("select count(*) from outrider.dropped_delivery") == 2)
        }
    }

    // MARK: - drop_oldest

    @Test func theOldestUnclaimedMakeRoom() async throws {
        try await Self.with([("max_backlog", 5), ("overflow", "drop_oldest")]) { database in
            let life = try await Life.begin("w", on: database)
            try await database.publish(2)
            // They are with a worker when the others come.
            try await database.execute(
                """
                update outrider.delivery d set owner = '\(life.token)' from outrider.subscription s
                where s.id = d.subscription_id and s.name = 'mail';
                insert into outrider.outbox (topic, payload)
                select 'order.created', jsonb_build_object('n', n) from generate_series(3, 8) n
                """)
            try await database.read()
            #expect(
                try await database.values(
                    """
                    select (m.payload ->> 'n')::int from outrider.deliveries d join outrider.messages m on m.id = d.message_id
                    where d.subscription = 'mail' order by 1
                    """, as: Int32.self) == [1, 2, 6, 7, 8])
            #expect(try await database.count("select count from outrider.dropped where subscription = 'mail'") == 3)
            // Publishers are never refused.
            try await database.publish(50)
        }
    }

    /// Of one millisecond, some of them waiting for a retry: those that failed first are no older than the others.
    @Test func theOldestOfABurstMakeRoomWhereverTheyWait() async throws {
        try await Self.with([("max_backlog", 5), ("overflow", "drop_oldest")]) { database in
            try await database.execute(
                """
                insert into outrider.outbox (topic, payload, published_at)
                select 'order.created', jsonb_build_object('n', n), now() + n * interval '1 microsecond'
                from generate_series(1, 12) n;
                with tried as (
                    delete from outrider.delivery d using outrider.outbox m, outrider.subscription s
                    where m.id = d.message_id and m.payload ->> 'n' in ('11', '9', '7', '2')
                        and s.id = d.subscription_id and s.name = 'mail'
                    returning d.subscription_id, d.message_id, (m.payload ->> 'n')::int as n
                )
                insert into outrider.scheduled (due_at, subscription_id, attempts, message_id)
                select now() + interval '1 hour', t.subscription_id, 1, t.message_id from tried t order by t.n desc;
                """)
            try await database.read()
            #expect(
                try await database.values(
                    """
                    select (m.payload ->> 'n')::int from outrider.deliveries d join outrider.messages m on m.id = d.message_id
                    where d.subscription = 'mail' order by 1
                    """, as: Int32.self) == [8, 9, 10, 11, 12])
        }
    }

    @Test func messagesOfOtherTopicsAndThoseThatAPersonSentStay() async throws {
        try await Self.with([("max_backlog", 2), ("overflow", "drop_oldest")]) { database in
            for _ in 0..<3 { try await database.publish("order.paid") }
            let letter = try await database.deadLetter(of: "mail")
            try await database.query("select outrider.redrive(\(letter))")
            try await database.publish(3)
            try await database.read()
            #expect(
                try await database.values(
                    "select subscription || ' ' || topic || ' ' || count(*) from outrider.deliveries group by subscription, topic order by 1",
                    as: String.self) == ["mail order.created 2", "other order.paid 3"])
            #expect(try await database.count("select count(*) from outrider.delivery where redriven") == 1)
        }
    }

    @Test func anOrderedKeyGoesOnAfterItsOldestWereDropped() async throws {
        try await TestDatabase.with { database in
            try await database.apply(
                [
                    "subscription": "mail", "topics": ["order.created"], "ordered": true,
                    "deliver": ["http": "POST http://127.0.0.1:9/mail"],
                ], Self.topic([("max_backlog", 3), ("overflow", "drop_oldest")]))
            let ids = try await Self.publishOneByOne(8, on: database)
            try await database.read()
            #expect(
                try await database.values("select message_id from outrider.deliveries", as: UUID.self).map {
                    ids.firstIndex(of: $0)
                }.sorted { $0! < $1! }
                    == [5, 6, 7])
            let life = try await Life.begin("w", on: database)
            for id in ids.suffix(3) {
                let claimed = try await life.claim(10)
                #expect(claimed.map(\.messageID) == [id])
                #expect(try await life.acknowledge(claimed) == 0)
            }
            #expect(try await database.count("select count(*) from outrider.deliveries") == 0)
            #expect(try await database.count("select count(*) from outrider.active_slot") == 0)
        }
    }

    private static func publishOneByOne(_ count: Int, on database: TestDatabase) async throws -> [UUID] {
        var ids: [UUID] = []
        for _ in 0..<count {
            ids.append(try await database.publish(key: "k"))
        }
        return ids
    }

    @Test func withoutALeaderPublishersMakeRoom() async throws {
        try await Self.with([("max_backlog", 5), ("overflow", "drop_oldest")]) { database in
            try await database.publish(20)
            try await database.age()
            try await database.publish()
            #expect(try await database.count("select count(*) from outrider.delivery") == 10)
        }
    }

    // MARK: - publish_rate

    @Test func aRateThatIsUsedUpRefusesAndSaysWhen() async throws {
        try await Self.with([("publish_rate", "2/h")]) { database in
            try await database.publish()
            let refused = try await failure { try await database.publish() }
            #expect(refused?.state == "OR002")
            #expect(refused?.message == "rate of topic order.created exceeded: it takes 2/h")
            let seconds = try #require(refused?.detail?.firstMatch(of: #/in (\d+)/#).flatMap { Int($0.1) })
            #expect((1200...1800).contains(seconds))
            #expect(refused?.hint?.contains("Publish it again at 2") == true)
            try await database.publish("order.paid")
            // Time passes.
            try await database.execute("select setval(due, 0) from outrider.gate")
            try await database.publish()
            #expect(try await failure { try await database.publish() }?.state == "OR002")
        }
    }

    @Test func aRateHoldsWithoutSubscribers() async throws {
        try await TestDatabase.with { database in
            try await database.apply(["topic": "order.created", "publish_rate": "1/h"])
            try await database.publish()
            #expect(try await failure { try await database.publish() }?.state == "OR002")
        }
    }

    @Test func allRowsOfAStatementCount() async throws {
        try await Self.with([("publish_rate", "1000/s")]) { database in
            try await database.publish(60_000)
            let refused = try await failure { try await database.publish() }
            let seconds = try #require(refused?.detail?.firstMatch(of: #/in (\d+)/#).flatMap { Int($0.1) })
            #expect((30...60).contains(seconds))
        }
    }

    @Test func whatPassedUnusedIsPermittedToOthers() async throws {
        try await Self.with([("publish_rate", "1000/s")]) { database in
            // Nothing has been taken for long: a twentieth of a second's worth.
            try await database.publish()
            #expect(try await database.permits() == 49)
            try await database.publish(40)
            #expect(try await database.permits() == 9)
            try await Self.with([("publish_rate", "1000/s"), ("max_backlog", 100)]) { database in
                try await database.publish()
                #expect(try await database.permits() == 5)
            }
        }
    }

    @Test func aStatementBeyondAllReasonIsBookedForTenYears() async throws {
        try await Self.with([("publish_rate", "1/h")]) { database in
            try await database.publish(100_000)
            let detail = try await failure { try await database.publish() }?.detail
            #expect(detail?.hasPrefix("It takes the next message in 31535999") == true)
            #expect(
                try await database.count(
                    """
                    select count(*) from pg_locks l join pg_database d on d.oid = l.database
                    where d.datname = current_database() and l.locktype = 'advisory' and l.classid = 1870033019
                    """) == 0)
        }
    }

    /// By the database's clock, from the first message to the last that was accepted.
    @Test(arguments: ["reject", "block"], [200.0, 1000])
    func manyPublishersTogetherKeepToTheRate(overflow: String, limit: Double) async throws {
        try await Self.with([("publish_rate", JSON("\(Int(limit))/s")), ("overflow", JSON(overflow))]) { database in
            // Not before everybody is there.
            let ends = "(select min(published_at) from outrider.outbox) + interval '2.5 s'"
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let session = Session(database.url)
                        while try await session.value(
                            "select coalesce(clock_timestamp() < \(unsafeSQL: ends), true)", as: Bool.self)
                        {
                            let error = try await failure {
                                try await session.execute(
                                    "insert into outrider.outbox (topic, payload) values ('order.created', '{}')")
                            }
                            if let error { #expect(error.state == "OR002") }
                        }
                        await session.close()
                    }
                }
                try await group.waitForAll()
            }
            let rate = try await database.value(
                "select (count(*) / date_part('epoch', max(published_at) - min(published_at)))::float8 from outrider.outbox",
                as: Double.self)
            // A burst of a tenth of a second comes on top, and a busy machine may bring fewer.
            #expect(rate < limit * 1.1 + limit / 10)
            if overflow == "block" { #expect(rate > 100) }
        }
    }

    @Test func anotherRateGoesOnFromWhereTheMeterIs() async throws {
        try await Self.with([("publish_rate", "1/h")]) { database in
            try await database.publish()
            try await database.apply(Self.topic([("publish_rate", "1000/s")]))
            try await eventually("the next is taken at the new rate") {
                try await failure { try await database.publish() } == nil
            }
            try await database.apply(Self.topic([("publish_rate", "1/h")]))
            _ = try await failure { try await database.publish() }
            #expect(try await failure { try await database.publish() }?.state == "OR002")
        }
    }
}

extension TestDatabase {
    /// Does what the leading worker does at its beats.
    @discardableResult
    fileprivate func read() async throws -> [Housekeeping.GateEvent] {
        try await run { try Housekeeping($0).tendGates(most: 1000) }
    }

    /// Makes the last reading an old one.
    fileprivate func age() async throws {
        try await execute("select setval(reading, 0) from outrider.gate")
    }

    fileprivate func reading() async throws -> Int64 {
        try await value("select pg_sequence_last_value(reading) from outrider.gate")
    }

    /// How many messages pass without a further look.
    fileprivate func permits() async throws -> Int64 {
        try await value("select greatest(0, -pg_sequence_last_value(permits)) from outrider.gate")
    }

    /// Whether the topic takes a message, which is not published.
    fileprivate func isOpen() async throws -> Bool {
        let refused = try await failure {
            try await execute("begin; insert into outrider.outbox (topic, payload) values ('order.created', '{}')")
        }
        try await execute("rollback")
        return refused == nil
    }
}
