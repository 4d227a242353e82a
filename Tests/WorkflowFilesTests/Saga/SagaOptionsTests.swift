import Testing
import WorkflowFiles

/// What stands in a saga beside its steps. Further lines begin at line 4.
struct SagaOptionsTests {
    @Test(arguments: [
        (
            "saga: s",
            """
            1:1: error: a saga without 'steps'; expected steps: [ { id: …, call: … } ]
            1:1: error: a saga without 'version'; expected version: 1, and a higher number with every change
            """
        ),
        (
            """
            saga: s
            version: 1
            steps: []
            """,
            "3:8: error: steps is empty; expected at least one step"
        ),
        (
            """
            saga: s
            version: 1
            steps: a
            """,
            "3:8: error: 'a' stands for steps; expected a list; write [ a ]"
        ),
        (
            """
            saga: s
            version: 1
            steps: [ a ]
            """,
            "3:10: error: 'a' stands for a step; expected a mapping with id, call, publish, …"
        ),
        (
            """
            saga: s
            verson: 1
            step: []
            """,
            """
            2:1: error: unknown key 'verson' of a saga; did you mean 'version'?
            3:1: error: unknown key 'step' of a saga; did you mean 'steps'?
            """
        ),
    ])
    func aSagaNeedsVersionAndSteps(yaml: String, messages: String) async {
        #expect(await Workflows(yaml).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            saga: s
            version: 0
            steps: [ { id: a, set: { x: 1 } } ]
            """,
            "2:10: error: the number 0 stands for version; expected a whole number from 1 to 2147483647"
        ),
        (
            """
            saga: s
            version: one
            steps: [ { id: a, set: { x: 1 } } ]
            """,
            "2:10: error: 'one' stands for version; expected a whole number from 1 to 2147483647"
        ),
        (
            """
            saga: s
            version: 1.0
            steps: [ { id: a, set: { x: 1 } } ]
            """,
            "2:10: error: the number 1.0 stands for version; expected a whole number from 1 to 2147483647"
        ),
        (
            """
            saga: s
            version: "1"
            steps: [ { id: a, set: { x: 1 } } ]
            """,
            "2:10: error: '1' stands for version; expected a whole number from 1 to 2147483647"
        ),
        (
            """
            saga: s
            version: 2147483648
            steps: [ { id: a, set: { x: 1 } } ]
            """,
            "2:10: error: the number 2147483648 stands for version; expected a whole number from 1 to 2147483647"
        ),
    ])
    func versionIsAWholeNumber(yaml: String, messages: String) async {
        #expect(await Workflows(yaml).check().text == messages)
    }

    @Test(arguments: [
        (
            "foo: 1",
            "4:1: error: unknown key 'foo' of a saga; expected one of saga, version, description, key, reuse_key, start_on, input, output, timeout, abort_wait, retention, retries, defaults, steps, on_completed, on_compensated, on_failed, on_stuck, on_terminated"
        ),
        (
            "on_complete: { publish: { topic: a, payload: 1 } }",
            "4:1: error: unknown key 'on_complete' of a saga; did you mean 'on_completed'?"
        ),
    ])
    func keysAreKnown(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith(yaml)).check().text == messages)
    }

    @Test(arguments: [
        ("key: order-${ .input.shop }-${ .input.id }", ""),
        (
            "key: ${ .input.id | tostring }",
            "4:6: error: '${ .input.id | tostring }' stands for key; expected a plain path such as ${ .input.orderId }, or a text of plain paths"
        ),
        (
            "key: ${ .order.id }",
            "4:9: error: the key of a saga sees no '.order'; expected .input; write .input.order"
        ),
        ("key: ${ $env.A }", "4:9: error: ${ $env.A } stands in key; expected paths into .input only"),
        ("key: ${ . }", "4:9: error: ${ . } stands in key; expected paths into .input only"),
        (
            "key: ${ .steps.a.output }",
            "4:9: error: the key of a saga sees no '.steps'; expected .input; a key is made of the input alone"
        ),
        (
            "key: ${ .inptu.id }",
            "4:9: error: the key of a saga sees no '.inptu'; expected .input; did you mean '.input'?"
        ),
        ("key: 7", #"4:6: error: the number 7 stands for key; expected a text; quote it: "7""#),
    ])
    func keyIsMadeOfPathsIntoTheInput(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "reuse_key: yes",
            "4:12: error: 'yes' stands for reuse_key; expected true or false; did you mean true? YAML 1.2 reads yes as a text"
        ),
        (
            "start_on: order.*",
            "4:11: error: 'order.*' stands for start_on; expected parts of a-z, 0-9 and '-' with dots between, no '*' and no '#'"
        ),
        (
            "start_on: Order",
            "4:11: error: 'Order' stands for start_on; expected parts of a-z, 0-9 and '-' with dots between, no '*' and no '#'; did you mean 'order'?"
        ),
        ("timeout: 0", "4:10: error: the number 0 stands for timeout; expected at least 1ms"),
        ("retention: 0", ""),
        (
            "retention: 11y",
            "4:12: error: '11y' stands for retention; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S"
        ),
        ("description: 5", #"4:14: error: the number 5 stands for description; expected a text; quote it: "5""#),
    ])
    func optionsAreChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith(yaml)).check().text == messages)
    }

    /// One whose policy is wrong is there: who names it need not be told that it is missing.
    @Test(arguments: [
        (
            "retries: { Gentle: {}, b: { attempts: 0 } }",
            """
            4:12: error: 'Gentle' stands for the name of a retry policy; expected a-z, 0-9, '.' and '-', beginning with a letter; did you mean 'gentle'?
            4:39: error: the number 0 stands for attempts; expected a whole number from 1 to 1000000, or forever; attempts counts tries in total: 1 means no retry
            """
        ),
        (
            "retries: [ a ]",
            "4:10: error: a list stands for retries; expected a mapping of names to policies: gentle: { attempts: 5 }"
        ),
        (
            """
            retries: { gentle: { attempts: 3 } }
            defaults: { retry: gentel }
            """,
            "5:20: error: the retry policy 'gentel' is declared nowhere; expected a name under retries, or a mapping with attempts, initial, …; did you mean 'gentle'?"
        ),
        (
            """
            retries: { gentle: { attempts: 0 } }
            defaults: { retry: gentle, compensate: { retry: other, timeout: 5 }, timeouts: 5s }
            """,
            """
            4:32: error: the number 0 stands for attempts; expected a whole number from 1 to 1000000, or forever; attempts counts tries in total: 1 means no retry
            5:49: error: the retry policy 'other' is declared nowhere; expected a name under retries, or a mapping with attempts, initial, …
            5:65: error: the number 5 stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '5s'?
            5:70: error: unknown key 'timeouts' of defaults; did you mean 'timeout'?
            """
        ),
        (
            "defaults: { compensate: { call: 1 } }",
            "4:27: error: unknown key 'call' of compensate; expected one of retry, timeout"
        ),
    ])
    func namedPoliciesAreChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "on_completed: { topic: a, payload: 1 }",
            """
            4:15: error: on_completed without 'publish'; expected publish: { topic: …, payload: … }
            4:17: error: unknown key 'topic' of on_completed; expected publish
            4:27: error: unknown key 'payload' of on_completed; expected publish
            """
        ),
        (
            "on_completed: { publish: { topic: a } }",
            "4:26: error: publish without 'payload'; expected payload: a value"
        ),
        ("on_stuck:", "4:10: error: nothing stands for on_stuck; expected a mapping with publish"),
        ("on_terminated: { publish: { topic: a, payload: '${ .saga }', key: '${ .failure.type }' } }", ""),
    ])
    func hooksPublish(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith(yaml)).check().text == messages)
    }

    @Test(arguments: [
        ("output: \"a\\0b\"", "4:9: error: a text with the character U+0000; expected one that jsonb can hold"),
        (
            "output: { \"a\\0b\": 1 }",
            "4:11: error: a text with the character U+0000; expected one that jsonb can hold"
        ),
        (
            "output: 1e5000",
            "4:9: error: the number 1e5000 has an exponent beyond 1000; expected a number that jsonb can hold"
        ),
        ("output: 1e500", ""),
    ])
    func whatTheDatabaseCannotHoldIsRefused(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            #"output: { "${ .input.a }": 1 }"#,
            "4:11: error: an expression stands in the name of a member; expected a literal name; make the whole object in one expression: '${ {(.input.name): 1} }'"
        )
    ])
    func namesOfMembersAreLiteral(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith(yaml)).check().text == messages)
    }
}
