import Delivery
import Expressions
import Primitives
import Sagas
import Testing

/// What is published when a saga comes to an end or gets stuck.
struct HookTests {
    private func saga(_ hook: SagaDefinition.Hook, payload: ValueTemplate = .value(".failure.type")) -> SagaRun {
        SagaRun(.call("a").undone(), .call("b"), input: ["x": 1]) { definition in
            definition.hooks[hook] = Publication(topic: "told", payload: payload)
        }
    }

    private static let payload = ValueTemplate.array([
        .value(".saga.name"), .value(".input.x"), .value(".steps.a.output"),
    ])

    @Test func completedSagaIsTold() {
        var saga = saga(.completed, payload: Self.payload)
        _ = saga.begin()
        _ = saga.succeed("a", 2)
        #expect(saga.succeed("b") == ["tell parent completed", "publish told"])
        #expect(saga.messages.map(\.payload) == [["test", 1, 2]])
        #expect(saga.messages.map(\.origin) == [.hook(.completed)])
    }

    @Test func compensatedSagaIsTold() {
        var saga = saga(.compensated)
        _ = saga.begin()
        _ = saga.succeed("a")
        _ = saga.refuse("b")
        #expect(saga.undo("a") == ["tell parent compensated", "publish told"])
        #expect(saga.messages.map(\.payload) == ["no"])
    }

    @Test func failedSagaIsTold() {
        var saga = saga(.failed)
        _ = saga.begin()
        #expect(saga.refuse("a") == ["tell parent failed", "publish told"])
    }

    @Test func everyTimeThatASagaGetsStuckIsTold() {
        var saga = saga(.stuck)
        _ = saga.begin()
        _ = saga.succeed("a")
        _ = saga.refuse("b")
        #expect(saga.answer("a", op: .compensate, .refusal) == ["bury compensation a", "publish told"])
        _ = saga.ask(.retry(input: nil))
        #expect(saga.answer("a", op: .compensate, .refusal) == ["bury compensation a", "publish told"])
    }

    @Test func hookOfAnotherEndIsSilent() {
        var saga = saga(.failed)
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.succeed("b") == ["tell parent completed"])
    }

    @Test func hookWhoseExpressionFailsIsRecordedAndTheSagaHasEnded() {
        var saga = saga(.completed, payload: .value(".input.x.y"))
        _ = saga.begin()
        _ = saga.succeed("a")
        #expect(saga.succeed("b") == ["tell parent completed"])
        #expect(saga.status == .completed)
        #expect(saga.history.suffix(2) == ["completed", "hook_failed"])
    }

    @Test func hookWhoseMessageIsRefusedIsRecordedAndTheSagaHasEnded() {
        var saga = saga(.completed)
        _ = saga.begin()
        _ = saga.succeed("a")
        let last = SagaEvent.answered(StepPath("b"), .action, send: 1, .succeeded(.null))
        #expect(
            saga.handle(last, refusing: .hook(.completed), Failure(type: "full", detail: "OR001")) == [
                "tell parent completed"
            ])
        #expect(saga.status == .completed)
        #expect(saga.facts.last?.kind == .hookFailed(hook: "on_completed", error: "OR001"))
    }

    // MARK: - Messages that the database refuses

    @Test func refusedMessageFailsItsStep() {
        let origin = Effect.Message.Origin.step(StepPath("m"), .action)
        var saga = SagaRun(.call("a").undone(), .publish("m"), .call("b"))
        _ = saga.begin()
        let event = SagaEvent.answered(StepPath("a"), .action, send: 1, .succeeded(.null))
        #expect(saga.handle(event, refusing: origin, Failure(type: "topic-full", detail: "OR001")) == ["undo a"])
        #expect(saga.state.failure == Failure(step: StepPath("m"), type: "topic-full", detail: "OR001"))
    }

    @Test func refusedMessageOfACompensationMakesTheSagaStuck() {
        let origin = Effect.Message.Origin.step(StepPath("a"), .compensate)
        var saga = SagaRun(.call("a").undoneByMessage(), .call("b"))
        _ = saga.begin()
        _ = saga.succeed("a")
        let event = SagaEvent.answered(StepPath("b"), .action, send: 1, .refusal)
        #expect(saga.handle(event, refusing: origin, Failure(type: "full")) == ["bury compensation a"])
        #expect(saga.ask(.retry(input: nil)) == ["settle letters", "publish una", "tell parent compensated"])
    }
}
