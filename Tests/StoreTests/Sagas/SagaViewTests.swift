import Delivery
import Postgres
import Primitives
import Sagas
import Store
import TestSupport
import Testing

/// The views of sagas show what their machines know.
struct SagaViewTests {
    // MARK: - What the machine says

    /// Sagas of everything, each with another fate: after every event each step is in the view as it is in the machine.
    @Test(arguments: 0..<16)
    func eachStepIsInTheViewAsInTheMachine(seed: UInt64) async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("child", [.call("inner")]), Fate.saga)
            let id = try await database.start("fate", ["items": [1, 2, 3], "big": true, "small": false])
            let worker = try await Life.begin("w", on: database)
            var fate = Fate(saga: try await StoredSaga.claim(by: worker), seed: seed)
            try await fate.saga.handle(.begin)
            for _ in 0..<60 where !fate.saga.state.status.hasEnded {
                try await fate.goOn()
                let expected = fate.saga.state.steps.mapValues(Shown.init)
                let shown = try await Self.steps(of: id, on: database)
                for (path, step) in expected {
                    #expect(shown[path.text] == step, "\(path), status \(fate.saga.state.status), \(fate.events)")
                }
                #expect(
                    Set(shown.filter { !$0.value.isPending }.keys)
                        == Set(expected.filter { !$0.value.isPending }.map(\.key.text)),
                    "\(fate.events)")
                if fate.saga.state.steps.count != expected.count { break }
            }
            let row = try await database.value(
                "select to_jsonb(s) from outrider.sagas s where s.id = \(id)", as: JSON.self)
            #expect(row["status"]?.string == fate.saga.state.status.rawValue)
            #expect(row["skipped"]?.int == fate.saga.state.skipped)
            #expect(row["suspended"]?.bool == (fate.saga.state.suspendedAt != nil))
            await worker.session.close()
        }
    }

    private struct Shown: Hashable {
        var status: String
        var compensationStatus: String
        var attempts: Int
        var compensationAttempts: Int
        var output: JSON

        var isPending: Bool { status == "pending" }

        init(_ step: StepState) {
            status = step.status.rawValue
            compensationStatus = step.compensationStatus.rawValue
            attempts = step.action.attempts
            compensationAttempts = step.undo?.attempts ?? 0
            output = step.output
        }

        init(_ row: JSON) {
            status = row["status"]?.string ?? ""
            compensationStatus = row["compensation_status"]?.string ?? ""
            attempts = row["attempts"]?.int ?? -1
            compensationAttempts = row["compensation_attempts"]?.int ?? -1
            output = row["output"] ?? .null
        }
    }

    private static func steps(of saga: UUID, on database: TestDatabase) async throws -> [String: Shown] {
        let rows = try await database.values(
            "select to_jsonb(s) from outrider.saga_steps s where s.saga_id = \(saga)", as: JSON.self)
        return Dictionary(rows.map { ($0["step"]?.string ?? "", Shown($0)) }) { first, _ in
            Issue.record("a step is there twice: \(rows)")
            return first
        }
    }

    // MARK: - Columns

    @Test func whatARunningSagaHasNotComeToIsPending() async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("order", [.call("reserve"), .call("charge"), .call("ship")]))
            let id = try await database.start("order")
            func steps() async throws -> [String] {
                try await database.values(
                    """
                    select concat_ws(' ', step, status, compensation_status, start_seq is not null)
                    from outrider.saga_steps where saga_id = \(id) order by start_seq, step
                    """, as: String.self)
            }
            #expect(
                try await steps() == [
                    "charge pending not_required f", "reserve pending not_required f", "ship pending not_required f",
                ])
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            try await saga.succeed("reserve")
            #expect(
                try await steps() == [
                    "reserve succeeded not_required t", "charge running not_required t", "ship pending not_required f",
                ])
            try await saga.refuse("charge")
            #expect(try await steps() == ["reserve succeeded running t", "charge failed not_required t"])
            await worker.session.close()
        }
    }

    @Test func aStepHasItsInputItsErrorAndItsTimes() async throws {
        try await TestDatabase.with { database in
            try await database.apply(
                .saga("order", [.call("reserve", ["retry": ["attempts": 3, "jitter": "none"]]), .call("charge")]))
            let id = try await database.start("order", ["n": 1])
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            func step(_ columns: String, _ name: String = "reserve") async throws -> [String: JSON] {
                try await database.row(
                    "select \(unsafeSQL: columns) from outrider.saga_steps where saga_id = \(id) and step = \(name)")
            }
            try await saga.handle(.begin)
            let started = try await step("input, output, error, attempts, finished_at")
            #expect(started == ["input": ["n": 1], "output": nil, "error": nil, "attempts": 1, "finished_at": nil])
            try await saga.fail("reserve")
            let failed = try await step("status, error ->> 'detail' as error")
            #expect(failed == ["status": "waiting", "error": "HTTP 503"])
            saga.now = try #require(saga.machine.nextDue)
            try await saga.handle(.tick)
            saga.pass(.seconds(5))
            try await saga.succeed("reserve", .action, ["id": 7])
            let done = try await step("status, error, attempts, output, finished_at - started_at > '5 s' as took")
            #expect(done == ["status": "succeeded", "error": nil, "attempts": 2, "output": ["id": 7], "took": true])
            try await saga.refuse("charge", type: "card-declined")
            let declined = try await step("status, error ->> 'type' as error, compensation_status", "charge")
            #expect(declined == ["status": "failed", "error": "card-declined", "compensation_status": "not_required"])
            // The error of what goes on now, not that of the first try.
            let undoing = try await step("error, compensation_status")
            #expect(undoing == ["error": nil, "compensation_status": "running"])
            try await saga.refuse("reserve", .compensate, type: "locked")
            let stuck = try await step(
                "status, error ->> 'type' as error, compensation_status, compensation_attempts, output")
            #expect(
                stuck == [
                    "status": "succeeded", "error": "locked", "compensation_status": "failed",
                    "compensation_attempts": 1, "output": ["id": 7],
                ])
            let why = try await database.row(
                "select failure ->> 'type' as failure, failure ->> 'step' as step, trouble ->> 'type' as trouble from outrider.sagas"
            )
            #expect(why == ["failure": "card-declined", "step": "charge", "trouble": "compensation"])
            await worker.session.close()
        }
    }

    @Test func theHistoryIsInOrderAndNamesWhoAndWhy() async throws {
        try await TestDatabase.with { database in
            try await database.placeOrder()
            let id = try await database.start()
            let worker = try await Life.begin("w", on: database)
            var saga = try await StoredSaga.claim(by: worker)
            try await saga.handle(.begin)
            try await database.query("select outrider.terminate_saga(\(id), 'a test')")
            try await saga.readMail()
            try await saga.succeed("reserve")
            let history = try await database.values(
                """
                select concat_ws(' ', event, step, op, attempt, detail ->> 'by', detail ->> 'reason', worker)
                from outrider.saga_history where saga_id = \(id) order by seq
                """, as: String.self)
            #expect(
                history == [
                    "begun w", "started reserve action 1 w", "terminated postgres a test w", "late reserve action 1 w",
                ])
            await worker.session.close()
        }
    }

    @Test func aDefinitionHasItsVersion() async throws {
        try await TestDatabase.with { database in
            try await database.apply(.saga("order", version: 3, [.call("reserve")]))
            try await database.subscribe("mail", to: "order.created")
            #expect(
                try await database.values(
                    "select kind || coalesce(' ' || version, '') from outrider.definitions order by kind",
                    as: String.self)
                    == ["saga 3", "subscription"])
        }
    }

    // MARK: - Plans

    @Test(arguments: [
        ("saga_steps where saga_id = '%'", "saga_fact_pkey"), ("saga_history where saga_id = '%'", "saga_fact_pkey"),
        ("sagas where id = '%'", "saga_pkey"), ("sagas where status = 'stuck'", "saga_stuck"),
        ("sagas where saga = 'place-order' and key = '17'", "saga_name_key"),
        ("sagas where parent_id = '%'", "saga_parent"), ("sagas order by id desc limit 50", "saga_pkey"),
    ])
    func aQueryThatNamesWhatItWantsReadsNoWholeTable(query: String, index: String) async throws {
        try await TestDatabase.with { database in
            let plan = try await database.run { connection in
                try connection.execute(script: "set enable_seqscan = off; set enable_bitmapscan = off")
                let query = query.replacing("%", with: "8f3e2d1c-0000-4000-8000-000000000001")
                return try connection.query("explain select * from outrider.\(unsafeSQL: query)").map {
                    try $0.decode(0, as: String.self)
                }
            }
            #expect(plan.contains { $0.contains(index) }, "\(plan)")
            #expect(!plan.contains { $0.contains("Seq Scan on saga") }, "\(plan)")
        }
    }
}

