import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// Messages of a topic that starts a saga.
struct StartingByMessageTests {
    private func with(_ body: (TestDatabase, Life) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder(["start_on": "order.placed"])
            let worker = try await Life.begin("w", on: database)
            try await body(database, worker)
            await worker.session.close()
        }
    }

    @Test func eachMessageStartsASagaOnce() async throws {
        try await with { database, worker in
            try await database.execute(
                """
                select outrider.publish('order.placed', '{"orderId": 1}', headers => '{"traceparent": "00-1"}');
                select outrider.publish('order.placed', '{"orderId": 2}'), outrider.publish('order.placed', '{"orderId": 2}');
                select outrider.publish('order.placed', '{"orderId": 3}', expires_at => now());
                select outrider.publish('order.other', '{"orderId": 4}')
                """)
            #expect(try await worker.startFromMessages() == 4)
            #expect(try await worker.startFromMessages() == 0)
            #expect(
                try await database.values("select key || ' ' || input from outrider.sagas order by id", as: String.self)
                    == ["1 {\"orderId\": 1}", "2 {\"orderId\": 2}"])
            #expect(try await worker.claimSagas().map { $0.head?.traceParent } == ["00-1", nil])
            #expect(try await database.count("select count(*) from outrider.dead_letters") == 0)
            #expect(try await database.count("select count(*) from outrider.deliveries") == 0)
        }
    }

    @Test func aMessageThatCannotStartASagaIsADeadLetterAndHoldsUpNoOther() async throws {
        try await with { database, worker in
            for payload in ["{}", "{\"orderId\": 1}", "{\"orderId\": 1, \"total\": 2}", "{\"orderId\": 2}"] {
                try await database.execute("select outrider.publish('order.placed', '\(payload)')")
            }
            #expect(try await worker.startFromMessages() == 4)
            #expect(
                try await database.values("select key from outrider.sagas order by id", as: String.self) == ["1", "2"])
            #expect(
                try await database.values(
                    "select concat_ws(' ', subscription, reason, attempts, payload, last_error) from outrider.dead_letters order by id",
                    as: String.self) == [
                        "saga:place-order not-started 1 {} the input has no .orderId, which the saga's key is made of",
                        "saga:place-order not-started 1 {\"total\": 2, \"orderId\": 1} the key '1' of saga place-order is in use with another input",
                    ])
        }
    }

    @Test func itsDeadLetterIsRedrivenOnceTheReasonIsGone() async throws {
        try await with { database, worker in
            let saga = try await database.start()
            try await database.execute("select outrider.publish('order.placed', '{\"orderId\": 17, \"total\": 1}')")
            #expect(try await worker.startFromMessages() == 1)
            let letter = try await database.value("select id from outrider.dead_letters", as: UUID.self)
            try await database.query("delete from outrider.saga_key where saga_id = \(saga)")
            try await database.query("select outrider.redrive(\(letter))")
            #expect(try await worker.startFromMessages() == 1)
            #expect(try await database.count("select count(*) from outrider.sagas") == 2)
        }
    }

    @Test func aMessageThatSomebodyDeletedIsCalledMissing() async throws {
        try await with { database, worker in
            try await database.execute(
                "select outrider.publish('order.placed', '{\"orderId\": 1}'); delete from outrider.outbox")
            #expect(try await worker.startFromMessages() == 1)
            #expect(
                try await database.values("select reason from outrider.dead_letters", as: String.self)
                    == ["message-missing"])
        }
    }

    /// Its transaction may take minutes, and the worker has other sagas to run.
    @Test func aKeyInSomebodysOpenTransactionIsWaitedForLater() async throws {
        try await with { database, worker in
            let open = Session(database.url)
            try await open.execute("begin; select outrider.start_saga('place-order', '{\"orderId\": 1}')")
            for order in 1...2 {
                try await database.execute("select outrider.publish('order.placed', '{\"orderId\": \(order)}')")
            }
            #expect(try await worker.startFromMessages() == 2)
            #expect(try await database.values("select key from outrider.sagas", as: String.self) == ["2"])
            #expect(
                try await database.values(
                    """
                    select concat_ws(' ', state, attempt, due_at > now() and due_at < now() + interval '2 seconds')
                    from outrider.deliveries
                    """, as: String.self) == ["scheduled 1 t"])
            try await open.execute("commit")
            try await database.execute("update outrider.scheduled set due_at = now()")
            _ = try await database.run { try Housekeeping($0).moveDue(most: 10) }
            #expect(try await worker.startFromMessages() == 1)
            #expect(
                try await database.values("select key from outrider.sagas order by 1", as: String.self) == ["1", "2"])
            #expect(try await database.count("select count(*) from outrider.dead_letters") == 0)
            await open.close()
        }
    }

    /// What is not the message's fault leaves it where it is.
    @Test func aTroubleThatPassesLeavesTheMessagesInTheQueue() async throws {
        try await with { database, worker in
            try await database.execute(
                """
                select outrider.publish('order.placed', '{"orderId": 1}'), outrider.publish('order.placed', '{"orderId": 2}');
                create function trouble() returns trigger language plpgsql as
                $$ begin raise exception 'no space left' using errcode = '53100'; end $$;
                create trigger trouble before insert on outrider.saga for each row when (new.key = '2') execute function trouble()
                """)
            let error = try await failure { try await worker.startFromMessages() }
            #expect(error?.state == "53100")
            #expect(try await database.count("select count(*) from outrider.sagas") == 0)
            #expect(try await database.count("select count(*) from outrider.dead_letters") == 0)
            try await database.execute("drop trigger trouble on outrider.saga")
            #expect(try await worker.startFromMessages() == 2)
        }
    }

    @Test func aPauseHoldsTheMessages() async throws {
        try await with { database, worker in
            try await database.execute(
                "select outrider.pause('saga:place-order'), outrider.publish('order.placed', '{\"orderId\": 1}')")
            #expect(try await worker.startFromMessages() == 0)
            try await database.execute("select outrider.resume('saga:place-order')")
            #expect(try await worker.startFromMessages() == 1)
        }
    }

    /// Two workers at once: no message starts two sagas, none is left out.
    @Test func workersShareTheMessages() async throws {
        try await with { database, worker in
            let other = try await Life.begin("other", on: database)
            try await database.execute(
                """
                select outrider.publish('order.placed', jsonb_build_object('orderId', n)) from generate_series(1, 200) n
                """)
            async let first = worker.startFromMessages(150)
            async let second = other.startFromMessages(150)
            let taken = try await first + second
            let rest = try await worker.startFromMessages(200)
            #expect(taken + rest == 200)
            // One that waited too long for the other's lock is tried later.
            #expect(
                try await database.count(
                    "select (select count(distinct key) from outrider.sagas) + (select count(*) from outrider.scheduled)"
                )
                    == 200)
            #expect(try await database.count("select count(*) from outrider.dead_letters") == 0)
            await other.session.close()
        }
    }
}
