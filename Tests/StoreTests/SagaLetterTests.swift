import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// Dead letters of sagas: what a redrive and a discard do to them.
struct SagaLetterTests {
    @Test func aRedriveHasTheSagaTryAgain() async throws {
        try await TestDatabase.with { database in
            let (saga, letter) = try await database.stuckSaga()
            #expect(try await database.value("select outrider.redrive(\(letter))", as: UUID.self) == saga)
            #expect(
                try await database.values(
                    "select format('%s %s %s %s', m.saga_id, m.kind, m.name, m.by) from outrider.saga_mail m",
                    as: String.self)
                    == ["\(saga) act retry postgres"])
            // The engine closes it when it does so, and is never made to wait.
            #expect(
                try await database.count("select count(*) from outrider.dead_letters where redriven_at is null") == 1)
        }
    }

    @Test func theSecondRedriveIsRefusedWhateverTheFirstHasComeTo() async throws {
        try await TestDatabase.with { database in
            let (saga, letter) = try await database.stuckSaga()
            try await database.query("select outrider.redrive(\(letter))")
            let second = try await failure { try await database.query("select outrider.redrive(\(letter))") }
            #expect(second?.state == "OR006")
            #expect(second?.message == "dead letter \(letter) is being redriven: saga \(saga) will be tried again")
            try await database.execute(
                """
                delete from outrider.saga_mail;
                update outrider.dead_letter set redriven_at = now(), redriven_by = 'somebody';
                """)
            let third = try await failure { try await database.query("select outrider.redrive(\(letter))") }
            #expect(third?.state == "OR006")
            #expect(third?.message.contains("was redriven at") == true)
            #expect(third?.hint == "If it failed again there is a newer letter of the same saga_id.")
        }
    }

    @Test func ofTwoRedrivesAtOnceOneIsTold() async throws {
        try await TestDatabase.with { database in
            let (_, letter) = try await database.stuckSaga()
            let (first, second) = (Session(database.url), Session(database.url))
            try await first.execute("begin; select outrider.redrive('\(letter)')")
            async let waiting = failure { try await second.execute("select outrider.redrive('\(letter)')") }
            try await database.waitForBlocked()
            try await first.execute("commit")
            #expect(try await waiting?.state == "OR006")
            #expect(try await database.count("select count(*) from outrider.saga_mail") == 1)
            await first.close()
            await second.close()
        }
    }

    /// What the engine does in the same moment: it settles the letters of the saga.
    @Test func anOpenRedriveHoldsNoEngineUp() async throws {
        try await TestDatabase.with { database in
            let (saga, letter) = try await database.stuckSaga()
            let session = Session(database.url)
            try await session.execute("begin; select outrider.redrive('\(letter)')")
            try await database.execute(
                """
                set lock_timeout = '1s';
                update outrider.dead_letter set redriven_at = now(), redriven_by = 'engine' where saga_id = '\(saga)';
                """)
            try await session.execute("rollback")
            await session.close()
        }
    }

    @Test func aRedriveOfASagaThatIsNotStuckIsRefused() async throws {
        try await TestDatabase.with { database in
            let (_, letter) = try await database.stuckSaga()
            try await database.execute("update outrider.saga set status = 'compensating'")
            let error = try await failure { try await database.query("select outrider.redrive(\(letter))") }
            #expect(error?.state == "OR006")
            #expect(error?.message.contains("is not stuck, it is compensating") == true)
        }
    }

    @Test func ofADiscardTheHintSaysWhatToDoInstead() async throws {
        try await TestDatabase.with { database in
            let (saga, letter) = try await database.stuckSaga()
            let error = try await failure { try await database.query("select outrider.discard(\(letter), 'why')") }
            #expect(error?.state == "OR006")
            #expect(error?.message == "dead letter \(letter) is of saga \(saga), which would stay stuck")
            #expect(
                error?.hint
                    == "skip_step('\(saga)', 'reserve', 'why') lets the saga go on without it; "
                    + "terminate_saga('\(saga)', 'why') ends it.")
            try await database.execute("update outrider.dead_letter set step = null")
            let nowhere = try await failure { try await database.query("select outrider.discard(\(letter), 'why')") }
            #expect(nowhere?.hint == "terminate_saga('\(saga)', 'why') ends it.")
            #expect(
                try await database.count("select count(*) from outrider.dead_letters where discarded_at is null") == 1)
        }
    }

    @Test func aRedriveOfAllLeavesThemAlone() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            _ = try await database.stuckSaga()
            _ = try await database.deadLetter(of: "mail")
            let operation = try await database.value("select outrider.redrive_all('mail')", as: UUID.self)
            while try await database.step(operation) {}
            #expect(try await database.status(of: operation) == "finished 1")
            #expect(try await database.count("select count(*) from outrider.saga_mail") == 0)
        }
    }
}

extension TestDatabase {
    /// A saga that is stuck at the compensation of `reserve`, as its engine leaves it.
    fileprivate func stuckSaga() async throws -> (saga: UUID, letter: UUID) {
        let saga = UUID.random()
        try await query(
            """
            with type as (
                insert into outrider.saga_type (name, version, hash, reuse_key, retention)
                values ('place-order', 1, 'h', false, '30 days') returning *
            )
            insert into outrider.saga (id, type_id, name, version, hash, input, retention, status, failure, trouble)
            select \(saga), t.id, t.name, t.version, t.hash, '{}', t.retention, 'stuck', '{"type": "no"}',
                '{"type": "compensation", "step": "reserve", "op": "compensate", "interrupted": "compensating"}'
            from type t
            """)
        let letter = try await value(
            """
            insert into outrider.dead_letter (kind, saga_id, step, payload, attempts, reason, last_error)
            values ('compensation', \(saga), 'reserve', '{}', 2, 'compensation', 'HTTP 500') returning id
            """, as: UUID.self)
        return (saga, letter)
    }
}
