import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// What is done to all dead letters of a subscription, and that many of them are no burden.
struct BulkLetterTests {
    @Test func discardAllGoesPageByPageAndKeepsWhoAndWhy() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.subscribe("bill", to: "order.paid")
            for _ in 0..<5 { _ = try await database.deadLetter(of: "mail") }
            _ = try await database.deadLetter(of: "bill", topic: "order.paid")
            let nameless = try await failure { try await database.query("select outrider.discard_all('mail', '')") }
            #expect(nameless?.state == "OR005")
            let person = try await database.login(memberOf: "outrider_operator")
            let operation = try await person.value("select outrider.discard_all('mail', 'test orders')", as: UUID.self)
            _ = try await database.deadLetter(of: "mail")  // died after the order was given
            #expect(try await database.step(operation, most: 2))
            #expect(
                try await database.value(
                    "select concat_ws(' ', status, done, total, reason) from outrider.operations", as: String.self)
                    == "running 2 5 test orders")
            while try await database.step(operation, most: 2) {}
            #expect(try await database.status(of: operation) == "finished 5")
            #expect(
                try await database.values(
                    "select distinct discarded_by || ': ' || discard_reason from outrider.dead_letters",
                    as: String?.self
                )
                .compactMap(\.self) == ["\(database.name)_outrider_operator: test orders"])
            #expect(
                try await database.count("select count(*) from outrider.deliveries where subscription = 'mail'") == 0)
            #expect(
                try await database.values(
                    "select subscription from outrider.dead_letters where discarded_at is null order by 1",
                    as: String.self) == ["bill", "mail"])
            await person.close()
        }
    }

    @Test func lettersOfARemovedSubscriptionAreDiscarded() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            _ = try await database.deadLetter(of: "mail")
            try await database.apply(prunes: true)
            let redrive = try await failure { try await database.query("select outrider.redrive_all('mail')") }
            #expect(redrive?.state == "OR007")
            let unknown = try await failure { try await database.query("select outrider.discard_all('mial', 'gone')") }
            #expect(unknown?.state == "OR007")
            let operation = try await database.value("select outrider.discard_all('mail', 'gone')", as: UUID.self)
            while try await database.step(operation) {}
            #expect(try await database.status(of: operation) == "finished 1")
        }
    }

    @Test func aCancelledOperationStopsWhereItIs() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            for _ in 0..<5 { _ = try await database.deadLetter(of: "mail") }
            let operation = try await database.value("select outrider.redrive_all('mail')", as: UUID.self)
            #expect(try await database.step(operation, most: 2))
            try await database.query("select outrider.cancel_operation(\(operation))")
            #expect(try await !database.step(operation, most: 2))
            #expect(
                try await database.value(
                    "select concat_ws(' ', status, done, cancelled_by) from outrider.operations", as: String.self)
                    == "cancelled 2 postgres")
            #expect(
                try await database.count("select count(*) from outrider.dead_letters where redriven_at is null") == 3)
            let ended = try await failure { try await database.query("select outrider.cancel_operation(\(operation))") }
            #expect(ended?.state == "OR006")
            let unknown = try await failure {
                try await database.query("select outrider.cancel_operation(gen_random_uuid())")
            }
            #expect(unknown?.state == "OR007")
            try await database.subscribe("bill", to: "order.created", from: "earliest")
            let opening = try await failure {
                try await database.query(
                    "select outrider.cancel_operation(o.id) from outrider.operations o where o.kind = 'open'")
            }
            #expect(opening?.state == "OR006")
        }
    }

    /// Whoever leads next goes on where the last step that was committed ended.
    @Test func aStepThatIsRolledBackIsDoneAgain() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            for _ in 0..<4 { _ = try await database.deadLetter(of: "mail") }
            let operation = try await database.value("select outrider.redrive_all('mail')", as: UUID.self)
            let dying = Session(database.url)
            try await dying.execute("begin; select outrider.operation_step('\(operation)', 2)")
            // Meanwhile nobody else takes the step.
            #expect(try await !database.step(operation, most: 2))
            await dying.close()
            try await eventually("its session has ended") { try await database.step(operation, most: 2) }
            while try await database.step(operation, most: 2) {}
            #expect(try await database.status(of: operation) == "finished 4")
            #expect(try await database.count("select count(*) from outrider.deliveries") == 4)
        }
    }

    /// What a page of letters, a count and a step read is bounded by an index, however many letters others have.
    @Test(arguments: [
        "select count(*) from outrider.dead_letters where subscription = 'mail' and redriven_at is null and discarded_at is null",
        """
        select id, key from outrider.dead_letters where subscription = 'mail' and redriven_at is null and discarded_at is null
            and id < outrider.uuid_v7() order by id desc limit 50
        """,
        "select dead from outrider.queue_depth",
        "select id from outrider.dead_letters where saga_id = '01938f3c-0000-7000-8000-000000000001'",
    ])
    func noneReadsAllLetters(query: String) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.execute(
                """
                insert into outrider.dead_letter (subscription_id, subscription, message_id, key, payload, attempts, reason)
                select 1, case n % 100 when 0 then 'mail' else 'other' end, gen_random_uuid(), 'k', to_jsonb(repeat('x', 500)), 1, 'refused'
                from generate_series(1, 20000) n
                """)
            try await database.execute("vacuum analyze outrider.dead_letter")
            let plan = try await database.values("explain \(unsafeSQL: query)", as: String.self)
            #expect(!plan.contains { $0.contains("Seq Scan on dead_letter") }, "\(plan)")
            #expect(plan.contains { $0.contains("dead_letter_open") || $0.contains("dead_letter_saga") }, "\(plan)")
        }
    }

    /// The queue has no index by message: it is not read for letters that nothing can have brought back.
    @Test func aRedriveReadsTheQueueOnlyForWhatMayBeInIt() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            var letters: [UUID] = []
            for _ in 0..<3 { letters.append(try await database.deadLetter(of: "mail")) }
            func again(_ letters: [UUID]) async throws -> Int {
                try await database.count("select cardinality(outrider.queued_again(\(letters)))::bigint")
            }
            try await database.query("select outrider.redrive(\(letters[0]))")
            #expect(try await again(Array(letters.dropFirst())) == 0)
            let replay = try await database.value(
                "select outrider.replay('mail', now() - interval '1 h', clock_timestamp())", as: UUID.self)
            while try await database.step(replay) {}
            #expect(try await database.status(of: replay) == "finished 2")
            #expect(try await again(Array(letters.dropFirst())) == 2)
            try await database.query("select outrider.redrive_all('mail')")
            try await database.run { try Housekeeping($0).carryOutOperations(most: 10) }
            #expect(try await database.count("select count(*) from outrider.deliveries") == 3)
        }
    }
}
