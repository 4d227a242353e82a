import Delivery
import Expressions
import Primitives
import Sagas
import Testing
import WorkflowFiles

/// What a saga's options and actions mean, beside those of the example.
struct AcceptedSagasTests {
    private func saga(_ text: String) async throws -> SagaDefinition {
        let outcome = await Workflows(text).check(known: .init(sagas: ["t"]))
        try #require(outcome.messages == [])
        let saga = try #require(outcome.sagas.first)
        // Whatever is accepted reads back from the database as it was.
        #expect(try Definition(content: JSON(parsing: saga.content.text)) == .saga(saga))
        return saga
    }

    private func action(_ lines: String) async throws -> Action {
        try #require(await saga(Workflows.saga("- id: a\n  " + lines.replacing("\n", with: "\n  "))).steps.first).action
    }

    private func template(_ source: String) throws -> Template { try Template(source) }

    @Test func smallestSagaHasTheDefaults() async throws {
        let saga = try await saga(Workflows.saga("- { id: a, call: { http: GET https://a.example } }"))
        #expect(saga.about == nil)
        #expect(saga.key == nil)
        #expect(!saga.reusesKey)
        #expect(saga.startOn == nil)
        #expect(saga.inputSchema == nil)
        #expect(saga.output == nil)
        #expect(saga.timeout == nil)
        #expect(saga.retention == .seconds(30 * 86_400))
        #expect(saga.hooks == [:])
        let step = try #require(saga.steps.first)
        #expect(step.retry == RetryPolicy())
        #expect(step.timeout == .seconds(30))
        #expect(step.deadline == nil)
        #expect(step.condition == nil)
        #expect(step.compensation == nil)
        #expect(!step.isPivot)
        #expect(step.output == nil)
    }

    @Test func everyOptionOfAStepIsRead() async throws {
        let text = """
            saga: s
            version: 0x10
            reuse_key: true
            retention: 0
            retries: { slow: { attempts: 2, fail_on: [ 503 ] }, undo: { attempts: forever } }
            defaults: { timeout: 1s, retry: { attempts: 1 }, compensate: { timeout: 2s, retry: { attempts: 3 } } }
            on_stuck: { publish: { topic: t, key: "k-${ .saga.id }", payload: null, headers: { X-A: "${ .failure.type }" } } }
            steps:
              - id: a
                if: ${ .input.vip }
                call: { sql: select 1 }
                retry: slow
                timeout: 3s
                deadline: 4s
                fail_on: [ 503, gone ]
                output: { x: "${ .output.id }" }
                compensate:
                  when: started
                  call: { sql: select 2 }
                  retry: undo
                  timeout: 5s
              - { id: b, call: { sql: select 3 }, compensate: { publish: { topic: t, payload: [ 1, "$${" ] } } }
            """
        let saga = try await saga(text)
        #expect(saga.version == 16)
        #expect(saga.reusesKey)
        #expect(saga.retention == .zero)
        let hook = try #require(saga.hooks[.stuck])
        #expect(hook.key == (try template("k-${ .saga.id }")))
        #expect(hook.payload == .literal(.null))
        #expect(hook.headers == [.init(name: "X-A", value: try template("${ .failure.type }"))])
        let (a, b) = (saga.steps[0], saga.steps[1])
        #expect(a.condition?.source == ".input.vip")
        #expect(a.retry.attempts == .limited(2))
        #expect(a.retry.failOn == [.status(503), .problemType("gone")])
        #expect(a.timeout == .seconds(3))
        #expect(a.deadline == .seconds(4))
        #expect(a.output == .object([.init(name: "x", value: .text(try template("${ .output.id }")))]))
        #expect(a.compensation?.when == .started)
        #expect(a.compensation?.retry.attempts == .forever)
        #expect(a.compensation?.timeout == .seconds(5))
        #expect(b.retry.attempts == .limited(1))
        #expect(b.timeout == .seconds(1))
        #expect(b.compensation?.retry.attempts == .limited(3))
        #expect(b.compensation?.timeout == .seconds(2))
        let payload = ValueTemplate.array([.literal(1), .literal("${")])
        #expect(b.compensation?.action == .publish(Publication(topic: "t", payload: payload)))
    }

