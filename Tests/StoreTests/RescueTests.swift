import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// A claim and a rescue at the same time: whatever comes first, no delivery is left with an owner that is no more.
struct RescueTests {
    @Test func aWorkerWhoseClaimIsStillOpenIsLeftAloneUntilItHasEnded() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(5)
            let worker = try await Life.begin("worker", on: database)
            #expect(try await worker.claim(2).count == 2)
            try await worker.session.execute("begin")
            #expect(try await worker.claim(2).count == 2)
            #expect(try await database.rescue(worker) == 0)
            #expect(try await database.count("select count(*) from outrider.worker") == 1)
            try await worker.session.execute("commit")
            #expect(try await database.rescue(worker) == 4)
            #expect(try await database.orphans() == 0)
            #expect(try await database.count("select count(*) from outrider.delivery where owner is null") == 5)
            await worker.session.close()
        }
    }

    @Test func aClaimThatComesDuringTheRescueFindsNothing() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(5)
            let worker = try await Life.begin("worker", on: database)
            #expect(try await worker.claim(2).count == 2)
            let rescuer = Session(database.url)
            try await rescuer.execute("begin; select outrider.rescue('\(worker.token)')")
            async let claimed = worker.claim(3)
            try await database.waitForBlocked()
            try await rescuer.execute("commit")
            #expect(try await claimed.isEmpty)
            #expect(try await database.orphans() == 0)
            #expect(try await database.count("select count(*) from outrider.delivery where owner is null") == 5)
            await rescuer.close()
            await worker.session.close()
        }
    }

    @Test func aRescueThatIsTakenBackLeavesTheWorkerWhatItHad() async throws {
        try await TestDatabase.with { database in
            try await database.subscribe("mail", to: "order.created")
            try await database.publish(5)
            let worker = try await Life.begin("worker", on: database)
            let held = try await worker.claim(2)
            let rescuer = Session(database.url)
            try await rescuer.execute("begin; select outrider.rescue('\(worker.token)')")
            async let claimed = worker.claim(3)
            try await database.waitForBlocked()
            try await rescuer.execute("rollback")
            #expect(try await claimed.count == 3)
            #expect(try await worker.acknowledge(held) == 0)
            #expect(try await database.orphans() == 0)
            await rescuer.close()
            await worker.session.close()
        }
    }
}

extension TestDatabase {
    fileprivate func rescue(_ worker: Life) async throws -> Int {
        try await Int(value("select outrider.rescue(\(worker.token))", as: Int32.self))
    }

    /// Deliveries in flight with a worker that is not there.
    fileprivate func orphans() async throws -> Int {
        try await count(
            """
            select count(*) from outrider.delivery d
            where d.owner is not null and not exists (select from outrider.worker w where w.token = d.owner)
            """)
    }
}
