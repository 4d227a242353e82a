import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// A dead letter that is redriven with another payload: whom it reaches, what it is afterwards, and where it came from.
struct EditedLetterTests {
    @Test func theCopyGoesToItsSubscriptionAloneAndTheLogKeepsTheOriginal() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.subscribe("bill", to: "order.created")
            let letter = try await database.deadLetter(of: "mail")
            let original = try await database.value("select message_id from outrider.dead_letters", as: UUID.self)
            try await database.execute("delete from outrider.delivery")
            let copy = try await database.value(
                #"select outrider.redrive(\#(letter), '{"mended": true}')"#, as: UUID.self)
            #expect(copy != original)
            #expect(
                try await database.values(
                    "select concat(subscription, ' ', message_id) from outrider.deliveries", as: String.self)
                    == ["mail \(copy)"])
            let row = try await database.value(
                """
                select jsonb_build_object('payload', m.payload, 'headers', m.headers, 'topic', m.topic, 'redrive_of', m.redrive_of,
                    'original', m.original_id, 'is_new', m.published_at > o.published_at, 'untouched', o.payload)
                from outrider.messages m, outrider.messages o where m.id = \(copy) and o.id = \(original)
                """, as: JSON.self)
            #expect(row["payload"] == ["mended": true])
            #expect(row["untouched"] == [:])
            #expect(row["topic"] == "order.created")
            #expect(row["headers"]?["original-id"] == JSON("\(original)"))
            #expect(row["headers"]?["redrive-of"] == JSON("\(letter)"))
            #expect(row["redrive_of"] == JSON("\(letter)"))
            #expect(row["original"] == JSON("\(original)"))
            #expect(row["is_new"] == true)
            #expect(
                try await database.value(
                    "select array[redriven_as::text, redriven_by, payload::text] from outrider.dead_letters",
                    as: [String].self) == ["\(copy)", "postgres", "{}"])
            let again = try await failure { try await database.query("select outrider.redrive(\(letter), '1')") }
            #expect(again?.state == "OR006")
            #expect(try await database.count("select count(*) from outrider.messages") == 2)
        }
    }

    @Test func aChainOfLettersLeadsBackToWhatWasPublished() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let original = try await database.publish()
            let worker = try await Life.begin("w", on: database)
            func die() async throws -> UUID {
                try await worker.report(worker.claim(1), "refused", .dead(reason: "refused"))
                return try await database.value("select id from outrider.dead_letters order by dead_at desc limit 1")
            }
            let first = try await die()
            let copy = try await database.value("select outrider.redrive(\(first), '1')", as: UUID.self)
            let second = try await die()
            #expect(try await database.value("select outrider.redrive(\(second))", as: UUID.self) == copy)
            let third = try await die()
            let last = try await database.value("select outrider.redrive(\(third), '2')", as: UUID.self)
            #expect(Set([original, copy, last]).count == 3)
            let chain = try await database.values(
                """
                select concat(message_id, ' ', redrive_of, ' ', redriven_as) from outrider.dead_letters order by dead_at
                """, as: String.self)
            #expect(
                chain == ["\(original)  \(copy)", "\(copy) \(first) \(copy)", "\(copy) \(second) \(last)"])
            #expect(
                try await database.value(
                    "select concat(redrive_of, ' ', original_id) from outrider.messages where id = \(last)",
                    as: String.self)
                    == "\(third) \(original)")
            await worker.session.close()
        }
    }

    @Test func replaysAndNewSubscriptionsGetWhatWasPublished() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let letter = try await database.deadLetter(of: "mail")
            let original = try await database.value("select message_id from outrider.dead_letters", as: UUID.self)
            try await database.query("select outrider.redrive(\(letter), '1')")
            try await database.execute("delete from outrider.delivery")
            try await database.query("select outrider.replay('mail', now() - interval '1 h', clock_timestamp())")
            try await database.subscribe("bill", to: "order.created", from: "earliest")
            try await database.run { try Housekeeping($0).carryOutOperations(most: 10) }
            #expect(
                try await database.values(
                    "select concat(subscription, ' ', message_id) from outrider.deliveries order by 1", as: String.self)
                    == ["bill \(original)", "mail \(original)"])
        }
    }

    @Test func itIsKeptUntilItIsDeliveredAndForgottenAfterwards() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let letter = try await database.deadLetter(of: "mail")
            let copy = try await database.value("select outrider.redrive(\(letter), '1')", as: UUID.self)
            try await database.query("update outrider.edited_message set at = now() - interval '9 days'")
            _ = try await database.run { try Housekeeping($0).prune(most: 100) }
            #expect(try await database.count("select count(*) from outrider.edited_message") == 1)
            try await database.query("delete from outrider.outbox where id = \(copy)")
            _ = try await database.run { try Housekeeping($0).prune(most: 100) }
            #expect(try await database.count("select count(*) from outrider.edited_message") == 0)
        }
    }
}
