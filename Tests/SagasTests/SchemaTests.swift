import Primitives
import Sagas
import Testing

struct SchemaTests {
    @Test func mismatchNamesThePlaceAndWhatWasExpected() {
        var total = JSONSchema.Rules()
        total.types = [.number]
        total.minimum = JSONNumber(digits: "0.01")
        var order = JSONSchema.Rules()
        order.types = [.object]
        order.required = ["total"]
        order.properties = [JSONSchema.ValueRule(name: "total", schema: .rules(total))]
        let schema = JSONSchema.rules(order)
        #expect(schema.mismatch(["total": 5]) == nil)
        #expect(schema.mismatch([:]) == "the input has no member 'total'")
        #expect(schema.mismatch(["total": "5"]) == #".total is "5"; expected number"#)
        #expect(schema.mismatch(["total": 0]) == ".total is 0; expected at least 0.01")
    }

    @Test func numbersAreComparedByValueWithAllDigits() {
        var rules = JSONSchema.Rules()
        rules.maximum = JSONNumber(digits: "9007199254740992")
        let schema = JSONSchema.rules(rules)
        #expect(schema.mismatch(.number(JSONNumber(digits: "9007199254740993"))) != nil)
        #expect(schema.mismatch(.number(JSONNumber(digits: "9.007199254740992e15"))) == nil)
    }
}
