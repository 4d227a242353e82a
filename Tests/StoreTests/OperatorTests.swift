import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// What people do to messages: redrive, discard, replay, cancel, pause.
struct OperatorTests {
    // MARK: - Dead letters

    @Test func aRedrivenLetterIsReadyUnderTheSameIdOnce() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let letter = try await database.deadLetter(of: "mail")
            let message = try await database.value("select outrider.redrive(\(letter))", as: UUID.self)
            #expect(
                try await database.values("select message_id from outrider.deliveries", as: UUID.self) == [message])
            let second = try await failure { try await database.query("select outrider.redrive(\(letter))") }
            #expect(second?.state == "OR006")
            #expect(second?.message.contains("by postgres") == true)
            let discard = try await failure { try await database.query("select outrider.discard(\(letter), 'why')") }
            #expect(discard?.state == "OR006")
        }
    }

    @Test func ofTwoRedrivesAtOnceOneMakesTheMessageAndTheOtherIsTold() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let letter = try await database.deadLetter(of: "mail")
            let first = Session(database.url)
            let second = Session(database.url)
            try await first.execute("begin; select outrider.redrive('\(letter)')")
            async let waiting = failure { try await second.execute("select outrider.redrive('\(letter)')") }
            try await database.waitForBlocked()
            try await first.execute("commit")
            #expect(try await waiting?.state == "OR006")
            #expect(try await database.count("select count(*) from outrider.deliveries") == 1)
            await first.close()
            await second.close()
        }
    }

    @Test func aDiscardedLetterKeepsWhoAndWhyAndStaysClosed() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let letter = try await database.deadLetter(of: "mail")
            let nameless = try await failure { try await database.query("select outrider.discard(\(letter), ' ')") }
            #expect(nameless?.state == "OR005")
            try await database.query("select outrider.discard(\(letter), 'cancelled by phone')")
            #expect(
                try await database.value(
                    "select discarded_by || ': ' || discard_reason from outrider.dead_letters", as: String.self)
                    == "postgres: cancelled by phone")
            let redrive = try await failure { try await database.query("select outrider.redrive(\(letter))") }
            #expect(redrive?.state == "OR006")
        }
    }

    @Test func aLetterOfARemovedSubscriptionIsNotRedriven() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let letter = try await database.deadLetter(of: "mail")
            try await database.apply(prunes: true)
            let error = try await failure { try await database.query("select outrider.redrive(\(letter))") }
            #expect(error?.state == "OR006")
            #expect(error?.message.contains("subscription mail") == true)
        }
    }

    @Test func redriveAllGoesPageByPageOverTheOpenLettersOfTheTime() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.subscribe("bill", to: "order.paid")
            var letters: [UUID] = []
            for _ in 0..<7 { letters.append(try await database.deadLetter(of: "mail")) }
            _ = try await database.deadLetter(of: "bill", topic: "order.paid")
            try await database.query("select outrider.discard(\(letters[3]), 'not wanted')")
            let operation = try await database.value("select outrider.redrive_all('mail')", as: UUID.self)
            _ = try await database.deadLetter(of: "mail")  // died after the order was given
            #expect(try await database.status(of: operation) == "waiting 0")
            #expect(try await database.step(operation, most: 2))
            #expect(try await database.status(of: operation) == "running 2")
            while try await database.step(operation, most: 2) {}
            #expect(try await database.status(of: operation) == "finished 6")
            #expect(try await database.count("select count(*) from outrider.deliveries") == 6)
            #expect(
                try await database.count(
                    "select count(*) from outrider.dead_letters where redriven_at is null and discarded_at is null")
                    == 2)
            #expect(try await !database.step(operation))
        }
    }

    /// Whoever carries it out, the one who ordered it did it.
    @Test func redriveAllIsDoneInTheNameOfWhoOrderedIt() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            _ = try await database.deadLetter(of: "mail")
            let person = try await database.login(memberOf: "outrider_operator")
            try await person.execute("select outrider.redrive_all('mail')")
            try await database.run { try Housekeeping($0).carryOutOperations(most: 10) }
            #expect(
                try await database.value("select redriven_by from outrider.dead_letters", as: String.self)
                    == "\(database.name)_outrider_operator")
            await person.close()
        }
    }

    @Test func anOperationOnARemovedSubscriptionEnds() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            _ = try await database.deadLetter(of: "mail")
            let redrive = try await database.value("select outrider.redrive_all('mail')", as: UUID.self)
            let replay = try await database.value(
                "select outrider.replay('mail', now() - interval '1 h', now())", as: UUID.self)
            try await database.apply(prunes: true)
            try await database.run { try Housekeeping($0).carryOutOperations(most: 10) }
            #expect(try await database.status(of: redrive) == "failed 0")
            #expect(try await database.status(of: replay) == "failed 0")
        }
    }

    @Test func aLetterWithoutItsMessageHoldsUpNoOther() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish()
            try await database.execute("delete from outrider.outbox")  // by hand, for nothing of ours does that
            let empty = try await database.value(
                """
                with gone as (delete from outrider.delivery d returning d.*)
                select outrider.bury(g.subscription_id, g.message_id, 1, now(), 'message-missing', 'gone') from gone g
                """, as: UUID.self)
            _ = try await database.deadLetter(of: "mail")
            let operation = try await database.value("select outrider.redrive_all('mail')", as: UUID.self)
            while try await database.step(operation) {}
            #expect(try await database.status(of: operation) == "finished 1")
            let error = try await failure { try await database.query("select outrider.redrive(\(empty))") }
            #expect(error?.state == "OR006")
        }
    }

    // MARK: - Replay

    @Test func replaySendsTheRangeAgainPageByPage() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(20)
            try await database.publish(5, topic: "order.paid")
            try await database.execute("delete from outrider.delivery")  // delivered
            let from = try await database.value("select clock_timestamp()", as: Timestamp.self)
            try await database.publish(10)
            try await database.execute("delete from outrider.delivery")
            let to = try await database.value("select clock_timestamp()", as: Timestamp.self)
            try await database.publish(1)
            try await database.execute("delete from outrider.delivery")
            let operation = try await database.value(
                "select outrider.replay('mail', \(from), \(to))", as: UUID.self)
            var steps = 1
            while try await database.step(operation, most: 3) { steps += 1 }
            #expect(try await database.status(of: operation) == "finished 10")
            #expect(steps > 1)
            #expect(
                try await database.count(
                    "select count(distinct message_id) from outrider.deliveries where replay and state = 'ready'") == 10
            )
        }
    }

    @Test func replayOfAKeySendsThatKeyOnly() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(20)
            try await database.execute("delete from outrider.delivery")
            let operation = try await database.value(
                "select outrider.replay('mail', now() - interval '1 h', clock_timestamp(), key => 'k7')", as: UUID.self)
            while try await database.step(operation, most: 6) {}
            #expect(try await database.values("select key from outrider.deliveries", as: String.self) == ["k7"])
        }
    }

    @Test func replaySkipsWhatIsStillToBeDeliveredAndWhatWasCancelled() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(key: "ready")
            let cancelled = try await database.publish(key: "cancelled")
            try await database.query("select outrider.cancel_message(\(cancelled))")
            try await database.query(
                "select outrider.publish('order.created', '{}', key => 'scheduled', deliver_at => now() + interval '1 h')"
            )
            let done = try await database.publish(key: "done")
            try await database.query("delete from outrider.delivery where message_id = \(done)")
            let operation = try await database.value(
                "select outrider.replay('mail', now() - interval '1 h', clock_timestamp())", as: UUID.self)
            while try await database.step(operation) {}
            #expect(try await database.status(of: operation) == "finished 1")
            #expect(
                try await database.values(
                    "select key || case when replay then ' again' else '' end from outrider.deliveries order by 1",
                    as: String.self) == ["done again", "ready", "scheduled"])
        }
    }

    @Test(arguments: ["8f3e2d1c-0000-4000-8000-000000000001", "01900000-0000-7000-8000-000000000001", "now"])
    func chosenIdsAreReplayedOnce(id: String) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            // An id of another transaction was not generated by this one, so it counts as chosen.
            let id =
                if let chosen = UUID(id) { chosen } else {
                    try await database.value("select outrider.uuid_v7()", as: UUID.self)
                }
            try await database.query("select outrider.publish('order.created', '{}', id => \(id))")
            try await database.publish(5)
            try await database.execute("delete from outrider.delivery")
            let operation = try await database.value(
                "select outrider.replay('mail', now() - interval '1 h', clock_timestamp())", as: UUID.self)
            while try await database.step(operation, most: 2) {}
            #expect(try await database.status(of: operation) == "finished 6")
            #expect(
                try await database.count("select count(*) from outrider.deliveries where message_id = \(id)") == 1)
        }
    }

    @Test func aNewSubscriptionReadsTheLogFromTheEarliest() async throws {
        try await TestDatabase.with { database in
            try await database.publish(5)
            try await database.subscribe("mail", to: "order.created", from: "earliest")
            try await database.publish(2)
            try await database.run { try Housekeeping($0).carryOutOperations(most: 2) }
            #expect(
                try await database.values(
                    "select replay::text || ' ' || count(*) from outrider.deliveries group by replay order by 1",
                    as: String.self) == ["false 7"])
        }
    }

    @Test(arguments: ["now(), now() - interval '1 h'", "null, now()", "now(), null", "now(), now()"])
    func anEmptyRangeIsRefused(range: String) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let error = try await failure { try await database.execute("select outrider.replay('mail', \(range))") }
            #expect(error?.state == "OR005")
            #expect(error?.hint != nil)
        }
    }

    // MARK: - Cancelling

    @Test func cancellingTakesBackWhatWasNotTriedYet() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.subscribe("bill", to: "order.#")
            func cancel(_ id: UUID) async throws -> Bool {
                try await database.value("select outrider.cancel_message(\(id))")
            }
            let ready = try await database.publish()
            #expect(try await cancel(ready))
            #expect(try await !cancel(ready))
            let later = try await database.value(
                "select outrider.publish('order.created', '{}', deliver_at => now() + interval '1 h')", as: UUID.self)
            #expect(try await cancel(later))
            #expect(try await database.count("select count(*) from outrider.deliveries") == 0)
            #expect(
                try await database.values(
                    "select id from outrider.messages where cancelled_by = 'postgres' order by published_at",
                    as: UUID.self) == [ready, later])
            let sent = try await database.publish()
            try await database.execute("update outrider.delivery set owner = gen_random_uuid()")
            #expect(try await !cancel(sent))
            let tried = try await database.publish()
            try await database.query(
                "update outrider.delivery set attempts = 1, first_tried_at = now() where message_id = \(tried)")
            #expect(try await !cancel(tried))
            #expect(try await !cancel(UUID.random()))
            #expect(try await database.count("select count(*) from outrider.deliveries") == 4)
        }
    }

    // MARK: - Pausing

    @Test func pausingKeepsTheFirstNameAndResumingForgetsIt() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let person = try await database.login(memberOf: "outrider_operator")
            try await person.execute("select outrider.pause('mail')")
            try await database.execute("select outrider.pause('mail')")
            #expect(
                try await database.value("select paused_by from outrider.subscriptions", as: String.self)
                    == "\(database.name)_outrider_operator")
            try await database.execute("select outrider.resume('mail')")
            #expect(
                try await database.count("select count(*) from outrider.subscriptions where paused_at is null") == 1)
            await person.close()
        }
    }

    // MARK: - Names

    @Test(arguments: [
        "pause('mial')", "resume('mial')", "redrive_all('mial')", "replay('mial', now() - interval '1 h', now())",
        "redrive('8f3e2d1c-0000-4000-8000-000000000001')",
        "discard('8f3e2d1c-0000-4000-8000-000000000001', 'why')", "pause(null)", "redrive(null)",
    ])
    func whatIsNotThereIsSaidWithAHint(call: String) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let error = try await failure { try await database.execute("select outrider.\(call)") }
            #expect(error?.state == "OR007")
            #expect(error?.hint?.contains("lists them") == true)
        }
    }
}
