import Delivery
import Expressions
import Primitives
import Sagas
import Testing

struct UndoingTests {
    @Test func stepsAreUndoneInTheReverseOrderOfTheirStarts() {
        var saga = SagaRun(.call("a").undone(), .call("b").undone(), .call("c").undone())
        #expect(saga.begin() == ["call a"])
        #expect(saga.succeed("a") == ["call b"])
        #expect(saga.succeed("b") == ["call c"])
        #expect(saga.refuse("c") == ["undo b"])
        #expect(saga.undo("b") == ["undo a"])
        #expect(saga.undo("a") == ["tell parent compensated"])
        #expect(saga.status == .compensated)
    }

    @Test func expressionThatFailsInACompensationMakesTheSagaStuck() {
        var saga = SagaRun(.call("a").undone(body: .value(".bad | .")), .fail("b", "no"))
        #expect(saga.begin() == ["call a"])
        #expect(saga.succeed("a") == ["bury compensation a"])
        #expect(saga.status == .stuck)
    }
}
