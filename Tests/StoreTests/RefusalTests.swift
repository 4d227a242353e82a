import Postgres
import Primitives
import TestSupport
import Testing

/// What the log refuses, whichever way it comes.
struct RefusalTests {
    enum Way: CaseIterable, Sendable {
        case function
        case insert
        case copy
    }

    // MARK: - Times

    @Test(arguments: Way.allCases, [true, false])
    func aDeliveryThatWouldNeverComeDueIsRefusedWithAHint(way: Way, isSubscribed: Bool) async throws {
        try await TestDatabase.with { database in
            if isSubscribed { try await database.subscribe("mail", to: "order.created") }
            let error = try await failure {
                try await database.run { connection in
                    switch way {
                    case .function:
                        try connection.execute(
                            script: "select outrider.publish('order.created', '{}', deliver_at => 'infinity')")
                    case .insert:
                        try connection.execute(
                            script: """
                                insert into outrider.outbox (topic, payload, deliver_at)
                                values ('order.created', '{}', null), ('order.created', '{}', 'infinity')
                                """)
                    case .copy:
                        _ = try connection.copy(
                            into: "copy outrider.outbox (topic, payload, deliver_at) from stdin"
                        ) { try $0("order.created\t{}\t\\N\norder.created\t{}\tinfinity\n") }
                    }
                }
            }
            #expect(error?.state == "OR005")
            #expect(error?.message == "deliver_at is infinity")
            #expect(error?.hint != nil)
            #expect(try await database.count("select count(*) from outrider.messages") == 0)
            // The session that was refused publishes what is well formed, as any other.
            try await database.publish()
            #expect(
                try await database.count("select count(*) from outrider.deliveries where state = 'ready'")
                    == (isSubscribed ? 1 : 0))
        }
    }

    // MARK: - Nothing

    @Test(arguments: [("null, '{}'", "topic is null"), ("'order.created', null", "payload is null")])
    func aRowWithoutATopicOrAPayloadIsRefusedInOurWords(values: String, message: String) async throws {
        try await TestDatabase.with { database in
            for isSubscribed in [false, true] {
                if isSubscribed { try await database.subscribe("mail", to: "order.created") }
                let error = try await failure {
                    try await database.execute("insert into outrider.outbox (topic, payload) values (\(values))")
                }
                #expect(error?.state == "OR005")
                #expect(error?.message == message)
                #expect(error?.hint != nil)
            }
            #expect(try await database.count("select count(*) from outrider.messages") == 0)
        }
    }

    // MARK: - Length

    @Test(arguments: Way.allCases)
    func aDedupeKeyOverAThousandBytesIsRefusedWithAHint(way: Way) async throws {
        try await TestDatabase.with { database in
            // 501 characters, 1002 bytes.
            let key = String(repeating: "ä", count: 501)
            let error = try await failure {
                try await database.run { connection in
                    switch way {
                    case .function:
                        try connection.query("select outrider.publish('order.created', '{}', dedupe_key => \(key))")
                    case .insert:
                        try connection.query(
                            "insert into outrider.outbox (topic, payload, dedupe_key) values ('order.created', '{}', \(key))"
                        )
                    case .copy:
                        _ = try connection.copy(
                            into: "copy outrider.outbox (topic, payload, dedupe_key) from stdin"
                        ) { try $0("order.created\t{}\t\(key)\n") }
                    }
                }
            }
            #expect(error?.state == "OR005")
            #expect(error?.message == "dedupe_key has 1002 bytes")
            #expect(error?.hint != nil)
            let longest = String(key.dropLast())
            try await database.query("select outrider.publish('order.created', '{}', dedupe_key => \(longest))")
            #expect(try await database.count("select count(*) from outrider.messages") == 1)
        }
    }

    // MARK: - Ids

    @Test func anIdThatThisTransactionGeneratedExists() async throws {
        try await TestDatabase.with { database in
            let error = try await failure {
                try await database.run { connection in
                    try connection.transaction {
                        let id = try connection.query("select outrider.publish('order.created', '1')")[0]
                            .decode(0, as: UUID.self)
                        _ = try connection.query("select outrider.publish('order.created', '2', id => \(id))")
                    }
                }
            }
            #expect(error?.state == "OR008")
            #expect(error?.hint != nil)
        }
    }

    @Test(arguments: [true, false])
    func anIdThatAnOpenTransactionGeneratedExistsOnceItCommits(commits: Bool) async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            let first = Session(database.url)
            let second = Session(database.url)
            try await first.execute("begin")
            let id = try await first.value("select outrider.publish('order.created', '1')", as: UUID.self)
            async let waiting = failure {
                try await second.execute("select outrider.publish('order.created', '2', id => '\(id)')")
            }
            try await database.waitForBlocked()
            try await first.execute(commits ? "commit" : "rollback")
            let error = try await waiting
            #expect(error?.state == (commits ? "OR008" : nil))
            #expect(!commits || error?.hint != nil)
            #expect(
                try await database.values("select payload::text from outrider.messages", as: String.self)
                    == [commits ? "1" : "2"])
            #expect(try await database.count("select count(*) from outrider.deliveries") == 1)
            await first.close()
            await second.close()
        }
    }
}
