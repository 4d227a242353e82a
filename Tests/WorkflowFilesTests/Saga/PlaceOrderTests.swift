import Delivery
import Expressions
import Primitives
import Sagas
import Testing
import WorkflowFiles

/// The example of the language's description means what is said there.
struct PlaceOrderTests {
    private func saga() async throws -> SagaDefinition {
        try #require(await Workflows(PlaceOrder.files()).check().sagas.first)
    }

    /// `pick_list` is the only step with an effect that stands before the pivot and has no compensation.
    @Test func exampleIsAcceptedWithOneWarning() async {
        let outcome = await Workflows(PlaceOrder.files()).check()
        #expect(!outcome.hasErrors)
        #expect(
            outcome.messages == [
                "place-order.yaml:55:15: warning: the step 'pick_list' has an effect and no compensation: when the saga aborts, it stays done; add compensate, or move the step behind the pivot; to accept that, write compensate: none"
            ])
    }

    @Test func sagasOwnOptionsAreRead() async throws {
        let saga = try await saga()
        #expect(saga.name == "place-order")
        #expect(saga.version == 3)
        #expect(saga.about == "Charge, reserve and ship an order.")
        #expect(saga.key?.source == "${ .input.orderId }")
        #expect(!saga.reusesKey)
        #expect(saga.startOn == "order.placed")
        #expect(saga.timeout == .seconds(4 * 3600))
        #expect(saga.retention == .seconds(30 * 86_400))
        #expect(saga.inputSchema?.mismatch(["orderId": 17]) == "the input has no member 'total'")
        #expect(saga.output == .object([.init(name: "shipment", value: try text("${ .steps.ship.output.id }"))]))
        #expect(saga.allSteps.map(\.id) == ["reserve", "charge", "notify", "pick_list", "book", "ship", "receipt"])
        #expect(saga.hooks.keys.map(\.rawValue) == ["completed"])
        #expect(saga.hooks[.completed] == Publication(topic: "saga.completed", payload: try text("${ .saga }")))
    }

    @Test func defaultsAndNamedPoliciesReachTheSteps() async throws {
        let steps = try await saga().allSteps
        var gentle = RetryPolicy()
        gentle.initial = .milliseconds(200)
        gentle.maxElapsed = .seconds(120)
        var undo = RetryPolicy()
        undo.attempts = .limited(20)
        undo.initial = .seconds(1)
        undo.max = .seconds(300)
        #expect(steps[0].retry == gentle)
        #expect(steps[0].timeout == .seconds(5))
        #expect(steps[0].compensation?.retry == undo)
        #expect(steps[0].compensation?.timeout == .seconds(30))
        var declined = gentle
        declined.failOn = [.problemType("card-declined")]
        #expect(steps[1].retry == declined)
    }

    @Test func callsAndTheirCompensationsAreRead() async throws {
        let steps = try await saga().allSteps
        guard case .call(.http(let charge)) = steps[1].action,
            case .call(.http(let refund))? = steps[1].compensation?.action
        else {
            Issue.record("charge is \(steps[1])")
            return
        }
        #expect(charge.method == .post)
        #expect(charge.endpoint == "payments")
        #expect(charge.url.isPath)
        #expect(charge.url.template.source == "/charges")
        #expect(!charge.isAsync)
        #expect(
            charge.body
                == .object([
                    .init(name: "amount", value: try text("${ .input.total }")),
                    .init(name: "order", value: try text("${ .input.orderId }")),
                ]))
        #expect(steps[1].compensation?.when == .started)
        #expect(refund.url.template.source == "/refunds")
        guard case .call(.http(let release))? = steps[0].compensation?.action else { return }
        #expect(steps[0].compensation?.when == .succeeded)
        #expect(release.method == .delete)
        #expect(!release.url.isPath)
        #expect(release.body == nil)
        #expect(
            try release.url.resolve { (expression) throws(ExpressionError) in
                expression.path?.root == .environment ? "https://inventory.example" : "a/b"
            } == "https://inventory.example/reservations/a%2Fb")
    }

    @Test func branchesPivotAndMessagesAreRead() async throws {
        let steps = try await saga().steps
        guard case .parallel(let parallel) = steps[2].action,
            case .call(.sql(let book)) = parallel.branches[1].steps[0].action,
            case .call(.http(let ship)) = steps[3].action, case .publish(let receipt) = steps[4].action
        else {
            Issue.record("the steps are \(steps)")
            return
        }
        #expect(parallel.branches.map(\.id) == ["warehouse", "ledger"])
        #expect(parallel.onError == .abort)
        #expect(book.statement == "select ledger.book($1, $2)")
        #expect(book.arguments == [try text("${ .input.orderId }"), try text("${ .input.total }")])
        #expect(steps.map(\.isPivot) == [false, false, false, true, false])
        #expect(ship.isAsync)
        #expect(steps[3].timeout == .seconds(7200))
        #expect(steps[3].deadline == .seconds(10_800))
        #expect(receipt.topic == "order.completed")
        #expect(receipt.key?.source == "${ .input.orderId }")
        #expect(receipt.payload == (try text("${ .steps }")))
    }

    @Test func contentReadsBackAsTheSameDefinitionWithoutFiles() async throws {
        let saga = try await saga()
        let stored = try JSON(parsing: saga.content.text)
        #expect(try Definition(content: stored) == .saga(saga))
    }

    @Test func pathOfASchemaHasNoMeaningInContent() throws {
        let error = #expect(throws: DefinitionError.self) {
            try Definition(content: [
                "saga": "s", "version": 1, "input": ["schema": "order.json"], "steps": [["id": "a", "set": ["x": 1]]],
            ])
        }
        #expect(
            error?.messages == [
                "'order.json' stands for the path of a schema; expected a path from the folder of the workflow file"
            ])
    }

    private func text(_ source: String) throws -> ValueTemplate { .text(try Template(source)) }
}
