import Delivery
import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// What applications do: publish in their own transactions.
struct PublishingTests {
    @Test func aMessageIsRoutedInItsOwnTransaction() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.run { connection in
                try connection.execute(
                    script: "begin; insert into outrider.outbox (topic, payload) values ('order.created', '{}')")
                #expect(
                    try connection.query("select count(*) from outrider.deliveries")[0].decode(0, as: Int64.self) == 1)
                try connection.execute(script: "rollback")
            }
            #expect(try await database.count("select count(*) from outrider.deliveries") == 0)
            #expect(try await database.count("select count(*) from outrider.messages") == 0)
        }
    }

    @Test func severalRowsAndTheFunctionAndCopyPublishAlike() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.execute(
                """
                insert into outrider.outbox (topic, key, payload, headers) values
                    ('order.created', 'k1', '{"n": 1}', '{"h": "1"}'), ('order.created', 'k2', '{"n": 2}', null)
                """)
            let id = try await database.value(
                """
                select outrider.publish('order.created', '{"n": 3}', key => 'k3', headers => '{"h": "3"}',
                    expires_at => now() + interval '1 hour')
                """, as: UUID.self)
            let copied = try await database.run { connection in
                try connection.copy(into: "copy outrider.outbox (topic, key, payload) from stdin") { write in
                    try write("order.created\tk4\t{\"n\": 4}\norder.created\tk5\t{\"n\": 5}\n")
                }
            }
            #expect(copied == 2)
            #expect(
                try await database.values("select key from outrider.deliveries order by key", as: String.self)
                    == ["k1", "k2", "k3", "k4", "k5"])
            let message = try await database.value(
                "select to_jsonb(m) from outrider.messages m where m.id = \(id)", as: JSON.self)
            #expect(message["headers"] == ["h": "3"])
            #expect(message["payload"] == ["n": 3])
            #expect(message["expires_at"]?.string != nil)
        }
    }

    @Test func hundredThousandRowsByOneCopyAreAllRoutedOnce() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let copied = try await database.run { connection in
                try connection.copy(into: "copy outrider.outbox (topic, payload) from stdin") { write in
                    for page in 0..<100 {
                        let rows = (0..<1000).map { "order.created\t{\"n\": \(page * 1000 + $0)}\n" }
                        try write(rows.joined())
                    }
                }
            }
            #expect(copied == 100_000)
            #expect(
                try await database.count("select count(distinct message_id) from outrider.delivery") == 100_000)
            #expect(try await database.count("select count(*) from outrider.delivery") == 100_000)
        }
    }

    @Test func whatASavepointTakesBackIsNotPublished() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.execute(
                """
                begin;
                insert into outrider.outbox (topic, key, payload) values ('order.created', 'before', '{}');
                savepoint s;
                insert into outrider.outbox (topic, key, payload, deliver_at) values
                    ('order.created', 'inside', '{}', null), ('order.created', 'inside', '{}', now() + interval '1 hour');
                rollback to s;
                insert into outrider.outbox (topic, key, payload) values ('order.created', 'after', '{}');
                commit
                """)
            #expect(
                try await database.values("select key from outrider.deliveries order by key", as: String.self)
                    == ["after", "before"])
        }
    }

    @Test func withoutSubscribersTheLogKeepsTheMessage() async throws {
        try await TestDatabase.with { database in
            try await database.publish()
            #expect(try await database.count("select count(*) from outrider.messages") == 1)
            #expect(try await database.count("select count(*) from outrider.deliveries") == 0)
        }
    }

    // MARK: - Routes

    static let patterns = ["order.created", "order.*", "order.#", "*.created", "#", "*.*.eu", "a-b.c", "*"]
    static let topics = [
        "order", "order.created", "order.created.eu", "orders.created", "order.paid", "a-b.c", "axb.c", "a-bxc",
    ]

    @Test func theDatabaseMatchesAsThePatternDoes() async throws {
        try await TestDatabase.with { database in
            for (index, pattern) in Self.patterns.enumerated() {
                try await database.subscribe("s\(index)", to: pattern)
            }
            for topic in Self.topics { try await database.publish(topic) }
            let routed = try await database.values(
                "select topic || ' to ' || subscription from outrider.deliveries", as: String.self)
            let expected = Self.topics.flatMap { topic in
                Self.patterns.enumerated().compactMap { index, pattern in
                    TopicPattern(pattern)!.matches(topic) ? "\(topic) to s\(index)" : nil
                }
            }
            #expect(routed.sorted() == expected.sorted())
        }
    }

    @Test func aMessageThatMatchesTwiceIsDeliveredOnce() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created", "order.*", "#")
            try await database.publish()
            #expect(try await database.count("select count(*) from outrider.deliveries") == 1)
        }
    }

    // MARK: - Ids

    @Test func idsAreVersion7AndOfThisMoment() async throws {
        try await TestDatabase.with { database in
            try await database.publish(1000)
            let ids = try await database.values("select id from outrider.messages", as: UUID.self)
            let now = try await database.value("select clock_timestamp()", as: Timestamp.self)
            #expect(Set(ids).count == 1000)
            #expect(ids.allSatisfy { $0.high >> 12 & 0xF == 7 && $0.low >> 62 == 0b10 })
            let ages = ids.map { now.microseconds / 1000 - Int64($0.high >> 16) }
            #expect(ages.allSatisfy { (-1...60_000).contains($0) })
            #expect(try await database.count("select count(*) from outrider.chosen_id") == 0)
        }
    }

    @Test(arguments: ["8f3e2d1c-0000-4000-8000-000000000001", "01900000-0000-7000-8000-000000000001"])
    func aChosenIdIsKeptAndRefusedTheSecondTime(id: String) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let id = UUID(id)!
            let published = try await database.value(
                "select outrider.publish('order.created', '{}', id => \(id))", as: UUID.self)
            #expect(published == id)
            let error = try await failure {
                try await database.query(
                    "insert into outrider.outbox (id, topic, payload) values (\(id), 'order.created', '{}')")
            }
            #expect(error?.state == "OR008")
            #expect(error?.hint != nil)
            #expect(try await database.count("select count(*) from outrider.deliveries") == 1)
        }
    }

    @Test func anIdThatWasGeneratedOnceCannotBeChosenLater() async throws {
        try await TestDatabase.with { database in
            let id = try await database.publish()
            let error = try await failure {
                try await database.query("select outrider.publish('order.created', '{}', id => \(id))")
            }
            #expect(error?.state == "OR008")
        }
    }

    @Test(arguments: [true, false])
    func theSecondOfTwoAtOnceWaitsForTheFirst(commits: Bool) async throws {
        try await TestDatabase.with { database in
            let id = UUID("8f3e2d1c-0000-4000-8000-000000000001")!
            let first = Session(database.url)
            let second = Session(database.url)
            try await first.execute("begin; select outrider.publish('order.created', '1', id => '\(id)')")
            async let waiting = failure {
                try await second.execute("select outrider.publish('order.created', '2', id => '\(id)')")
            }
            try await database.waitForBlocked()
            try await first.execute(commits ? "commit" : "rollback")
            #expect(try await waiting?.state == (commits ? "OR008" : nil))
            #expect(
                try await database.values("select payload::text from outrider.messages", as: String.self)
                    == [commits ? "1" : "2"])
            await first.close()
            await second.close()
        }
    }

    // MARK: - What is refused

    @Test(arguments: [
        "publish('Order', '{}')", "publish('', '{}')", "publish('1order', '{}')", "publish('order created', '{}')",
        "publish('order_created', '{}')", "publish(E'order\\n', '{}')", "publish(repeat('a', 256), '{}')",
        "publish(null, '{}')", "publish('order', null)", "publish('order', '{}', headers => '[]')",
        "publish('order', '{}', headers => '\"text\"')", "publish('order', '{}', headers => 'null')",
        "publish('order', '{}', headers => '{\"n\": 1}')", "publish('order', '{}', headers => '{\"n\": null}')",
        "publish('order', '{}', headers => '{\"n\": [\"a\"]}')", "publish('order', '{}', headers => '{\"n\": []}')",
        "publish('order', '{}', headers => '{\"n\": {\"a\": \"b\"}}')",
    ])
    func malformedMessagesAreRefusedWithAHint(call: String) async throws {
        try await TestDatabase.with { database in
            let error = try await failure { try await database.execute("select outrider.\(call)") }
            #expect(error?.state == "OR005")
            #expect(error?.hint != nil)
            #expect(try await database.count("select count(*) from outrider.messages") == 0)
        }
    }

    @Test func oneMalformedRowRefusesItsStatementWithoutAnySubscription() async throws {
        try await TestDatabase.with { database in
            let error = try await failure {
                try await database.execute(
                    "insert into outrider.outbox (topic, payload) values ('order.created', '{}'), ('Order', '{}')")
            }
            #expect(error?.state == "OR005")
            #expect(error?.message == "topic 'Order' is not a topic name")
            #expect(try await database.count("select count(*) from outrider.messages") == 0)
        }
    }

    // MARK: - Deduplication

    @Test func aKeyThatWasSeenWritesNothingAndReturnsTheFirstId() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.#")
            func publish(_ topic: String, _ key: String) async throws -> UUID {
                try await database.value("select outrider.publish(\(topic), '{}', dedupe_key => \(key))")
            }
            let first = try await publish("order.created", "a")
            #expect(try await publish("order.created", "a") == first)
            #expect(try await publish("order.created", "b") != first)
            #expect(try await publish("order.paid", "a") != first)
            try await database.execute(
                """
                insert into outrider.outbox (topic, payload, dedupe_key)
                values ('order.created', '{}', 'a'), ('order.created', '{}', 'c'), ('order.created', '{}', 'c')
                """)
            #expect(try await database.count("select count(*) from outrider.deliveries") == 4)
        }
    }

    @Test func aKeyMayComeAgainAfterTheTopicsWindow() async throws {
        try await TestDatabase.with { database in
            try await database.apply(["topic": "order.created", "dedupe_window": "1h"])
            let first = try await database.value(
                "select outrider.publish('order.created', '{}', dedupe_key => 'a')", as: UUID.self)
            #expect(
                try await database.count(
                    "select count(*) from outrider.dedupe where expires_at between now() + interval '59 minutes' and now() + interval '61 minutes'"
                ) == 1)
            try await database.execute("update outrider.dedupe set expires_at = now()")
            let second = try await database.value(
                "select outrider.publish('order.created', '{}', dedupe_key => 'a')", as: UUID.self)
            #expect(second != first)
        }
    }

    @Test(arguments: [true, false])
    func theSecondPublisherOfAKeyWaitsForTheFirst(commits: Bool) async throws {
        try await TestDatabase.with { database in
            let first = Session(database.url)
            let second = Session(database.url)
            try await first.execute("begin")
            let id = try await first.value(
                "select outrider.publish('order.created', '1', dedupe_key => 'a')", as: UUID.self)
            async let waiting = second.value(
                "select outrider.publish('order.created', '2', dedupe_key => 'a')", as: UUID.self)
            try await database.waitForBlocked()
            try await first.execute(commits ? "commit" : "rollback")
            #expect(try await (waiting == id) == commits)
            #expect(try await database.count("select count(*) from outrider.messages") == 1)
            await first.close()
            await second.close()
        }
    }

    // MARK: - Later

    @Test func onlyWhatIsDueLaterIsScheduled() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.execute(
                """
                insert into outrider.outbox (topic, key, payload, deliver_at) values
                    ('order.created', 'now', '{}', null), ('order.created', 'past', '{}', now() - interval '1 hour'),
                    ('order.created', 'later', '{}', now() + interval '1 hour'), ('order.paid', 'nobody', '{}', now() + interval '1 hour')
                """)
            let states = try await database.values(
                "select key || ' ' || state || ' ' || coalesce((due_at > now())::text, '') from outrider.deliveries order by key",
                as: String.self)
            #expect(states == ["later scheduled true", "now ready ", "past ready "])
        }
    }
}
