import Delivery
import Expressions
import Primitives
import Sagas
import Testing
import WorkflowFiles

/// The example of the language's description means what is said there.
struct PlaceOrderTests {
    @Test func exampleIsAcceptedWithOneWarning() async {
        let outcome = await Workflows(PlaceOrder.files()).check()
        #expect(!outcome.hasErrors)
        #expect(
            outcome.messages == [
                "place-order.yaml:55:15: warning: the step 'pick_list' has an effect and no compensation: when the saga aborts, it stays done; add compensate, or move the step behind the pivot; to accept that, write compensate: none"
            ])
    }
}
