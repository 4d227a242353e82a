import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// The commands that start sagas and act on them, against a real worker.
struct SagaCommandsTests {
    /// `reserve` can be undone, `wait` waits for `go`, `ship` is the pivot, `tell` comes after it.
    private static let order = """
        saga: place-order
        version: 1
        key: ${ .input.orderId }
        defaults:
          retry: { attempts: 1 }
          compensate: { retry: { attempts: 1 } }
        steps:
          - id: reserve
            call: { http: POST /reserve, endpoint: shop, body: "${ .input }" }
            compensate:
              call: { http: DELETE /reserve, endpoint: shop, body: "${ .input }" }
          - id: wait
            await: { event: go }
          - id: ship
            pivot: true
            call: { http: POST /ship, endpoint: shop, body: "${ .input }" }
          - id: tell
            call: { http: POST /tell, endpoint: shop, body: "${ .input }" }
            compensate: none
        output: { shipped: "${ .steps.ship.output }", told: "${ .steps.tell.output }" }
        """

    private static let missing = "8f3e2d1c-0000-4000-8000-000000000001"

    // MARK: - start

    @Test func startPrintsTheIdAndTakesKeyTimeHeadersAndStandardInput() async throws {
        try await SagaScene.with(Self.order) { scene in
            let first = try await scene.run(
                "start place-order", #"{"orderId": 17}"#, "--key", "a b", "--header", "traceparent=x", "--start-at",
                "2126-11-24T08:00:00Z")
            #expect(first.exit == .code(0), "\(first.errors)")
            let id = String(first.output.dropLast())
            let row = try await scene.database.value("select to_jsonb(s) from outrider.saga s", as: JSON.self)
            #expect(row["id"]?.string == id && row["key"] == "a b")
            #expect(row["headers"] == ["traceparent": "x"])
            #expect(row["started_at"] == "2126-11-24T08:00:00+00:00")

            let again = try await scene.run("start place-order --key", "a b", #"{"orderId": 17}"#)
            #expect(again.output == first.output)
            let other = try await scene.run("start place-order --key", "a b", #"{"orderId": 18}"#)
            #expect(other.exit == .code(1))
            #expect(other.errors.contains("the key 'a b' of saga place-order is in use with another input"))

            let piped = try await RunningOutrider.run(
                ["start", "place-order", "-"], environment: scene.environment, input: #"{"orderId": 19}"#)
            #expect(piped.exit == .code(0), "\(piped.errors)")
            #expect(try await scene.json("saga list --key 19").array?.count == 1)
        }
    }

    @Test(arguments: [
        (["place-oder", "{}"], "there is no saga 'place-oder'"), (["place-order", "{"], "the input is not JSON"),
        (["place-order"], "the input has no .orderId, which the saga's key is made of"),
    ])
    func startSaysWhatIsWrong(words: [String], complaint: String) async throws {
        try await Scene.with(workflows: Self.order + "\n---\nendpoint: shop\nurl: ${ $env.SHOP }") { scene in
            #expect(try await scene.command("apply").exit == .code(0))
            let result = try await RunningOutrider.run(["start"] + words, environment: scene.environment)
            #expect(result.exit == .code(1))
            #expect(result.errors.contains(complaint), "\(result.errors)")
            #expect(result.output == "")
        }
    }

    // MARK: - list, history

    @Test func listFindsByStatusNameAndKey() async throws {
        try await SagaScene.with(
            Self.order, replies: ["POST /reserve": [.status(200), .refusal("out-of-stock", "none left")]]
        ) { scene in
            #expect(try await scene.run("saga list").output == "no sagas\n")
            let waiting = try await scene.start("place-order", #"{"orderId": 1}"#)
            try await scene.waitUntil(waiting, is: "running", waitingFor: "go")
            let failed = try await scene.start("place-order", #"{"orderId": 2}"#)
            try await scene.waitUntil(failed, is: "failed")

            func ids(_ words: String) async throws -> [String] {
                try await scene.json("saga list \(words)").array?.compactMap { $0["id"]?.string } ?? []
            }
            #expect(try await ids("") == [failed, waiting])
            #expect(try await ids("--limit 1") == [failed])
            #expect(try await ids("--status running") == [waiting])
            #expect(try await ids("--status suspended") == [])
            #expect(try await ids("--saga place-order --key 2") == [failed])
            #expect(try await ids("--saga other") == [])
            let text = try await scene.run("saga list").output
            let expected = "\(failed)  place-order  2    failed"
            #expect(text.hasPrefix("id "))
            #expect(text.contains(expected), "\(text)")
            #expect(text.contains("reserve: out-of-stock: HTTP 422: Refused: none left\n"), "\(text)")
            #expect(text.contains("wait: the event go"), "\(text)")
            _ = try await scene.run("saga suspend \(waiting)")
            try await eventually("it is suspended") { try await ids("--status suspended") == [waiting] }
            #expect(try await scene.run("saga list --status suspended").output.contains("  running, suspended  "))
        }
    }

    @Test func historyTellsEachTransitionInWords() async throws {
        try await SagaScene.with(Self.order, replies: ["POST /reserve": [.refusal("out-of-stock", "none left")]]) {
            scene in
            let id = try await scene.start("place-order", #"{"orderId": 1}"#)
            try await scene.waitUntil(id, is: "failed")
            let history = try await scene.run("saga history place-order/1")
            #expect(history.exit == .code(0))
            let lines = history.output.split(separator: "\n").map { line in
                line.split(separator: " ", omittingEmptySubsequences: true).dropFirst(2).dropLast().joined(
                    separator: " ")
            }
            #expect(
                lines == [
                    "event step op attempt detail", "begun - - - -",
                    #"started reserve action 1 POST /reserve at shop: {"orderId":1}"#,
                    "failed reserve action 1 reserve: out-of-stock: HTTP 422: Refused: none left",
                    "aborting - - - reserve: out-of-stock: HTTP 422: Refused: none left",
                    "compensating - - - nothing to undo",
                    "failed - - - reserve: out-of-stock: HTTP 422: Refused: none left",
                ], "\(history.output)")
            let rows = try await scene.json("saga history \(id)")
            #expect(rows[1]?["detail"]?["method"] == "POST")
        }
    }

    // MARK: - Acts

    @Test func anEventIsGivenByIdByKeyAndByOptions() async throws {
        try await SagaScene.with(Self.order) { scene in
            for (number, words) in [
                "saga signal ID go", "saga signal place-order/1 go", "saga signal --saga place-order --key 2 go",
            ]
            .enumerated() {
                let id = try await scene.start("place-order", #"{"orderId": \#(number)}"#)
                let signalled = try await scene.run(words.replacing("ID", with: id), #"{"by": "courier"}"#)
                #expect(signalled.output == "go is on its way\n", "\(signalled.errors)")
                try await scene.waitUntil(id, is: "completed")
                let record = try await scene.json("saga show \(id)")
                #expect(record["output"]?["shipped"] == ["ok": true])
                #expect(record["steps"]?[1]?["output"] == ["by": "courier"])
            }
            let unknown = try await scene.run("saga signal place-order/9 go")
            #expect(unknown.exit == .code(1))
            #expect(unknown.errors.contains("there is no saga 'place-order' with the key '9'"))
            let late = try await scene.run("saga signal place-order/1 go")
            #expect(late.exit == .code(1))
            #expect(late.errors.contains("is completed since"), "\(late.errors)")
        }
    }

    @Test func cancelUndoesAndTerminateDoesNot() async throws {
        try await SagaScene.with(Self.order) { scene in
            let first = try await scene.start("place-order", #"{"orderId": 1}"#)
            let second = try await scene.start("place-order", #"{"orderId": 2}"#)
            for id in [first, second] { try await scene.waitUntil(id, is: "running", waitingFor: "go") }
            let cancelled = try await scene.run("saga cancel place-order/1 --reason", "customer called")
            #expect(cancelled.output == "cancel is on its way; see outrider saga show \(first)\n")
            try await scene.waitUntil(first, is: "compensated")
            #expect(
                try await scene.run("saga show \(first)").output.contains(
                    "! aborts: cancelled: customer called (by postgres)"))
            #expect(try await scene.run("saga terminate \(second) --reason x").exit == .code(0))
            try await scene.waitUntil(second, is: "terminated")
            #expect(scene.handler.received.count { $0.request.method == "DELETE" } == 1)

            let again = try await scene.run("saga cancel \(first) --reason x")
            #expect(again.exit == .code(1))
            #expect(again.errors.contains("saga \(first) is compensated since"), "\(again.errors)")
            let nameless = try await scene.run("saga cancel \(first) --reason", " ")
            #expect(nameless.exit == .code(1))
            #expect(nameless.errors.contains("a reason is missing"))
        }
    }

    @Test func aSuspendedSagaStandsStillUntilItIsResumed() async throws {
        try await SagaScene.with(Self.order) { scene in
            let id = try await scene.start("place-order", #"{"orderId": 1}"#)
            try await scene.waitUntil(id, is: "running", waitingFor: "go")
            #expect(
                try await scene.run("saga suspend \(id)").output
                    == "suspend is on its way; see outrider saga show \(id)\n")
            try await scene.waitUntil(id, is: "running", waitingFor: "suspended")
            let twice = try await scene.run("saga suspend \(id)")
            #expect(twice.exit == .code(1))
            #expect(twice.errors.contains("is suspended already"))
            _ = try await scene.run("saga signal \(id) go")
            #expect(try await scene.run("saga resume \(id)").exit == .code(0))
            try await scene.waitUntil(id, is: "completed")
        }
    }

    @Test func aStuckCompensationIsRetriedWithAnotherInputAndSkipped() async throws {
        try await SagaScene.with(Self.order, replies: ["DELETE /reserve": [.status(500)]]) { scene in
            let id = try await scene.start("place-order", #"{"orderId": 1}"#)
            try await scene.waitUntil(id, is: "running", waitingFor: "go")
            _ = try await scene.run("saga cancel \(id) --reason x")
            try await scene.waitUntil(id, is: "stuck")

            // Changes nothing, and says so.
            let cancel = try await scene.run("saga cancel \(id) --reason again")
            #expect(cancel.exit == .code(0))
            #expect(cancel.errors == "notice: saga \(id) is compensating already: nothing changes\n")

            let retried = try await scene.run("saga retry \(id) --input", #"{"orderId": "one"}"#)
            #expect(retried.output == "retry is on its way; see outrider saga show \(id)\n")
            try await scene.handler.wait(for: 3)
            try await scene.waitUntil(id, is: "stuck")
            #expect(scene.handler.received.last?.body == #"{"orderId": "one"}"#)

            let wrong = try await scene.run("saga skip \(id) ship --reason x")
            #expect(wrong.exit == .code(0))
            try await eventually("it is refused") {
                try await scene.run("saga show \(id)").output.contains(
                    "@ refused: skip by postgres: the saga is stuck at reserve, not at ship")
            }
            #expect(try await scene.run("saga skip \(id) reserve --reason", "sold anyway").exit == .code(0))
            try await scene.waitUntil(id, is: "compensated")
            let shown = try await scene.run("saga show \(id)").output
            #expect(shown.contains("; 1 compensation was skipped\n"), "\(shown)")
            #expect(shown.contains("1 of 1: skipped by postgres: sold anyway"), "\(shown)")
            #expect(
                shown.contains(#"@ retried the compensation of reserve by postgres, with {"orderId":"one"}"#),
                "\(shown)")
        }
    }

    @Test func anUnknownPivotIsResolved() async throws {
        try await SagaScene.with(
            Self.order, replies: ["POST /ship": [.status(500)], "POST /tell": [.status(404), .status(200)]]
        ) { scene in
            let done = try await scene.start("place-order", #"{"orderId": 1}"#)
            let undone = try await scene.start("place-order", #"{"orderId": 2}"#)
            for id in [done, undone] {
                _ = try await scene.run("saga signal \(id) go")
                try await scene.waitUntil(id, is: "stuck")
            }
            #expect(try await scene.run("saga resolve \(undone) ship --happened no").exit == .code(0))
            try await scene.waitUntil(undone, is: "compensated")

            let resolved = try await scene.run(
                "saga resolve place-order/1 ship --happened yes --output", #"{"id": "S1"}"#)
            #expect(resolved.output == "resolve is on its way; see outrider saga show \(done)\n")
            try await scene.handler.wait(for: 1, at: "/tell")
            try await scene.waitUntil(done, is: "stuck", waitingFor: "tell")
            #expect(try await scene.run("saga cancel \(done) --reason x").errors.contains("has passed its pivot"))
            #expect(try await scene.run("saga retry \(done)").exit == .code(0))
            try await scene.waitUntil(done, is: "completed")
            #expect(try await scene.json("saga show \(done)")["output"]?["shipped"] == ["id": "S1"])
        }
    }

    // MARK: - dead-letters

    @Test func theDeadLetterOfASagaIsListedAndRedriven() async throws {
        try await SagaScene.with(Self.order, replies: ["DELETE /reserve": [.status(500), .status(200)]]) { scene in
            let id = try await scene.start("place-order", #"{"orderId": 1}"#)
            try await scene.waitUntil(id, is: "running", waitingFor: "go")
            _ = try await scene.run("saga cancel \(id) --reason x")
            try await scene.waitUntil(id, is: "stuck")
            let letter = try #require(try await scene.json("dead-letters list")[0])
            #expect(letter["kind"] == "compensation" && letter["saga"] == "place-order")
            #expect(letter["saga_id"]?.string == id && letter["step"] == "reserve")
            let text = try await scene.run("dead-letters list").output
            #expect(text.contains("  kind          saga         step     key  "), "\(text)")
            #expect(!text.contains("subscription"))

            let name = letter["id"]?.string ?? ""
            let discarded = try await scene.run("dead-letters discard \(name) --reason x")
            #expect(discarded.exit == .code(1))
            #expect(discarded.errors.contains("skip_step('\(id)', 'reserve', 'why')"), "\(discarded.errors)")
            let redriven = try await scene.run("dead-letters redrive \(name)")
            #expect(redriven.output == "redrove \(name): saga \(id) tries again; see outrider saga show \(id)\n")
            try await scene.waitUntil(id, is: "compensated")
            #expect(try await scene.run("dead-letters list").output == "no dead letters\n")
            let again = try await scene.run("dead-letters redrive \(name)")
            #expect(again.exit == .code(1))
            #expect(again.errors.contains("was redriven at"), "\(again.errors)")
        }
    }

    // MARK: - Wrong ids

    @Test func aSagaThatIsNotThereIsAFailure() async throws {
        try await TestDatabase.with { database in
            for words in [
                ["show"], ["history"], ["cancel", "--reason", "x"], ["terminate", "--reason", "x"], ["suspend"],
                ["resume"], ["retry"], ["skip", "a", "--reason", "x"], ["resolve", "a", "--happened", "yes"],
            ] {
                for (id, complaint) in [
                    (Self.missing, Self.missing), ("place-order/17", "there is no saga place-order with the key 17"),
                ] {
                    let result = try await RunningOutrider.run(
                        ["saga", words[0], id] + words.dropFirst(), environment: ["OUTRIDER_DATABASE_URL": database.url]
                    )
                    #expect(result.exit == .code(1), "\(words)")
                    #expect(result.errors.contains(complaint), "\(words): \(result.errors)")
                    #expect(result.output == "")
                }
            }
            let signal = try await RunningOutrider.run(
                ["saga", "signal", Self.missing, "go"], environment: ["OUTRIDER_DATABASE_URL": database.url])
            #expect(signal.exit == .code(1))
            #expect(signal.errors.contains("there is no saga with the id \(Self.missing)"))
        }
    }
}
