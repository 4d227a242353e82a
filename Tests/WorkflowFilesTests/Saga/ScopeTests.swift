import Testing
import WorkflowFiles

/// What expressions see. The first step begins at line 4.
struct ScopeTests {
    @Test(arguments: [
        (
            "- { id: a, set: { x: '${ .payload }', y: '${ .inptu.a }', z: '${ .item }' } }",
            """
            4:26: error: a step sees no '.payload'; expected one of .input, .steps, .saga; write .input.payload
            4:46: error: a step sees no '.inptu'; expected one of .input, .steps, .saga; did you mean '.input'?
            4:66: error: a step sees no '.item'; expected one of .input, .steps, .saga; write .input.item
            """
        ),
        (
            "- { id: a, set: { y: '${ .output }', z: '${ .failure.type }', w: '${ .input_sent }' } }",
            """
            4:26: error: a step sees no '.output'; expected one of .input, .steps, .saga; only 'compensate' and 'output' of a step see it
            4:45: error: a step sees no '.failure'; expected one of .input, .steps, .saga; only 'compensate' and the hooks on_… see it
            4:70: error: a step sees no '.input_sent'; expected one of .input, .steps, .saga; only 'compensate' sees it
            """
        ),
        (
            """
            - { id: charge, set: { x: 1 } }
            - { id: b, set: { x: '${ .charge.id }' } }
            """,
            "5:26: error: a step sees no '.charge'; expected one of .input, .steps, .saga; write .steps.charge.output"
        ),
    ])
    func rootsAreThere(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "- { id: a, set: { a: '${ .saga.id }', b: '${ .saga.name }', c: '${ .saga.version }', d: '${ .saga.key }', e: '${ .saga.started_at }', f: '${ .saga }' } }",
            ""
        ),
        (
            "- { id: a, set: { x: '${ .saga.idd }', y: '${ .saga.created }' } }",
            """
            4:31: error: the saga has no '.idd' for expressions; expected one of .saga.id, .saga.name, .saga.version, .saga.key, .saga.started_at; did you mean '.saga.id'?
            4:52: error: the saga has no '.created' for expressions; expected one of .saga.id, .saga.name, .saga.version, .saga.key, .saga.started_at
            """
        ),
    ])
    func aSagaHasFiveMembers(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - { id: charge, set: { x: 1 } }
            - { id: b, set: { x: '${ .steps.charge.output.x }', y: '${ .steps.charge.error.type }', z: '${ .steps.charge }', w: '${ .steps }' } }
            """,
            ""
        ),
        (
            """
            - { id: charge, set: { x: 1 } }
            - { id: b, set: { z: '${ .steps.charge.id }', w: '${ .steps.charge.outptu }' } }
            """,
            """
            5:39: error: a step has no '.id' for expressions; expected .steps.charge.output or .steps.charge.error; write .steps.charge.output.id
            5:67: error: a step has no '.outptu' for expressions; expected .steps.charge.output or .steps.charge.error; did you mean '.steps.charge.output'?
            """
        ),
        (
            """
            - { id: charge, set: { x: 1 } }
            - { id: b, set: { x: '${ .steps.chrage.output }' } }
            """,
            "5:32: error: there is no step 'chrage'; expected the id of a step; did you mean '.steps.charge'?"
        ),
    ])
    func aStepHasOutputAndError(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - { id: a, set: { x: '${ .steps.b.output }' } }
            - { id: b, set: { x: 1 } }
            """,
            "4:32: error: the step 'b' comes later; expected a step that has ended before"
        ),
        (
            "- { id: a, set: { x: '${ .steps.a.output }' }, if: '${ .steps.a }' }",
            """
            4:32: error: the step 'a' reads itself; expected a step that has ended before
            4:62: error: the step 'a' reads itself; expected a step that has ended before
            """
        ),
        (
            """
            - { id: a, wait: { until: '${ .steps.b.output }' } }
            - { id: b, run: { saga: t, key: '${ .steps.c.output }', input: { a: '${ .steps.d }' } } }
            - { id: c, approve: { prompt: '${ .steps.d }' } }
            - { id: d, fail: { type: x, detail: '${ .steps.d }' } }
            """,
            """
            4:37: error: the step 'b' comes later; expected a step that has ended before
            5:43: error: the step 'c' comes later; expected a step that has ended before
            5:79: error: the step 'd' comes later; expected a step that has ended before
            6:41: error: the step 'd' comes later; expected a step that has ended before
            7:47: error: the step 'd' reads itself; expected a step that has ended before
            """
        ),
        (
            """
            - { id: a, compensate: none, call: { http: 'POST https://a.example/${ .steps.b.output }/${ .steps.b.output }' } }
            - { id: b, set: { x: 1 } }
            """,
            """
            4:77: error: the step 'b' comes later; expected a step that has ended before
            4:98: error: the step 'b' comes later; expected a step that has ended before
            """
        ),
    ])
    func stepsHaveEndedBefore(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check(known: .init(sagas: ["t"])).text == messages)
    }

    @Test(arguments: [
        (
            "- { id: a, set: { x: 1 }, output: { y: '${ .output.x }', z: '${ .steps.a.output }', w: '${ .failure }' } }",
            """
            4:71: error: the step 'a' reads itself; expected a step that has ended before; write .output
            4:92: error: the output of a step sees no '.failure'; expected one of .input, .steps, .saga, .output; only 'compensate' and the hooks on_… see it
            """
        ),
        (
            """
            - id: p
              parallel: { branches: [ { id: x, steps: [ { id: a, set: { v: 1 } } ] } ] }
              output: ${ .steps.a.output }
              if: ${ .steps.a.output }
            """,
            "7:16: error: the step 'a' is inside this one and has not ended; expected a step that has ended before"
        ),
        (
            """
            - id: f
              foreach: { in: '${ .input }', as: i, steps: [ { id: a, set: { v: 1 } } ] }
              output: { x: '${ .steps.a.output }', y: '${ .output | length }' }
            - id: p
              parallel: { branches: [ { id: x, steps: [ { id: g, foreach: { in: '${ .input }', as: j, steps: [ { id: b, set: { v: 1 } } ] } } ] } ] }
              output: { x: '${ .steps.b.output }', y: '${ .steps.g.output }' }
            """,
            """
            6:26: error: the step 'a' is inside the foreach 'f', which runs it once for each item; expected the array of all outputs; write .output
            9:26: error: the step 'b' is inside the foreach 'g', which runs it once for each item; expected the array of all outputs; write .steps.g.output
            """
        ),
    ])
    func outputSeesItsOwn(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - { id: z, set: { x: 1 } }
            - id: a
              call: { http: GET https://a.example }
              compensate:
                call:
                  http: DELETE https://a.example/${ .output.id }
                  body: [ '${ .input_sent }', '${ .failure }', '${ .steps.z.output }' ]
            """,
            ""
        ),
        (
            """
            - id: a
              call: { http: GET https://a.example }
              compensate: { publish: { topic: t, payload: [ '${ .steps.a.output }', '${ .steps.b.output }' ] } }
            - { id: b, set: { x: 1 } }
            """,
            """
            6:59: error: the step 'a' reads itself; expected a step that has ended before; write .output
            6:83: error: the step 'b' comes later; expected a step that has ended before
            """
        ),
    ])
    func aCompensationSeesWhatHadEndedBeforeItsStep(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - id: p
              parallel:
                branches:
                  - { id: x, steps: [ { id: a, set: { v: 1 } }, { id: c, set: { v: '${ .steps.a.output }' } } ] }
                  - { id: y, steps: [ { id: b, set: { v: 1 } } ] }
            - { id: z, set: { a: '${ .steps.a.output }', p: '${ .steps.p.output.x }' } }
            """,
            ""
        ),
        (
            """
            - id: p
              parallel:
                branches:
                  - { id: x, steps: [ { id: a, set: { v: '${ .steps.b.output }' } } ] }
                  - { id: y, steps: [ { id: b, set: { v: '${ .steps.p.output }' } } ] }
            - { id: z, set: { x: '${ .steps.x.output }' } }
            """,
            """
            7:56: error: the step 'b' is in another branch of 'p' and may not have ended; expected a step of this branch, or one before all branches
            8:56: error: the step 'p' is around this one and has not ended; expected a step that has ended before
            9:32: error: there is no step 'x'; expected the id of a step; 'x' is a branch: write .steps.p.output.x
            """
        ),
    ])
    func branchesDoNotSeeEachOther(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - id: p
              switch:
                - { when: '${ .steps.p }', steps: [ { id: a, set: { v: '${ .steps.b.output }' } } ] }
                - { otherwise: [ { id: b, set: { v: '${ .steps.a.error }' } } ] }
            - { id: z, set: { a: '${ .steps.a.output }', b: '${ .steps.b.output }' } }
            """,
            """
            6:25: error: the step 'p' reads itself; expected a step that has ended before
            6:70: error: the step 'b' is in another case of 'p', of which only one runs; expected a step of this case
            7:51: error: the step 'a' is in another case of 'p', of which only one runs; expected a step of this case
            """
        )
    ])
    func casesDoNotSeeEachOther(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - id: f
              foreach:
                in: ${ .input.items }
                as: item
                steps:
                  - { id: a, set: { v: '${ .item.x }' } }
                  - { id: b, set: { v: '${ .steps.a.output }' }, compensate: { publish: { topic: t, payload: '${ .item }' } } }
            - { id: z, set: { b: '${ .steps.f.output[0] }' } }
            """,
            ""
        ),
        (
            """
            - id: f
              foreach: { in: '${ .item }', as: item, steps: [ { id: a, set: { v: 1 } } ] }
            - { id: z, set: { a: '${ .steps.a.output }', c: '${ .item }' } }
            """,
            """
            5:22: error: a step sees no '.item'; expected one of .input, .steps, .saga; write .input.item
            6:32: error: the step 'a' is inside the foreach 'f', which runs it once for each item; expected the array of all outputs; write .steps.f.output
            6:53: error: a step sees no '.item'; expected one of .input, .steps, .saga; write .input.item
            """
        ),
    ])
    func iterationsAreSeenFromInside(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - { id: a, set: { x: '${ [.steps.b.output] }', y: '${ {a: .nope} }', w: '${ "\\(.steps.b.output) x" }', v: '${ .steps["b"].output }' } }
            - { id: b, set: { x: 1 } }
            """,
            """
            4:33: error: the step 'b' comes later; expected a step that has ended before
            4:59: error: a step sees no '.nope'; expected one of .input, .steps, .saga; write .input.nope
            4:86: error: the step 'b' comes later; expected a step that has ended before
            4:117: error: the step 'b' comes later; expected a step that has ended before
            """
        ),
        (
            """
            - { id: a, set: { a: '${ .input as $x | .steps.b.output }', c: '${ . as $r | $r.steps.b }', d: '${ .steps | .b.output }' } }
            - { id: b, set: { a: '${ first(.steps.c.output) }', d: '${ limit(1; .steps.c) }', e: '${ try .steps.c }', f: '${ (.steps).c }' } }
            - { id: c, set: { a: '${ def f: .steps.c; f }', d: '${ .steps.b | [.x, .y] }', e: '${ .steps.d | [.output, .error] }' } }
            """,
            """
            4:47: error: the step 'b' comes later; expected a step that has ended before
            4:86: error: the step 'b' comes later; expected a step that has ended before
            4:109: error: the step 'b' comes later; expected a step that has ended before
            5:38: error: the step 'c' comes later; expected a step that has ended before
            5:75: error: the step 'c' comes later; expected a step that has ended before
            5:100: error: the step 'c' comes later; expected a step that has ended before
            5:122: error: the step 'c' comes later; expected a step that has ended before
            6:39: error: the step 'c' reads itself; expected a step that has ended before
            6:68: error: a step has no '.x' for expressions; expected .steps.b.output or .steps.b.error; write .steps.b.output.x
            6:72: error: a step has no '.y' for expressions; expected .steps.b.output or .steps.b.error; write .steps.b.output.y
            6:93: error: there is no step 'd'; expected the id of a step; did you mean '.steps.a'?
            """
        ),
        (
            "- { id: a, set: { a: '${ .input | .steps.later }', b: '${ .input.list | first(.[] | .steps.later) }', c: '${ .steps | keys | map(.later) }', d: '${ .input | . as $x | $x.steps }', e: '${ .input | {steps} }' } }",
            ""
        ),
        (
            "- { id: a, set: { z: '${ .input | .nope }', v: '${ .input.list | map(.nope) }', w: '${ .steps[.input.x] }' } }",
            ""
        ),
    ])
    func jqIsJudgedAsFarAsItIsCertain(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            output: { a: '${ .steps.a.output.x }', b: '${ .saga.id }' }
            on_failed: { publish: { topic: t, payload: { a: '${ .failure }', b: '${ .steps.a.error }' } } }
            """,
            ""
        ),
        (
            """
            output: { y: '${ .failure }', z: '${ .steps.b }' }
            on_failed: { publish: { topic: t, payload: '${ .item }', key: '${ .output }' } }
            """,
            """
            4:18: error: the output of a saga sees no '.failure'; expected one of .input, .steps, .saga; only 'compensate' and the hooks on_… see it
            4:44: error: there is no step 'b'; expected the id of a step; did you mean '.steps.a'?
            5:48: error: a hook sees no '.item'; expected one of .input, .steps, .saga, .failure; write .input.item
            5:67: error: a hook sees no '.output'; expected one of .input, .steps, .saga, .failure; only 'compensate' and 'output' of a step see it
            """
        ),
    ])
    func theEndOfASagaSeesAllSteps(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith(yaml)).check().text == messages)
    }
}
