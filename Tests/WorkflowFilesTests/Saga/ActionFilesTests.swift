import Testing
import WorkflowFiles

/// What a step does, apart from calls and steps inside. The action stands in line 5.
struct ActionFilesTests {
    @Test(arguments: [
        ("publish: a", "5:12: error: 'a' stands for publish; expected a mapping with topic, key, payload, …"),
        ("publish: { topic: a, payload: }", ""),
        ("publish: { payload: 1 }", "5:12: error: publish without 'topic'; expected topic: order.completed"),
        ("publish: { topic: a }", "5:12: error: publish without 'payload'; expected payload: a value"),
        (
            "publish: { topic: a.*, payload: 1 }",
            "5:21: error: 'a.*' stands for a topic; expected parts of a-z, 0-9 and '-' with dots between, no '*' and no '#'"
        ),
        (
            "publish: { topic: a_b, payload: 1 }",
            "5:21: error: 'a_b' stands for a topic; expected parts of a-z, 0-9 and '-' with dots between, no '*' and no '#'; did you mean 'a-b'?"
        ),
        (
            "publish: { topic: a, payload: 1, key: 5 }",
            #"5:41: error: the number 5 stands for key; expected a text; quote it: "5""#
        ),
        (
            "publish: { topic: a, payload: 1, headers: { ce-id: x } }",
            "5:47: error: the header 'ce-id' is set by Outrider itself; expected another header"
        ),
        (
            "publish: { topic: a, payload: 1, body: 1 }",
            "5:36: error: unknown key 'body' of publish; expected one of topic, key, payload, headers"
        ),
    ])
    func publishIsChecked(yaml: String, messages: String) async {
        let step = "- id: a\n  \(yaml)\n  compensate: none"
        #expect(await Workflows(Workflows.saga(step)).check().text == messages)
    }

    @Test(arguments: [
        ("wait: 10m", "5:9: error: '10m' stands for wait; expected a mapping with for, until"),
        ("wait: {}", "5:9: error: a wait without an end; expected for: 10m, or until: ${ … }"),
        (
            "wait: { for: 10m, until: '${ .input.at }' }",
            "5:28: error: a wait with 'for' and 'until'; expected exactly one of them"
        ),
        ("wait: { for: 0 }", "5:16: error: the number 0 stands for the length of the wait; expected at least 1ms"),
        (
            "wait: { until: tomorrow }",
            "5:18: error: 'tomorrow' stands for until; expected one expression and nothing around it: ${ … }"
        ),
        (
            "wait: { until: 2026-01-31 }",
            "5:18: error: '2026-01-31' stands for until; expected a time such as 2026-01-31T08:00:00Z, or an expression: ${ … }"
        ),
        ("wait: { fro: 10m }", "5:11: error: unknown key 'fro' of wait; did you mean 'for'?"),
    ])
    func waitIsChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga("- id: a\n  " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        ("await: {}", "5:10: error: await without 'event'; expected event: the name of an event"),
        (
            "await: { event: 1a }",
            "5:19: error: '1a' stands for the name of an event; expected letters, digits, '_', '.' and '-', beginning with a letter"
        ),
        (
            "await: { event: a b }",
            "5:19: error: 'a b' stands for the name of an event; expected letters, digits, '_', '.' and '-', beginning with a letter"
        ),
        (
            "await: { event: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }",
            "5:19: error: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…' stands for the name of an event; expected at most 255 characters"
        ),
        ("await: { event: Paid.ok_1-2, timeout: 1h, on_timeout: continue }", ""),
        (
            "await: { event: a, on_timeout: continue }",
            "5:34: error: 'on_timeout' stands without 'timeout'; expected both, or neither"
        ),
        (
            "await: { event: a, timeout: 1h, on_timeout: go }",
            "5:47: error: 'go' stands for on_timeout; expected fail or continue"
        ),
    ])
    func awaitIsChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga("- id: a\n  " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        ("approve: {}", "5:12: error: approve without 'prompt'; expected prompt: what the person reads"),
        (
            "approve: { prompt: 'Pay ${ .input.x }?', timeout: 2 }",
            "5:53: error: the number 2 stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '2s'?"
        ),
        ("approve: { prompt: 5 }", #"5:22: error: the number 5 stands for prompt; expected a text; quote it: "5""#),
    ])
    func approveIsChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga("- id: a\n  " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        ("run: {}", "5:8: error: run without 'saga'; expected saga: the name of a saga"),
        (
            "run: { saga: S }",
            "5:16: error: 'S' stands for the name of a saga; expected a-z, 0-9, '.' and '-', beginning with a letter; did you mean 's'?"
        ),
        (
            "run: { saga: t, key: 5, input: 5 }",
            #"5:24: error: the number 5 stands for key; expected a text; quote it: "5""#
        ),
        (
            "run: { saga: t, version: 5 }",
            "5:19: error: unknown key 'version' of run; expected one of saga, input, key"
        ),
    ])
    func runIsChecked(yaml: String, messages: String) async {
        let workflows = Workflows(Workflows.saga("- id: a\n  " + yaml))
        #expect(await workflows.check(known: .init(sagas: ["t"])).text == messages)
    }

    @Test(arguments: [
        ("set:", "5:7: error: nothing stands for set; expected a mapping of names to values: total: ${ … }"),
        ("set: {}", "5:8: error: nothing stands for set; expected a mapping of names to values: total: ${ … }"),
        ("set: [ 1 ]", "5:8: error: a list stands for set; expected a mapping of names to values: total: ${ … }"),
        ("set: { a: '${ .input.x' }", "5:14: error: '${' is not closed by a '}'"),
    ])
    func setIsChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga("- id: a\n  " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        ("fail: x", "5:9: error: 'x' stands for fail; expected a mapping with type, detail"),
        ("fail: {}", "5:9: error: fail without 'type'; expected type: a name such as out-of-stock"),
        (
            "fail: { type: out of stock }",
            "5:17: error: 'out of stock' stands for type; expected a name without spaces, such as out-of-stock"
        ),
        (
            "fail: { type: x, detail: 5 }",
            #"5:28: error: the number 5 stands for detail; expected a text; quote it: "5""#
        ),
    ])
    func failIsChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga("- id: a\n  " + yaml)).check().text == messages)
    }
}
