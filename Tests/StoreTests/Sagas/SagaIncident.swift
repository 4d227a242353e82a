import Postgres
import Primitives
import Sagas
import Store
import TestSupport

/// Sagas of a bad morning, one of everything that a person on call is asked about.
struct SagaIncident: Sendable {
    /// The login of an operator.
    let person: String
    /// A saga with a sub-saga.
    let family: UUID

    static func happen(on database: TestDatabase, person: Session) async throws -> SagaIncident {
        try await database.apply(
            .saga(
                "place-order", [.call("reserve", ["retry": ["attempts": 2, "jitter": "none"]]), .call("charge")],
                ["key": "${ .input.customer }", "timeout": "10m"]),
            .saga("hire", [["id": "approval", "approve": ["prompt": "Hire ${ .input.name }?", "timeout": "7d"]]]),
            .saga("pack-order", [.call("pack")]),
            .saga("deliver", [["id": "sub", "run": ["saga": "pack-order", "input": "${ .input }"]], .call("ship")]))
        let worker = try await Life.begin("sagas", on: database)
        try await undo(on: database, worker)
        try await getStuck(on: database, worker)
        try await act(on: database, worker, person)
        let family = try await wait(on: database, worker)
        try await worker.session.run { try WorkerRegistry($0).unregister(token: worker.token) }
        await worker.session.close()
        // One that nobody takes up.
        try await place("waits for a worker", on: database)
        try await database.execute("update outrider.saga set started_at = now() - interval '1 hour' where claims = 0")
        return SagaIncident(person: "\(database.name)_outrider_operator", family: family)
    }

    private static func place(_ customer: String, on database: TestDatabase) async throws {
        try await database.start("place-order", ["customer": JSON(customer)])
    }

    private static func begin(_ customer: String, on database: TestDatabase, _ worker: Life) async throws -> StoredSaga
    {
        try await place(customer, on: database)
        var saga = try await StoredSaga.claim(by: worker)
        try await saga.handle(.begin)
        return saga
    }

    /// Aborted and undone; the handler of a try that had been given up answers when all is over.
    private static func undo(on database: TestDatabase, _ worker: Life) async throws {
        var saga = try await begin("customer-42", on: database, worker)
        try await saga.fail("reserve")
        saga.now = saga.machine.nextDue ?? saga.now
        try await saga.handle(.tick)
        try await saga.succeed("reserve")
        try await saga.refuse("charge", type: "card-declined")
        try await saga.succeed("reserve", .compensate)
        try await saga.succeed("reserve")
        try await saga.rest()
    }

    private static func getStuck(on database: TestDatabase, _ worker: Life) async throws {
        var saga = try await begin("stuck", on: database, worker)
        try await saga.succeed("reserve")
        try await saga.refuse("charge")
        try await saga.refuse("reserve", .compensate)
        try await saga.rest()
    }

    /// What people do: cancel, end, suspend.
    private static func act(on database: TestDatabase, _ worker: Life, _ person: Session) async throws {
        for (customer, act) in [
            ("cancelled", "cancel_saga('%', 'customer called')"), ("ended", "terminate_saga('%', 'a test')"),
            ("held", "suspend_saga('%')"),
        ] {
            var saga = try await begin(customer, on: database, worker)
            try await person.execute("select outrider.\(act.replacing("%", with: "\(saga.id)"))")
            try await saga.readMail()
            try await saga.rest()
            // What called the saga to its mail has been heard.
            try await database.execute("delete from outrider.delivery where message_id = '\(saga.id)'")
        }
    }

    /// What takes its time: a handler, a person, a sub-saga.
    private static func wait(on database: TestDatabase, _ worker: Life) async throws -> UUID {
        var slow = try await begin("slow", on: database, worker)
        try await slow.fail("reserve")
        try await slow.rest(until: slow.machine.nextDue)
        try await database.start("hire", ["name": "Ada"])
        var hire = try await StoredSaga.claim(by: worker)
        try await hire.handle(.begin)
        try await hire.rest()
        let family = try await database.start("deliver")
        var parent = try await StoredSaga.claim(by: worker)
        try await parent.handle(.begin)
        try await parent.rest()
        var child = try await StoredSaga.claim(by: worker)
        try await child.handle(.begin)
        child.pass(.seconds(3))
        try await child.succeed("pack")
        try await child.rest()
        return family
    }

    var answers: [String: AuditQueryTests.Answer] {
        [
            "Which sagas are stuck, why, and since when?": .init(
                row: [
                    "saga": "place-order", "key": "stuck", "why": "compensation", "step": "reserve", "op": "compensate",
                    "error": "HTTP 422",
                ], columns: ["id", "stuck_for"], most: 1),
            "What was undone, and why?": .init(
                row: [
                    "key": "customer-42", "status": "compensated", "failed_at": "charge", "why": "card-declined",
                    "detail": "HTTP 422", "undone": "reserve", "skipped": 0,
                ], columns: ["finished_at"], most: 2),
            "What did this order go through?": .init(
                row: ["event": "try_failed", "step": "reserve", "op": "action", "attempt": 1, "detail": "HTTP 503"],
                columns: ["at", "by"], most: 13),
            "How far is a saga?": .init(
                row: ["step": "sub", "status": "waiting", "compensation_status": "not_required"], columns: ["took"],
                most: 2),
            "Which sub-sagas did a saga start?": .init(
                row: ["depth": 1, "saga": "pack-order", "parent_step": "sub", "status": "completed"],
                columns: ["id", "started_at"], most: 2),
            "Which sagas wait for a person, longest first?": .init(
                row: ["saga": "hire", "reason": "approval", "step": "approval", "detail": "Hire Ada?"],
                columns: ["waits_for"], most: 3),
            "Which sagas are late, or soon will be?": .init(
                row: ["saga": "place-order", "key": "slow"], columns: ["left", "age", "waiting_for"], most: 2),
            "Which sagas wait for a worker?": .init(
                row: ["saga": "place-order", "version": 1, "sagas": 1], columns: ["oldest"], most: 1),
            "Which steps fail most?": .init(
                row: [
                    "saga": "place-order", "step": "reserve", "op": "action", "failed_tries": 2, "sagas": 2,
                    "most_often": "HTTP 503",
                ], columns: ["last_at"], most: 3),
            "How long do steps take?": .init(
                row: [
                    "saga": "pack-order", "step": "pack", "op": "action", "times": 1, "median": "00:00:03",
                    "p95": "00:00:03",
                ],
                columns: ["longest"]),
            "How did sagas end, hour by hour?": .init(
                row: ["saga": "pack-order", "completed": 1, "compensated": 0, "failed": 0, "terminated": 0],
                columns: ["hour"]),
            "What did operators do, who, and why?": .init(
                row: [
                    "who": JSON(person), "what": "cancelled", "saga": "place-order", "key": "cancelled",
                    "why": "customer called (by \(person))",
                ], columns: ["at"], most: 3),
            "Which answers came too late?": .init(
                row: ["saga": "place-order", "key": "customer-42", "step": "reserve", "status": "compensated"],
                columns: ["what"], most: 1),
            "Which versions of sagas are still running?": .init(
                row: ["saga": "hire", "version": 1, "sagas": 1, "replaced_at": nil], columns: ["oldest"], most: 3),
        ]
    }
}