/// Drives a saga by chance: answers what is in flight, lets time pass, and acts as an operator now and then.
private struct Fate {
    static let saga: JSON = .saga(
        "fate",
        [
            .call("first", ["retry": ["attempts": 2, "jitter": "none"]]),
            [
                "id": "both",
                "parallel": [
                    "branches": [
                        [
                            "id": "left",
                            "steps": [
                                .call(
                                    "pick",
                                    [
                                        "compensate": [
                                            "when": "started", "call": ["http": "DELETE http://127.0.0.1:9/pick"],
                                        ]
                                    ])
                            ],
                        ],
                        [
                            "id": "right",
                            "steps": [
                                ["id": "told", "await": ["event": "go", "timeout": "1h"]], .call("book"),
                            ],
                        ],
                    ]
                ],
            ],
            [
                "id": "each",
                "foreach": [
                    "in": "${ .input.items }", "as": "item", "limit": 2,
                    "steps": [
                        .call("pack", ["retry": ["attempts": 2, "jitter": "none"]])
                    ],
                ],
            ],
            .call("never", ["if": "${ .input.small }"]),
            [
                "id": "which",
                "switch": [
                    [
                        "when": "${ .input.big }",
                        "steps": [["id": "sub", "run": ["saga": "child", "input": "${ .input }"]]],
                    ],
                    ["otherwise": [.call("otherwise")]],
                ],
            ],
            ["id": "pause", "wait": ["for": "10m"]],
            ["id": "says", "approve": ["prompt": "Really?", "timeout": "1d"]],
            .call(
                "ship",
                ["pivot": true, "call": ["http": "POST http://127.0.0.1:9/ship", "async": true], "compensate": "none"]),
            .call("tell", ["compensate": "none"]),
        ])

