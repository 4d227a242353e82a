import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// What is left of a saga once its retention is over: nothing.
struct SagaRetentionTests {
    @Test func anOutlivedSagaGoesWithAllThatBelongsToIt() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder(["retention": "2d"])
            let ids = [try await database.start(), try await database.start("place-order", ["orderId": 18])]
            for id in ids {
                try await database.query("select outrider.signal_saga(\(id), 'paid')")
                try await database.execute(
                    """
                    insert into outrider.saga_callback (token, saga_id, step, op, send) values ('\(id)', '\(id)', 'a', 'action', 1);
                    insert into outrider.saga_fact (saga_id, at, event, detail, worker) values ('\(id)', now(), 'begun', '{}', 'w')
                    """)
                try await database.set(id, "completed")
            }
            try await database.execute(
                """
                update outrider.saga set finished_at = now() - interval '2 days' + interval '1 second' * case key when '17' then -1 else 60 end
                """)
            #expect(try await database.value("select outrider.prune_sagas()", as: Int32.self) == 1)
            for table in ["saga", "saga_key", "saga_fact", "saga_mail", "saga_callback"] {
                #expect(
                    try await database.values(
                        "select \(unsafeSQL: table == "saga" ? "id" : "saga_id") from outrider.\(unsafeSQL: table)",
                        as: UUID.self) == [ids[1]], "\(table)")
            }
            // The key is free.
            #expect(try await database.start() != ids[0])
            #expect(try await database.start("place-order", ["orderId": 18]) == ids[1])
        }
    }

    @Test func whatHasNotEndedStaysHoweverOldItIs() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder(["retention": "0s"])
            try await database.start()
            try await database.execute(
                "update outrider.saga set started_at = now() - interval '10 years', status = 'stuck'")
            #expect(try await database.value("select outrider.prune_sagas()", as: Int32.self) == 0)
        }
    }

    @Test func itIsTheNumberOfSagasThatIsLimited() async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("plain", [.call("a")], ["retention": "1h"]))
            for _ in 0..<5 { try await database.start("plain") }
            try await database.execute(
                "update outrider.saga set status = 'completed', finished_at = now() - interval '2 hours'")
            var pruned: [Int32] = []
            for _ in 0..<4 { pruned.append(try await database.value("select outrider.prune_sagas(2)")) }
            #expect(pruned == [2, 2, 1, 0])
        }
    }

    @Test func aSubSagaStaysAsLongAsItsParent() async throws {
        try await TestDatabase.with { database in
            try await database.apply(
                .saga("child", [.call("a")], ["retention": "1h"]), .saga("parent", [.call("a")], ["retention": "1d"]))
            let parent = try await database.start("parent")
            let child = try await database.value(
                "select outrider.begin_saga('child', '{}', null, null, null, \(parent), 'sub')", as: UUID.self)
            try await database.set(parent, "completed")
            try await database.set(child, "completed")
            func prune(_ age: String) async throws -> Int32 {
                try await database.execute("update outrider.saga set finished_at = now() - interval '\(age)'")
                return try await database.value("select outrider.prune_sagas()")
            }
            #expect(try await prune("2 hours") == 0)
            #expect(try await prune("2 days") == 1)
            #expect(try await database.values("select id from outrider.sagas", as: UUID.self) == [child])
            #expect(try await prune("2 days") == 1)
        }
    }

    /// Somebody looks at one of them at this moment.
    @Test func aLockedSagaIsLeftForTheNextTime() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder(["retention": "0s"])
            for order in 1...2 { try await database.start("place-order", ["orderId": JSON(order)]) }
            try await database.execute(
                "update outrider.saga set status = 'completed', finished_at = now() - interval '1 second'")
            let other = Session(database.url)
            try await other.execute("begin; select from outrider.saga where key = '1' for update")
            #expect(try await database.value("select outrider.prune_sagas()", as: Int32.self) == 1)
            #expect(try await database.values("select key from outrider.sagas", as: String.self) == ["1"])
            try await other.execute("commit")
            #expect(try await database.run { try Housekeeping($0).prune(most: 100) } == 1)
            await other.close()
        }
    }

    /// Mail for a saga that is gone would never be read.
    @Test func aLateCallbackAndARemovalTakeTurns() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder(["retention": "0s"])
            let id = try await database.start()
            try await database.query(
                "insert into outrider.saga_callback (token, saga_id, step, op, send) values ('t', \(id), 'ship', 'action', 1)"
            )
            try await database.set(id, "completed")
            let (caller, pruner) = (Session(database.url), Session(database.url))
            try await caller.execute("begin; select outrider.complete_step('t')")
            #expect(try await database.value("select outrider.prune_sagas()", as: Int32.self) == 0)
            try await caller.execute("commit")
            try await pruner.execute("begin; select outrider.prune_sagas()")
            async let isGood = caller.value("select outrider.complete_step('t')", as: Bool.self)
            try await database.waitForBlocked()
            try await pruner.execute("commit")
            #expect(try await isGood == false)
            #expect(try await database.count("select count(*) from outrider.saga_mail") == 0)
            for session in [caller, pruner] { await session.close() }
        }
    }

    @Test func whatMayGoIsFoundByAnIndex() async throws {
        try await TestDatabase.with { database in
            let plan = try await database.run { connection in
                try connection.execute(script: "set enable_seqscan = off")
                return try connection.query(
                    """
                    explain select from outrider.saga s
                    where s.finished_at is not null and (s.finished_at at time zone 'UTC') + s.retention < now() at time zone 'UTC'
                    """
                ).map { try $0.decode(0, as: String.self) }
            }
            #expect(plan.contains { $0.contains("saga_outlived") }, "\(plan)")
        }
    }
}