    @Test func nothingToUndoIsSaidInAWord() async throws {
        let saga = try await saga(Workflows.saga("- { id: a, call: { sql: delete from t }, compensate: none }"))
        #expect(saga.steps[0].compensation == nil)
    }

    @Test func foreachIsRead() async throws {
        let action = try await action(
            "foreach: { in: '${ .input.items }', as: item, limit: 4, steps: [ { id: b, set: { x: 1 } } ] }")
        guard case .foreach(let foreach) = action else { return }
        #expect(foreach.items.source == ".input.items")
        #expect(foreach.name == "item")
        #expect(foreach.limit == 4)
        #expect(foreach.steps.map(\.id) == ["b"])
    }

    /// The forms of `otherwise` mean the same.
    @Test(arguments: [
        "- otherwise: [ { id: c, set: { x: 2 } } ]", "- otherwise:\n  steps: [ { id: c, set: { x: 2 } } ]",
        "- { otherwise: true, steps: [ { id: c, set: { x: 2 } } ] }",
        "- otherwise: { steps: [ { id: c, set: { x: 2 } } ] }",
    ])
    func switchIsRead(otherwise: String) async throws {
        let cases = "switch:\n- { when: '${ .input.a }', steps: [ { id: b, set: { x: 1 } } ] }\n\(otherwise)"
        guard case .choose(let choice) = try await action(cases) else { return }
        #expect(choice.cases.map(\.condition?.source) == [".input.a", nil])
        #expect(choice.cases.map { $0.steps.map(\.id) } == [["b"], ["c"]])
    }

    @Test func waitsAreRead() async throws {
        #expect(try await action("wait: { for: 10m }") == .wait(.duration(.seconds(600))))
        #expect(try await action("wait: { until: '${ .input.at }' }") == .wait(.until(try Expression(".input.at"))))
        #expect(
            try await action("wait: { until: 2026-01-31T08:00:00+01:00 }")
                == .wait(.until(try Expression("\"2026-01-31T08:00:00+01:00\""))))
        var event = Await(event: "Paid.ok_1-2")
        #expect(try await action("await: { event: Paid.ok_1-2 }") == .await(event))
        event.timeout = .seconds(2 * 86_400)
        event.onTimeout = .continue
        #expect(
            try await action("await: { event: Paid.ok_1-2, timeout: 2d, on_timeout: continue }") == .await(event))
        var approve = Approve(prompt: try template("Pay ${ .input.total }?"))
        approve.timeout = .seconds(3600)
        #expect(
            try await action("approve: { prompt: 'Pay ${ .input.total }?', timeout: 1h }") == .approve(approve))
    }

    @Test func theRestIsRead() async throws {
        #expect(try await action("run: { saga: t }") == .run(Run(saga: "t", input: .literal(.null))))
        var run = Run(saga: "t", input: .object([.init(name: "n", value: .literal(7))]))
        run.key = try template("k-${ .input.id }")
        #expect(try await action("run: { saga: t, input: { n: 7 }, key: 'k-${ .input.id }' }") == .run(run))
        #expect(
            try await action("set: { total: 1.50, no: no, nested: { a: [ true ] } }")
                == .set(
                    .object([
                        .init(name: "nested", value: .object([.init(name: "a", value: .array([.literal(true)]))])),
                        .init(name: "no", value: .literal("no")),
                        .init(name: "total", value: .literal(.number(JSONNumber(digits: "1.50")))),
                    ])))
        var fail = Fail(type: "out-of-stock")
        fail.detail = try template("no ${ .input.sku }")
        #expect(try await action("fail: { type: out-of-stock, detail: 'no ${ .input.sku }' }") == .fail(fail))
    }

    @Test func parallelMayWaitForTheOtherBranches() async throws {
        let action = try await action(
            "parallel: { branches: [ { id: x, steps: [ { id: b, set: { a: 1 } } ] } ], on_error: wait }")
        guard case .parallel(let parallel) = action else { return }
        #expect(parallel.onError == .wait)
        #expect(parallel.branches.map(\.id) == ["x"])
    }
}
