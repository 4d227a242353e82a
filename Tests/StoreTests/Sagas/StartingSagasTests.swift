import Postgres
import Primitives
import Sagas
import Store
import TestSupport
import Testing

/// `start_saga`.
struct StartingSagasTests {
    // MARK: - Starting

    @Test func aStartedSagaIsPinnedToItsDefinitionAndReady() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder(["retention": "2d"])
            let id = try await database.value(
                """
                select outrider.start_saga('place-order', '{"orderId": 17, "total": 42.50}',
                    headers => '{"traceparent": "00-1"}')
                """, as: UUID.self)
            var row = try await database.row("select * from outrider.sagas")
            #expect(row.removeValue(forKey: "started_at")?.isNull == false)
            #expect(row.removeValue(forKey: "hash")?.isNull == false)
            #expect(
                row == [
                    "id": JSON("\(id)"), "saga": "place-order", "version": 1, "key": "17", "status": "running",
                    "suspended": false, "waiting_for": nil, "failure": nil,
                    "input": ["total": .number(JSONNumber(digits: "42.50")), "orderId": 17], "output": nil,
                    "skipped": 0, "deadline": nil, "finished_at": nil, "trouble": nil, "parent_id": nil,
                    "parent_step": nil, "worker": nil,
                ])
            #expect(
                try await database.count(
                    """
                    select count(*) from outrider.saga s
                    join outrider.definition d on d.kind = 'saga' and d.name = s.name and d.hash = s.hash and d.version = s.version
                    where s.retention = '2 days' and s.headers = '{"traceparent": "00-1"}'
                    """) == 1)
            let worker = try await Life.begin("w", on: database)
            let claimed = try await worker.claimSagas()
            #expect(claimed.map(\.saga) == [id])
            #expect(claimed[0].head?.traceParent == "00-1")
            #expect(claimed[0].head?.hasBegun == false)
            await worker.session.close()
        }
    }

    @Test func aRolledBackStartLeavesNothing() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            try await database.execute(
                "begin; select outrider.start_saga('place-order', '{\"orderId\": 17}'); rollback")
            #expect(
                try await database.count(
                    """
                    select (select count(*) from outrider.saga) + (select count(*) from outrider.saga_key)
                        + (select count(*) from outrider.delivery)
                    """) == 0)
        }
    }

    // MARK: - Keys

    @Test(arguments: [
        ("${ .input.orderId }", "{\"orderId\": 17}", "17"), ("${ .input.orderId }", "{\"orderId\": \"a b\"}", "a b"),
        ("${ .input.orderId }", "{\"orderId\": 12345678901234567890.50}", "12345678901234567890.50"),
        ("${ .input.orderId }", "{\"orderId\": true}", "true"),
        (
            "order ${ .input.order.id }/${ .input.items[0] }", "{\"order\": {\"id\": 7}, \"items\": [\"x\"]}",
            "order 7/x"
        ),
    ])
    func theDefinitionsKeyIsMadeOfTheInput(key: JSON, input: String, expected: String) async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder(["key": key])
            try await database.execute("select outrider.start_saga('place-order', '\(input)')")
            #expect(try await database.value("select key from outrider.sagas", as: String.self) == expected)
        }
    }

    @Test func aKeyThatIsGivenOverrulesTheDefinitions() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            try await database.start(key: "mine")
            try await database.start("place-order", [], key: "needs no orderId")
            #expect(
                try await database.values("select key from outrider.sagas order by 1", as: String.self)
                    == ["mine", "needs no orderId"])
        }
    }

    @Test func withoutAKeyEachStartIsANewSaga() async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("plain", [.call("reserve")]))
            #expect(try await database.start("plain") != database.start("plain"))
        }
    }

    @Test(arguments: ["running", "stuck", "completed", "compensated", "failed", "terminated"])
    func theSameKeyAndInputIsTheSameSagaWhateverItsStatus(status: String) async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start("place-order", ["orderId": 17, "total": 42])
            try await database.set(id, status)
            // The order of members and the form of a number make no other input.
            #expect(
                try await database.value(
                    "select outrider.start_saga('place-order', '{\"total\": 4.2e1, \"orderId\": 17}')") == id)
            let error = try await failure { try await database.start("place-order", ["orderId": 17]) }
            #expect(error?.state == "OR004")
            #expect(error?.message == "the key '17' of saga place-order is in use with another input")
            #expect(error?.detail?.contains("\(id)") == true)
            #expect(error?.hint != nil)
            #expect(try await database.count("select count(*) from outrider.delivery") == 1)
        }
    }

    @Test func keysOfTwoSagasAreApart() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            try await database.apply(.saga("bill", [.call("charge")], ["key": "${ .input.orderId }"]))
            #expect(try await database.start() != database.start("bill"))
        }
    }

    /// The other half: with `reuse_key` an end frees the key.
    @Test(arguments: [true, false])
    func reuseKeyFreesTheKeyAtTheEnd(reuses: Bool) async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder(["reuse_key": .bool(reuses)])
            let first = try await database.start()
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            #expect(try await database.start() == first)
            try await saga.succeed("reserve")
            #expect(saga.state.status == .completed)
            let second = try await database.start()
            #expect((second != first) == reuses)
            #expect(
                try await database.value(
                    "select saga_id from outrider.saga_key where name = 'place-order' and key = '17'") == second)
            await worker.session.close()
        }
    }

    /// Somebody tidied up by hand.
    @Test func aKeyWhoseSagaIsGoneIsFree() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let gone = try await database.start()
            try await database.execute("delete from outrider.saga")
            let id = try await database.start()
            #expect(id != gone)
            #expect(try await database.start() == id)
        }
    }

    // MARK: - At the same time

    @Test func ofFiftyStartsWithOneKeyOneWinsAndTheOthersGetIt() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let first = Session(database.url)
            try await first.execute("begin")
            let rolledBack = try await first.value(
                "select outrider.start_saga('place-order', '{\"orderId\": 17}')", as: UUID.self)
            async let started = withThrowingTaskGroup(of: UUID.self) { group in
                for _ in 0..<49 {
                    group.addTask {
                        let session = Session(database.url)
                        let id = try await session.value(
                            "select outrider.start_saga('place-order', '{\"orderId\": 17}')", as: UUID.self)
                        await session.close()
                        return id
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            try await database.waitForBlocked(49)
            try await first.execute("rollback")
            let ids = try await started
            #expect(ids.count == 49)
            #expect(Set(ids).count == 1)
            #expect(!ids.contains(rolledBack))
            #expect(try await database.values("select id from outrider.sagas", as: UUID.self) == [ids[0]])
            #expect(try await database.count("select count(*) from outrider.delivery") == 1)
            await first.close()
        }
    }

    @Test func aStartWithOtherInputWaitsAndIsRefusedOnceTheFirstCommits() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let (first, second) = (Session(database.url), Session(database.url))
            try await first.execute("begin; select outrider.start_saga('place-order', '{\"orderId\": 17}')")
            async let refused = failure {
                try await second.execute("select outrider.start_saga('place-order', '{\"orderId\": 17, \"total\": 1}')")
            }
            try await database.waitForBlocked()
            try await first.execute("commit")
            #expect(try await refused?.state == "OR004")
            for session in [first, second] { await session.close() }
        }
    }

    /// Its snapshot does not see the saga that has the key: it is to begin anew.
    @Test func aRepeatableReadThatIsTooOldIsToldToBeginAnew() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let old = Session(database.url)
            try await old.execute("begin isolation level repeatable read; select 1")
            let id = try await database.start()
            let error = try await failure {
                try await old.execute("select outrider.start_saga('place-order', '{\"orderId\": 17}')")
            }
            #expect(error?.state == "40001")
            try await old.execute("rollback; begin isolation level repeatable read")
            #expect(
                try await old.value("select outrider.start_saga('place-order', '{\"orderId\": 17}')", as: UUID.self)
                    == id)
            #expect(
                try await old.value("select outrider.start_saga('place-order', '{\"orderId\": 18}')", as: UUID.self)
                    != id)
            try await old.execute("commit")
            #expect(try await database.count("select count(*) from outrider.sagas") == 2)
            await old.close()
        }
    }

    // MARK: - Later

    @Test func aSagaThatStartsLaterIsScheduledAndItsTimerGoesWithTheFirstClaim() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.value(
                """
                select outrider.start_saga('place-order', '{"orderId": 17}', start_at => now() + interval '1 hour')
                """, as: UUID.self)
            #expect(try await database.count("select count(*) from outrider.delivery") == 0)
            #expect(
                try await database.count(
                    """
                    select count(*) from outrider.saga s join outrider.scheduled d on d.id = s.timer
                    where d.due_at = s.started_at and d.message_id = s.id and s.started_at > now() + interval '59 minutes'
                    """) == 1)
            // Mail brings it early; what was to bring it later is not left behind.
            try await database.query("select outrider.cancel_saga(\(id), 'no longer wanted')")
            let worker = try await Life.begin("w", on: database)
            #expect(try await worker.claimSagas().map(\.saga) == [id])
            #expect(try await database.count("select count(*) from outrider.scheduled") == 0)
            await worker.session.close()
        }
    }

    @Test func aStartInThePastIsAStartNow() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            try await database.execute(
                """
                select outrider.start_saga('place-order', '{"orderId": 17}', start_at => now() - interval '1 day')
                """)
            #expect(
                try await database.count(
                    "select count(*) from outrider.sagas where started_at > now() - interval '1 minute'") == 1)
            #expect(try await database.count("select count(*) from outrider.delivery") == 1)
        }
    }

    // MARK: - Refusals

    @Test(arguments: [
        ("'nope', '{}'", "OR003: there is no saga 'nope'"), ("null, '{}'", "OR003: there is no saga NULL"),
        ("'removed', '{}'", "OR003: there is no saga 'removed'"),
        ("'place-order', null", "OR005: the input is null"),
        ("'place-order', '{}'", "OR005: the input has no .orderId, which the saga's key is made of"),
        ("'place-order', 'null'", "OR005: the input has no .orderId, which the saga's key is made of"),
        ("'place-order', '[17]'", "OR005: the input has no .orderId, which the saga's key is made of"),
        ("'place-order', '{\"orderId\": null}'", "OR005: the input has no .orderId, which the saga's key is made of"),
        (
            "'place-order', '{\"orderId\": {\"a\": 1}}'",
            "OR005: the saga's key is made of .orderId of the input, which is an object"
        ),
        ("'place-order', '{\"orderId\": \"\"}'", "OR005: the key is empty"),
        ("'place-order', '{}', ''", "OR005: the key is empty"),
        ("'place-order', '{}', repeat('ä', 501)", "OR005: the key has 1002 bytes"),
        ("'place-order', '{\"orderId\": 1}', start_at => 'infinity'", "OR005: start_at is infinity"),
        ("'place-order', '{\"orderId\": 1}', headers => '[]'", "OR005: headers [] are not an object of strings"),
        ("'place-order', '{\"orderId\": 1}', headers => 'null'", "OR005: headers null are not an object of strings"),
        (
            "'place-order', '{\"orderId\": 1}', headers => '{\"a\": 1}'",
            "OR005: headers {\"a\": 1} are not an object of strings"
        ),
    ])
    func whatCannotBeStartedIsRefusedWithAHint(arguments: String, expected: String) async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("removed", [.call("reserve")]))
            try await database.apply(prunes: true)
            try await database.placeOrder()
            let error = try await failure { try await database.execute("select outrider.start_saga(\(arguments))") }
            #expect(error.map { "\($0.state ?? ""): \($0.message)" } == expected)
            #expect(error?.hint != nil)
            #expect(try await database.count("select count(*) from outrider.saga_key") == 0)
        }
    }

    @Test func aJSONNullIsAnInputAndTheLongestKeyIsAKey() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            try await database.execute("select outrider.start_saga('place-order', 'null', repeat('ä', 500))")
            #expect(try await database.count("select count(*) from outrider.sagas where input = 'null'") == 1)
        }
    }

    // MARK: - Sub-sagas

    @Test func aSubSagaIsFoundAgainByItsOwnStepOnly() async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("child", [.call("a")], ["retention": "1h"]))
            try await database.placeOrder(["retention": "30d"])
            let parent = try await database.start()
            func begin(_ step: String, parent: UUID = parent) async throws -> UUID {
                try await database.value(
                    "select outrider.begin_saga('child', '{}', 'k', null, null, \(parent), \(step))")
            }
            let child = try await begin("one")
            #expect(try await begin("one") == child)
            #expect(try await failure { try await begin("two") }?.state == "OR004")
            #expect(try await failure { try await begin("one", parent: child) }?.state == "OR004")
            #expect(try await failure { try await database.start("child", [:], key: "k") }?.state == "OR004")
            #expect(try await database.count("select count(*) from outrider.saga where retention = '30 days'") == 2)
            // Completed it is what the step has done; undone, or never done, the step that is tried again gets a new one.
            try await database.set(child, "completed")
            #expect(try await begin("one") == child)
            try await database.set(child, "compensated")
            let second = try await begin("one")
            #expect(second != child)
            #expect(try await begin("one") == second)
        }
    }

    @Test func sagasRunEachOtherThirtyTwoDeep() async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("child", [.call("a")]))
            try await database.placeOrder()
            var saga = try await database.start()
            func begin() async throws -> UUID {
                try await database.value(
                    "select outrider.begin_saga('child', '{}', null, null, null, \(saga), 'sub')")
            }
            for _ in 1...32 { saga = try await begin() }
            let error = try await failure { _ = try await begin() }
            #expect(error?.state == "OR006")
            #expect(error?.message == "the saga child would be the sub-saga of 33 others")
        }
    }
}
