import Postgres
import Primitives
import TestSupport
import Testing

/// `inbox_accept` and `barrier`, which handlers call in their own transactions.
struct HandlerFunctionTests {
    // MARK: - The inbox

    @Test func aMessageIsAcceptedOnceByEachConsumer() async throws {
        try await TestDatabase.with { database in
            func accept(_ consumer: String, _ message: String) async throws -> Bool {
                try await database.value("select outrider.inbox_accept(\(consumer), \(message))")
            }
            var answers: [Bool] = []
            for (consumer, message) in [("billing", "a"), ("billing", "a"), ("billing", "b"), ("mail", "a")] {
                answers.append(try await accept(consumer, message))
            }
            #expect(answers == [true, false, true, true])
        }
    }

    @Test(arguments: [true, false])
    func aSecondCallWaitsForTheFirstOnesTransaction(commits: Bool) async throws {
        try await TestDatabase.with { database in
            let first = Session(database.url)
            try await first.execute("begin; select outrider.inbox_accept('billing', 'a')")
            let second = Session(database.url)
            async let isAccepted = second.value("select outrider.inbox_accept('billing', 'a')", as: Bool.self)
            try await database.waitForBlocked()
            try await first.execute(commits ? "commit" : "rollback")
            #expect(try await isAccepted == !commits)
            for session in [first, second] { await session.close() }
        }
    }

    @Test(arguments: [
        ("null, 'a'", "consumer is null"), ("'billing', null", "message_id is null"),
        ("'billing', repeat('a', 1001)", "message_id has 1001 bytes"),
        ("repeat('a', 1001), 'a'", "consumer has 1001 bytes"),
    ])
    func whatIsNoMessageIsRefusedWithAHint(arguments: String, message: String) async throws {
        try await TestDatabase.with { database in
            let error = try await failure { try await database.execute("select outrider.inbox_accept(\(arguments))") }
            #expect(error?.state == "OR005")
            #expect(error?.message == message)
            #expect(error?.hint != nil)
        }
    }

    // MARK: - The barrier

    private static let saga = "8f3e2d1c-0000-4000-8000-000000000001"

    /// Every order in which calls can come, one after the other: `a` acts, `c` compensates.
    @Test(arguments: [
        ("a", [true]), ("aa", [true, false]), ("ac", [true, true]), ("acc", [true, true, false]),
        ("aca", [true, true, false]), ("aac", [true, false, true]), ("c", [false]), ("cc", [false, false]),
        ("ca", [false, false]), ("cac", [false, false, false]), ("cca", [false, false, false]),
        ("acac", [true, true, false, false]),
    ])
    func oneActionThenOneCompensation(calls: String, expected: [Bool]) async throws {
        try await TestDatabase.with { database in
            var answers: [Bool] = []
            for call in calls { answers.append(try await Self.pass(call, database.session)) }
            #expect(answers == expected)
            // Another step, and another saga, have their own.
            #expect(
                try await database.value(
                    "select outrider.barrier(\(unsafeSQL: "'\(Self.saga)'"), 'charge[1]', 'action')", as: Bool.self))
            #expect(
                try await database.value(
                    "select outrider.barrier(gen_random_uuid(), 'charge', 'action')", as: Bool.self))
        }
    }

    /// The first call's transaction is open when the second one comes, which then gets this answer.
    @Test(
        arguments: [
            ("a", true, "a", false), ("a", false, "a", true), ("a", true, "c", true), ("a", false, "c", false),
            ("c", true, "a", false), ("c", false, "a", true), ("c", true, "c", false), ("c", false, "c", false),
        ] as [(Character, Bool, Character, Bool)])
    func ofTwoCallsAtOnceTheSecondWaits(
        first: Character, commits: Bool, second: Character, expected: Bool
    ) async throws {
        try await TestDatabase.with { database in
            let (session, other) = (Session(database.url), Session(database.url))
            try await session.execute("begin")
            #expect(try await Self.pass(first, session) == (first == "a"))
            async let answer = Self.pass(second, other)
            try await database.waitForBlocked()
            try await session.execute(commits ? "commit" : "rollback")
            #expect(try await answer == expected)
            for session in [session, other] { await session.close() }
        }
    }

    /// After an action that committed.
    @Test(arguments: [true, false])
    func ofTwoCompensationsAtOnceOneUndoes(commits: Bool) async throws {
        try await TestDatabase.with { database in
            #expect(try await Self.pass("a", database.session))
            let (session, other) = (Session(database.url), Session(database.url))
            try await session.execute("begin")
            #expect(try await Self.pass("c", session))
            async let answer = Self.pass("c", other)
            try await database.waitForBlocked()
            try await session.execute(commits ? "commit" : "rollback")
            #expect(try await answer == !commits)
            for session in [session, other] { await session.close() }
        }
    }

    @Test func ofManyCallsAtOnceAtMostOneActsAndOneUndoes() async throws {
        try await TestDatabase.with { database in
            for round in 0..<5 {
                let answers = try await withThrowingTaskGroup(of: (Character, Bool).self) { group in
                    for index in 0..<10 {
                        let call: Character = (index + round) % 2 == 0 ? "a" : "c"
                        group.addTask {
                            let session = Session(database.url)
                            let answer = try await Self.pass(call, session, step: "s\(round)")
                            await session.close()
                            return (call, answer)
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                let acts = answers.count { $0 == ("a", true) }
                let undoes = answers.count { $0 == ("c", true) }
                // Both, or, when a compensation came first, neither.
                #expect(acts == undoes && acts <= 1)
            }
        }
    }

    @Test(arguments: [
        "null, 'a', 'action'", "'\(saga)', null, 'action'", "'\(saga)', 'a', null", "'\(saga)', 'a', 'undo'",
        "'\(saga)', 'a', 'ACTION'", "'\(saga)', '', 'action'", "'\(saga)', repeat('a', 2001), 'action'",
    ])
    func whatIsNoOperationIsRefusedWithAHint(arguments: String) async throws {
        try await TestDatabase.with { database in
            let error = try await failure { try await database.execute("select outrider.barrier(\(arguments))") }
            #expect(error?.state == "OR005")
            #expect(error?.hint?.contains("Outrider-Saga-Id") == true)
        }
    }

    private static func pass(_ call: Character, _ session: Session, step: String = "charge") async throws -> Bool {
        try await session.value(
            """
            select outrider.barrier(\(unsafeSQL: "'\(saga)'"), \(step), \(call == "a" ? "action" : "compensate"))
            """)
    }
}
