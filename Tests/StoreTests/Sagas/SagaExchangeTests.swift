import Postgres
import Primitives
import Sagas
import Store
import TestSupport
import Testing

/// How workers hold sagas: claims, sleep, what is forwarded, what is taken over, what is given up.
struct SagaExchangeTests {
    @Test func aSagaIsInTheHandsOfOneWorker() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            let first = try await Life.begin("first", on: database)
            let second = try await Life.begin("second", on: database)
            #expect(try await first.claimSagas().map { $0.head != nil } == [true])
            #expect(try await second.claimSagas().isEmpty)
            #expect(try await database.value("select worker from outrider.sagas", as: String.self) == "first")
            // Mail: the row goes to whoever is quicker, the saga stays.
            try await database.query("select outrider.signal_saga(\(id), 'paid')")
            let claimed = try await second.claimSagas()
            #expect(claimed.map { $0.head == nil && $0.isElsewhere } == [true])
            try await first.session.run { try $0.listen("outrider_wake") }
            try await second.session.run { try SagaExchange.forward(claimed, on: $0, token: second.token) }
            let heard = try await first.session.run { connection in
                _ = try connection.query("select 1")
                return connection.takeNotifications().map(\.payload)
            }
            #expect(heard == ["mail:\(id)"])
            #expect(try await database.count("select count(*) from outrider.delivery") == 1)
            #expect(try await database.mail(of: id).count == 1)
            for worker in [first, second] { await worker.session.close() }
        }
    }

    /// A start and a signal in one transaction.
    @Test func twoRowsOfASagaInOneClaimGiveItOnce() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            try await database.query("select outrider.signal_saga(\(id), 'paid'), outrider.signal_saga(\(id), 'paid')")
            let worker = try await Life.begin("w", on: database)
            let claimed = try await worker.claimSagas()
            #expect(claimed.map(\.saga) == [id, id, id])
            #expect(claimed.map { $0.head != nil } == [true, false, false])
            #expect(claimed.map(\.isElsewhere) == [false, false, false])
            await worker.session.close()
        }
    }

    @Test func aSleepingSagaIsWokenByItsTimerOrByMailAndTheOtherIsGone() async throws {
        try await TestDatabase.with { database in
            try await database.apply(
                .saga(
                    "wait",
                    [
                        ["id": "pause", "wait": ["for": "1h"]],
                        ["id": "go", "await": ["event": "go", "timeout": "2h"]],
                    ]))
            let id = try await database.start("wait")
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            try await saga.rest(until: saga.now + .seconds(3600))
            #expect(
                try await database.value(
                    "select waiting_for || ' ' || (worker is null) from outrider.sagas", as: String.self
                )
                .hasSuffix(" true"))
            #expect(try await database.count("select count(*) from outrider.scheduled") == 1)
            // By mail: the timer goes.
            try await database.query("select outrider.signal_saga(\(id), 'go')")
            saga = try await StoredSaga.claim(by: worker)
            #expect(try await database.count("select count(*) from outrider.scheduled") == 0)
            try await saga.readMail()
            try await saga.rest(until: .now())
            // By its timer.
            #expect(try await database.run { try Housekeeping($0).moveDue(most: 10) } == 1)
            saga = try await StoredSaga.claim(by: worker, at: .now() + .seconds(3601))
            try await saga.handle(.recovered)
            #expect(saga.state.status == .completed)
            try await saga.rest()
            #expect(
                try await database.count(
                    "select (select count(*) from outrider.scheduled) + (select count(*) from outrider.delivery)") == 0)
            await worker.session.close()
        }
    }

    @Test func aLostWorkersSagaIsTakenOverWithItsHistory() async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("order", [.call("reserve"), .call("charge")]))
            let id = try await database.start("order")
            let lost = try await Life.begin("lost", on: database)
            var saga = try await StoredSaga.claim(by: lost)
            try await saga.handle(.begin)
            try await saga.succeed("reserve")
            await lost.session.close()
            let worker = try await Life.begin("w", on: database)
            try await eventually("it is taken over") { try await worker.beat().rescued == 1 }
            var taken = try await StoredSaga.claim(by: worker)
            #expect(taken.id == id)
            #expect(taken.head.hasBegun)
            try await taken.handle(.recovered)
            let charge = try await database.value(
                "select status || ' ' || attempts from outrider.saga_steps where step = 'charge'", as: String.self)
            // Sent again, as the try that it was.
            #expect(charge == "running 1")
            #expect(try await database.count("select count(*) from outrider.delivery_attempts") == 0)
            // The one that was lost writes nothing more.
            var ghost = saga
            await #expect(throws: PostgresError.self) { try await ghost.succeed("charge") }
            await worker.session.close()
        }
    }

    /// A saga is never buried as a message is: after the sixth time a worker parks it.
    @Test func aSagaThatOutlivesItsWorkersIsStuckInTheEnd() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            let worker = try await Life.begin("w", on: database)
            for times in 1...7 {
                let token = UUID.random()
                try await database.query(
                    "insert into outrider.worker (token, name, version, lease) values (\(token), 'lost', '1', '30 s')")
                try await database.query("update outrider.delivery set owner = \(token)")
                #expect(try await database.value("select outrider.rescue(\(token))", as: Int32.self) == 1)
                try await database.execute("update outrider.scheduled set due_at = now()")
                _ = try await database.run { try Housekeeping($0).moveDue(most: 10) }
                #expect(
                    try await database.count("select count(*) from outrider.delivery where rescues = \(Int32(times))")
                        == 1)
            }
            let claimed = try await worker.claimSagas()
            #expect(claimed.map(\.rescues) == [7])
            try await worker.session.run {
                try SagaExchange.park(claimed[0], on: $0, token: worker.token, worker: "w")
            }
            #expect(
                try await database.values(
                    """
                    select concat_ws(' ', s.status, s.waiting_for, s.worker, s.trouble ->> 'type', s.trouble ->> 'interrupted', h.event,
                        h.detail ->> 'reason', d.kind, d.reason, d.payload)
                    from outrider.sagas s join outrider.saga_history h on h.saga_id = s.id join outrider.dead_letters d on d.saga_id = s.id
                    """, as: String.self) == [
                        "stuck a person: abandoned abandoned running stuck abandoned step abandoned {\"orderId\": 17}"
                    ])
            #expect(try await database.count("select count(*) from outrider.delivery") == 0)
            // Once more changes nothing, and neither does it once the saga has ended.
            try await database.query("select outrider.park_saga(\(id), 'w')")
            try await database.set(id, "terminated")
            try await database.query("select outrider.park_saga(\(id), 'w')")
            #expect(try await database.count("select count(*) from outrider.saga_history") == 1)
            // A person has it tried again.
            try await database.set(id, "stuck")
            try await database.query("select outrider.retry_saga(\(id))")
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.readMail()
            try await saga.handle(.recovered)
            #expect(saga.state.status == .running)
            #expect(saga.state.begunAt != nil)
            await worker.session.close()
        }
    }

    // MARK: - Sub-sagas

    @Test func aSubSagaTellsItsParentAndIsTold() async throws {
        try await TestDatabase.with { database in
            try await database.apply(
                .saga("child", [.call("pack")]),
                .saga("parent", [["id": "sub", "run": ["saga": "child", "input": "${ .input }"]], .call("ship")]))
            let parent = try await database.start("parent", ["n": 1])
            let worker = try await Life.begin("w", on: database)
            var whole = try await StoredSaga.claim(by: worker)
            try await whole.handle(.begin)
            try await whole.rest()
            var part = try await StoredSaga.claim(by: worker)
            #expect(
                try await database.values(
                    "select parent_id from outrider.sagas where id = \(part.id) and parent_step = 'sub' and input = '{\"n\": 1}'"
                )
                    == [parent])
            try await part.handle(.begin)
            try await part.succeed("pack")
            try await part.rest()
            #expect(try await database.mail(of: parent).count == 1)
            whole = try await StoredSaga.claim(by: worker)
            try await whole.readMail()
            // The parent aborts: the sub-saga is undone, as one step.
            try await whole.refuse("ship")
            try await whole.rest()
            #expect(
                try await database.values(
                    "select name || ' by ' || by from outrider.saga_mail where saga_id = \(part.id)", as: String.self)
                    == ["undo by saga \(parent)"])
            part = try await StoredSaga.claim(by: worker)
            try await part.readMail()
            #expect(try await database.count("select count(*) from outrider.sagas where finished_at is null") == 2)
            try await part.succeed("pack", .compensate)
            try await part.rest()
            whole = try await StoredSaga.claim(by: worker)
            try await whole.readMail()
            #expect(
                try await database.values("select status from outrider.sagas", as: String.self)
                    == ["compensated", "compensated"])
            await worker.session.close()
        }
    }
}