    var saga: StoredSaga
    var random: SeededGenerator
    var events: [String] = []

    init(saga: StoredSaga, seed: UInt64) {
        self.saga = saga
        random = SeededGenerator(state: seed &* 0x9E37_79B9_7F4A_7C15 &+ 1)
    }

    private mutating func chance(_ part: Double) -> Bool { Double.random(in: 0..<1, using: &random) < part }

    mutating func goOn() async throws {
        saga.pass(.seconds(1))
        if saga.state.status == .stuck { return try await help() }
        if chance(0.04) { return try await tell(.asked(.cancel(reason: "why"), by: "ops"), "cancel") }
        if saga.state.suspendedAt != nil { return try await tell(.asked(.resume(), by: "ops"), "resume") }
        if chance(0.03) { return try await tell(.asked(.suspend(), by: "ops"), "suspend") }
        if chance(0.05) { return try await tell(.recovered, "crash") }
        for path in saga.state.steps.keys.sorted(by: { $0.text < $1.text }).shuffled(using: &random) {
            for op in [Op.action, .compensate] {
                guard let effort = saga.state.effort(path, op) else { continue }
                switch effort.phase {
                case .trying: return try await answer(path, op)
                case .callback:
                    let callback: SagaEvent.Callback =
                        chance(0.7)
                        ? .completed(["id": 1])
                        : chance(0.5) ? .heartbeat(.seconds(60)) : .failed(Failure(type: "lost"))
                    return try await tell(.calledBack(path, op, send: effort.sends, callback), "callback \(path)")
                case .signal(let name, _):
                    if chance(0.3) { continue }
                    return try await tell(
                        .signalled(event: name, payload: ["approved": true], by: "ops"), "signal \(name)")
                case .child:
                    let status: SagaState.Status = op == .compensate || chance(0.3) ? .compensated : .completed
                    return try await tell(
                        .childEnded(path, SagaEvent.ChildOutcome(status: status, output: 1)), "child \(status)")
                case .idle, .retrying, .ongoing, .timer, .received: continue
                }
            }
        }
        if let due = saga.machine.nextDue { saga.now = max(saga.now, due) }
        try await tell(.tick, "tick")
    }

    private mutating func answer(_ path: StepPath, _ op: Op) async throws {
        events.append("answer \(path) \(op)")
        let number = Int.random(in: 0..<12, using: &random)
        switch number {
        case 0: try await saga.refuse(path.text, op)
        case 1: try await saga.fail(path.text, op)
        case 2: try await saga.fail(path.text, op, .no, status: 429)
        case 3: try await saga.answer(path.text, op, .ongoing(retryAfter: nil))
        case 4...6 where path.text == "ship": try await saga.answer(path.text, op, .accepted)
        default: try await saga.succeed(path.text, op, ["id": JSON(number)])
        }
    }

    private mutating func help() async throws {
        guard let trouble = saga.state.trouble else { return }
        let step = trouble.step?.text ?? ""
        switch Int.random(in: 0..<4, using: &random) {
        case 0: try await tell(.asked(.skip(step: step, reason: "by hand", output: 1), by: "ops"), "skip \(step)")
        case 1: try await tell(.asked(.resolve(step: step, happened: true, output: 2), by: "ops"), "happened \(step)")
        case 2:
            try await tell(.asked(.resolve(step: step, happened: false, output: 2), by: "ops"), "not happened \(step)")
        default: try await tell(.asked(.retry(input: nil), by: "ops"), "retry \(step)")
        }
    }

    private mutating func tell(_ event: SagaEvent, _ text: String) async throws {
        events.append(text)
        try await saga.handle(event)
    }
}

/// SplitMix64.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
