import Testing
import WorkflowFiles

/// Steps that contain steps. The action stands in line 5.
struct ContainerFilesTests {
    @Test(arguments: [
        ("parallel: []", "5:13: error: a list stands for parallel; expected a mapping with branches, on_error"),
        ("parallel: {}", "5:13: error: parallel without 'branches'; expected branches: [ { id: …, steps: […] } ]"),
        ("parallel: { branches: [] }", "5:25: error: branches is empty; expected at least one branch"),
        ("parallel: { branches: [ a ] }", "5:27: error: 'a' stands for a branch; expected a mapping with id, steps"),
        ("parallel: { branches: [ { id: x } ] }", "5:27: error: a branch without 'steps'; expected steps: [ … ]"),
        (
            "parallel: { branches: [ { steps: [ { id: b, set: { a: 1 } } ] } ] }",
            "5:27: error: a branch without 'id'; expected id: a name such as warehouse"
        ),
        (
            "parallel: { branches: [ { id: x, steps: [] } ] }",
            "5:43: error: steps is empty; expected at least one step"
        ),
        (
            "parallel: { branches: [ { id: x, steps: [ { id: b, set: { a: 1 } } ] } ], on_error: stop }",
            "5:87: error: 'stop' stands for on_error; expected abort or wait"
        ),
        (
            "parallel: { branches: [ { id: b, steps: [ { id: b, set: { a: 1 } } ] } ] }",
            "5:51: error: the id 'b' stands twice; first at line 5; expected each id once in a saga, of steps and of branches"
        ),
    ])
    func parallelIsChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga("- id: a\n  " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "foreach: {}",
            """
            5:12: error: foreach without 'as'; expected as: a name for the item
            5:12: error: foreach without 'in'; expected in: ${ … } that gives an array
            5:12: error: foreach without 'steps'; expected steps: [ … ]
            """
        ),
        (
            "foreach: { in: [ 1 ], as: x, steps: [ { id: b, set: { a: 1 } } ] }",
            "5:18: error: a list stands for in; expected an expression: ${ … }"
        ),
        (
            "foreach: { in: '${ .input.a }', as: X, steps: [ { id: b, set: { a: 1 } } ] }",
            "5:39: error: 'X' stands for the name of an item; expected a-z, 0-9 and '_', beginning with a letter; did you mean 'x'?"
        ),
        (
            "foreach: { in: '${ .input.a }', as: b, steps: [ { id: b, set: { a: 1 } } ] }",
            "5:39: error: 'b' stands for the name of an item, and is the id of a step; expected a name of its own"
        ),
        (
            "foreach: { in: '${ .input.a }', as: input, steps: [ { id: b, set: { a: 1 } } ] }",
            "5:39: error: 'input' stands for the name of an item; expected another name: expressions see something else as '.input'"
        ),
        (
            "foreach: { in: '${ .input.a }', as: x, limit: 0, steps: [ { id: b, set: { a: 1 } } ] }",
            "5:49: error: the number 0 stands for limit; expected a whole number from 1 to 1000"
        ),
        (
            "foreach: { in: '${ .input.a }', as: x, limit: 1001, steps: [] }",
            """
            5:49: error: the number 1001 stands for limit; expected a whole number from 1 to 1000
            5:62: error: steps is empty; expected at least one step
            """
        ),
        (
            "foreach: { in: '${ .input.a }', as: x, steps: [ { id: b, foreach: { in: '${ .x }', as: x, steps: [ { id: c, set: { a: 1 } } ] } } ] }",
            "5:90: error: 'x' stands for the name of an item inside a foreach that has it already; expected a name of its own"
        ),
    ])
    func foreachIsChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga("- id: a\n  " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        ("switch: {}", "5:11: error: a mapping stands for switch; expected a list"),
        ("switch: []", "5:11: error: switch is empty; expected at least one case: when: ${ … }, steps: […]"),
        ("switch: [ a ]", "5:13: error: 'a' stands for a case; expected a mapping with when, otherwise, steps"),
        (
            "switch: [ { steps: [] } ]",
            """
            5:13: error: a case without a condition; expected when: ${ … }, or otherwise
            5:22: error: steps is empty; expected at least one step
            """
        ),
        ("switch: [ { when: '${ true }' } ]", "5:13: error: a case without 'steps'; expected steps: [ … ]"),
        (
            "switch: [ { when: true, steps: [ { id: b, set: { a: 1 } } ] } ]",
            "5:21: error: true stands for when; expected an expression: ${ … }"
        ),
        (
            "switch: [ { wen: true, steps: [ { id: b, set: { a: 1 } } ] } ]",
            "5:15: error: unknown key 'wen' of a case; did you mean 'when'?"
        ),
        (
            "switch: [ { when: '${ true }', otherwise: , steps: [ { id: b, set: { a: 1 } } ] } ]",
            "5:34: error: a case with 'when' and 'otherwise'; expected exactly one of them"
        ),
    ])
    func switchIsChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga("- id: a\n  " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "switch: [ { otherwise: [ { id: b, set: { a: 1 } } ] }, { when: '${ true }', steps: [ { id: c, set: { a: 1 } } ] } ]",
            "5:58: error: a case behind 'otherwise' at line 5, which is never reached; expected 'otherwise' once, as the last case"
        ),
        (
            "switch: [ { otherwise: true, steps: [ { id: b, set: { a: 1 } } ] }, { otherwise: , steps: [ { id: c, set: { a: 1 } } ] } ]",
            "5:71: error: a case behind 'otherwise' at line 5, which is never reached; expected 'otherwise' once, as the last case"
        ),
        (
            "switch: [ { otherwise: [ { id: b, set: { a: 1 } } ], steps: [] } ]",
            "5:56: error: 'steps' beside an 'otherwise' that has steps; expected one of them"
        ),
        (
            "switch: [ { otherwise: false, steps: [ { id: b, set: { a: 1 } } ] } ]",
            "5:26: error: false stands for otherwise; expected a list of steps"
        ),
        (
            "switch: [ { otherwise: { steps: [ { id: b, set: { a: 1 } } ], when: 1 }, steps: [] } ]",
            """
            5:65: error: unknown key 'when' of otherwise; expected steps
            5:76: error: 'steps' beside an 'otherwise' that has steps; expected one of them
            """
        ),
        ("switch: [ { otherwise: {} } ]", "5:26: error: otherwise without 'steps'; expected steps: [ … ]"),
        ("switch: [ { otherwise: true } ]", "5:13: error: a case without 'steps'; expected steps: [ … ]"),
        (
            "switch: [ { when: '${ true }', steps: [ { id: b, set: { a: 1 } } ] }, { otherwise: [ { id: c, set: { a: 1 } } ] } ]",
            "5:73: error: a case behind 'when: ${ true }' at line 5, which is never reached; expected it as the last case"
        ),
        (
            "switch: [ { when: '${ false }', steps: [ { id: b, set: { a: 1 } } ] }, { otherwise: [ { id: c, set: { a: 1 } } ] } ]",
            "5:21: error: '${ false }' stands for when: this case never runs; expected a condition that can be true"
        ),
    ])
    func otherwiseStandsLast(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga("- id: a\n  " + yaml)).check().text == messages)
    }
}
