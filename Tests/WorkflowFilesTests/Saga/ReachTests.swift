import Testing
import WorkflowFiles

/// Steps that can never run. The first step begins at line 4.
struct ReachTests {
    @Test(arguments: [
        (
            """
            - { id: a, fail: { type: x }, if: '${ true }' }
            - { id: b, set: { x: 1 } }
            - { id: c, set: { x: 1 } }
            - { id: d, set: { x: 1 } }
            """,
            "5:3: error: the step 'b' and 2 more behind it stand behind the step 'a', which always fails, and are never reached; expected fail as the last step, or with an if"
        ),
        (
            """
            - id: s
              switch:
                - { when: '${ .input.a }', steps: [ { id: a, fail: { type: x } } ] }
                - { otherwise: [ { id: b, fail: { type: y } } ] }
            - { id: c, set: { x: 1 } }
            """,
            "8:3: error: the step 'c' stands behind the step 's', which always fails, and is never reached; expected a way through it that does not fail, or nothing behind it"
        ),
        (
            """
            - id: s
              switch:
                - { when: '${ .input.a }', steps: [ { id: a, fail: { type: x } } ] }
            - { id: c, set: { x: 1 } }
            """,
            ""
        ),
        (
            """
            - id: s
              if: ${ .input.b }
              switch:
                - { when: '${ .input.a }', steps: [ { id: a, fail: { type: x } } ] }
                - { otherwise: [ { id: b, fail: { type: y } } ] }
            - { id: c, set: { x: 1 } }
            """,
            ""
        ),
        (
            """
            - id: s
              switch:
                - { when: '${ .input.a }', steps: [ { id: a, fail: { type: x } } ] }
                - { otherwise: [ { id: b, fail: { type: y }, if: '${ .input.b }' } ] }
            - { id: c, set: { x: 1 } }
            """,
            ""
        ),
        (
            """
            - id: p
              parallel:
                branches:
                  - { id: x, steps: [ { id: a, set: { x: 1 } } ] }
                  - { id: y, steps: [ { id: s, switch: [ { when: '${ true }', steps: [ { id: b, fail: { type: x } }, { id: c, set: { x: 1 } } ] } ] } ] }
            - { id: d, set: { x: 1 } }
            """,
            """
            8:106: error: the step 'c' stands behind the step 'b', which always fails, and is never reached; expected fail as the last step, or with an if
            9:3: error: the step 'd' stands behind the step 'p', which always fails, and is never reached; expected a way through it that does not fail, or nothing behind it
            """
        ),
        (
            """
            - id: f
              foreach: { in: '${ .input }', as: i, steps: [ { id: a, fail: { type: x } } ] }
            - { id: b, set: { x: 1 } }
            """,
            ""
        ),
    ])
    func noStepStandsBehindWhatAlwaysFails(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "- { id: a, set: { x: 1 }, if: '${ false }' }",
            "4:31: error: the step 'a' never runs: its 'if' is always false; expected a condition that can be true"
        ),
        ("- { id: a, set: { x: 1 }, if: false }", "4:31: error: false stands for if; expected an expression: ${ … }"),
        ("- { id: a, set: { x: 1 }, if: '${ true }' }", ""),
        (
            "- { id: a, fail: { type: x }, if: '${ null }' }\n- { id: b, set: { x: 1 } }",
            "4:35: error: the step 'a' never runs: its 'if' is always false; expected a condition that can be true"
        ),
    ])
    func aConditionCanBeTrue(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }
}
