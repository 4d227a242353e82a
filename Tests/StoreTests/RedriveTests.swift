import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// What was sent once and is sent again: how often, in spite of what, and that nobody takes it back.
struct RedriveTests {
    // MARK: - Not twice

    @Test(arguments: [1, 100])
    func twoLettersOfOneMessageAreOneDelivery(page: Int) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let letter = try await database.deadLetter(of: "mail")
            // A replay of what is dead ends as a letter of its own.
            try await database.query(
                """
                select outrider.bury(d.subscription_id, d.message_id, 3, now(), 'exhausted', 'HTTP 503')
                from outrider.dead_letter d where d.id = \(letter)
                """)
            let operation = try await database.value("select outrider.redrive_all('mail')", as: UUID.self)
            while try await database.step(operation, most: Int32(page)) {}
            #expect(try await database.count("select count(*) from outrider.deliveries") == 1)
            #expect(
                try await database.count("select count(*) from outrider.dead_letters where redriven_at is null") == 0)
            #expect(try await database.status(of: operation).hasPrefix("finished"))
        }
    }

    @Test(arguments: [true, false])
    func whatAReplayHasQueuedIsNotQueuedAgain(all: Bool) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let letter = try await database.deadLetter(of: "mail")
            let replay = try await database.value(
                "select outrider.replay('mail', now() - interval '1 h', clock_timestamp())", as: UUID.self)
            while try await database.step(replay) {}
            #expect(try await database.status(of: replay) == "finished 1")
            if all {
                try await database.query("select outrider.redrive_all('mail')")
                try await database.run { try Housekeeping($0).carryOutOperations(most: 100) }
            } else {
                try await database.query("select outrider.redrive(\(letter))")
            }
            #expect(try await database.count("select count(*) from outrider.deliveries") == 1)
            #expect(
                try await database.count("select count(*) from outrider.dead_letters where redriven_at is null") == 0)
        }
    }

    @Test func noTimeMeansNow() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            _ = try await database.deadLetter(of: "mail")
            let operation = try await database.value("select outrider.redrive_all('mail', null)", as: UUID.self)
            _ = try await database.deadLetter(of: "mail")
            while try await database.step(operation) {}
            #expect(try await database.status(of: operation) == "finished 1")
        }
    }

    // MARK: - After its time

    /// Also when it is tried again, taken over, or given back.
    @Test(arguments: ["at once", "retried", "rescued", "released"])
    func aRedrivenMessageIsSentAlthoughItHasExpired(way: String) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let message = try await database.publish()
            var worker = try await Life.begin("first", on: database)
            try await worker.report(worker.claim(1), "refused", .dead(reason: "refused"))
            try await database.execute("update outrider.outbox set expires_at = now() - interval '1 h'")
            try await database.query("select outrider.redrive(d.id) from outrider.dead_letters d")
            switch way {
            case "retried":
                try await worker.report(worker.claim(1), "failed", .again(after: .zero, attempts: 1))
                #expect(try await database.run { try Housekeeping($0).moveDue(most: 10) } == 1)
            case "rescued":
                #expect(try await worker.claim(1).count == 1)
                let dead = worker
                worker = try await Life.begin("second", on: database)
                try await database.query("select outrider.rescue(\(dead.token))")
                await dead.session.close()
            case "released":
                let (claimed, token) = (try await worker.claim(1), worker.token)
                try await worker.session.run { try WorkerRegistry($0).release(claimed, token: token) }
            default: break
            }
            let claimed = try await worker.claim(1)
            #expect(claimed.map(\.messageID) == [message])
            #expect(claimed.map { $0.message?.isExpired } == [false])
            await worker.session.close()
        }
    }

    @Test func aMessageThatNobodyRedroveExpires() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.execute(
                "select outrider.publish('order.created', '{}', expires_at => now() - interval '1 s')")
            let worker = try await Life.begin("w", on: database)
            #expect(try await worker.claim(1).map { $0.message?.isExpired } == [true])
            await worker.session.close()
        }
    }

    // MARK: - Not taken back

    @Test(arguments: ["redriven", "replayed", "rescued", "ongoing"])
    func whatMayHaveBeenSentIsNotCancelled(how: String) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let message = try await database.publish()
            let worker = try await Life.begin("w", on: database)
            let claimed = try await worker.claim(1)
            switch how {
            case "redriven":
                try await worker.report(claimed, "refused", .dead(reason: "refused"))
                try await database.query("select outrider.redrive(d.id) from outrider.dead_letters d")
            case "replayed":
                try await worker.report(claimed, "succeeded", .done)
                try await database.query("select outrider.replay('mail', now() - interval '1 h', clock_timestamp())")
                try await database.run { try Housekeeping($0).carryOutOperations(most: 100) }
            case "rescued":
                try await database.query("select outrider.rescue(\(worker.token))")
            default:
                try await worker.report(claimed, "ongoing", .again(after: .seconds(60), attempts: 0))
            }
            #expect(try await database.count("select count(*) from outrider.deliveries where attempt = 0") == 1)
            #expect(try await !database.value("select outrider.cancel_message(\(message))", as: Bool.self))
            #expect(try await database.count("select count(*) from outrider.deliveries") == 1)
            await worker.session.close()
        }
    }
}
