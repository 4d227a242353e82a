import Testing
import WorkflowFiles

/// What stands in a step beside its action. The first step begins at line 4.
struct StepOptionsTests {
    @Test(arguments: [
        ("- a", "4:3: error: 'a' stands for a step; expected a mapping with id, call, publish, …"),
        ("- { set: { a: 1 } }", "4:3: error: a step without 'id'; expected id: a name such as charge"),
        (
            "- { id: a }",
            "4:3: error: a step that does nothing; expected exactly one of call, publish, parallel, foreach, switch, wait, await, approve, run, set, fail"
        ),
        ("- { id: a, cal: {} }", "4:12: error: unknown key 'cal' of a step; did you mean 'call'?"),
        (
            "- { id: a, http: GET https://a }",
            """
            4:3: error: a step that does nothing; expected exactly one of call, publish, parallel, foreach, switch, wait, await, approve, run, set, fail
            4:12: error: unknown key 'http' of a step; expected one of id, call, publish, parallel, foreach, switch, wait, await, approve, run, set, fail, if, retry, timeout, deadline, compensate, pivot, fail_on, output
            """
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, publish: { topic: a, payload: 1 } }",
            "4:51: error: a step with 'call' and 'publish'; expected exactly one of them; make it two steps"
        ),
    ])
    func aStepHasAnIdAndOneAction(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "- { id: Pick-List, set: { a: 1 } }",
            "4:9: error: 'Pick-List' stands for the id of a step; expected a-z, 0-9 and '_', beginning with a letter; did you mean 'pick_list'?"
        ),
        (
            "- { id: 1a, set: { a: 1 } }",
            "4:9: error: '1a' stands for the id of a step; expected a-z, 0-9 and '_', beginning with a letter"
        ),
        (
            "- { id: 7, set: { a: 1 } }",
            #"4:9: error: the number 7 stands for the id of a step; expected a text; quote it: "7""#
        ),
        (
            #"- { id: "", set: { a: 1 } }"#,
            "4:9: error: '' stands for the id of a step; expected a-z, 0-9 and '_', beginning with a letter"
        ),
        (
            "- { id: end, set: { a: 1 } }",
            "4:9: error: 'end' stands for the id of a step; expected another name: 'end' is a keyword of jq"
        ),
        (
            "- { id: foreach, set: { a: 1 } }",
            "4:9: error: 'foreach' stands for the id of a step; expected another name: 'foreach' is a keyword of jq"
        ),
        (
            "- { id: output, set: { a: 1 } }",
            "4:9: error: 'output' stands for the id of a step; expected another name: expressions see something else as '.output'"
        ),
        (
            "- { id: event, set: { a: 1 } }",
            "4:9: error: 'event' stands for the id of a step; expected another name: expressions see something else as '.event'"
        ),
        (
            "- { id: input_sent, set: { a: 1 } }",
            "4:9: error: 'input_sent' stands for the id of a step; expected another name: expressions see something else as '.input_sent'"
        ),
        ("- { id: not, set: { a: 1 } }", ""),
        ("- { id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, set: { a: 1 } }", ""),
        (
            "- { id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, set: { a: 1 } }",
            "4:9: error: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…' stands for the id of a step; expected at most 63 characters"
        ),
    ])
    func idsCanStandInExpressions(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - { id: a, set: { a: 1 } }
            - { id: a, set: { a: 1 } }
            """,
            "5:9: error: the id 'a' stands twice; first at line 4; expected each id once in a saga, of steps and of branches"
        ),
        (
            """
            - id: a
              parallel:
                branches:
                  - { id: b, steps: [ { id: c, set: { x: 1 } } ] }
                  - { id: c, steps: [ { id: b, set: { x: 1 } } ] }
            """,
            """
            8:15: error: the id 'c' stands twice; first at line 7; expected each id once in a saga, of steps and of branches
            8:33: error: the id 'b' stands twice; first at line 7; expected each id once in a saga, of steps and of branches
            """
        ),
    ])
    func idsStandOnce(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        ("- { id: a, set: { a: 1 }, iff: true }", "4:27: error: unknown key 'iff' of a step; did you mean 'if'?"),
        ("- { id: a, set: { a: 1 }, if: true }", "4:31: error: true stands for if; expected an expression: ${ … }"),
        (
            "- { id: a, set: { a: 1 }, if: x }",
            "4:31: error: 'x' stands for if; expected one expression and nothing around it: ${ … }"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, timeout: 5, deadline: 0s }",
            """
            4:60: error: the number 5 stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '5s'?
            4:73: error: '0s' stands for deadline; expected at least 1ms
            """
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, retry: nope }",
            "4:58: error: the retry policy 'nope' is declared nowhere; expected a name under retries, or a mapping with attempts, initial, …"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, retry: 3 }",
            "4:58: error: the number 3 stands for retry; expected a mapping with attempts, initial, multiplier, …"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, fail_on: 404 }",
            "4:60: error: the number 404 stands for fail_on; expected a list; write [ 404 ]"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, retry: { retry_on: [ 404 ] }, fail_on: [ 404 ] }",
            "4:90: error: fail_on and retry_on both name 404; expected it in one of them"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, pivot: yes }",
            "4:58: error: 'yes' stands for pivot; expected true or false; did you mean true? YAML 1.2 reads yes as a text"
        ),
    ])
    func optionsAreChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "- { id: a, publish: { topic: a, payload: 1 }, retry: { attempts: 3 }, compensate: none }",
            "4:47: warning: 'retry' has no effect beside 'publish': only calls are tried again; leave it out"
        ),
        (
            "- { id: a, set: { a: 1 }, timeout: 5s, deadline: 5s, fail_on: [ x ] }",
            """
            4:27: warning: 'timeout' has no effect beside 'set': it is done at once; leave it out
            4:40: warning: 'deadline' has no effect beside 'set': it is done at once; leave it out
            4:54: warning: 'fail_on' has no effect beside 'set': only calls are tried again; leave it out
            """
        ),
        ("- { id: a, await: { event: e }, timeout: 5s, deadline: 1m }", ""),
        ("- { id: a, approve: { prompt: Really? }, timeout: 5s }", ""),
        ("- { id: a, parallel: { branches: [ { id: b, steps: [ { id: c, set: { d: 1 } } ] } ] }, deadline: 1m }", ""),
        ("- { id: a, wait: { for: 5s }, timeout: 3s, pivot: true }", ""),
        (
            """
            - id: a
              parallel: { branches: [ { id: b, steps: [ { id: c, set: { d: 1 } } ] } ] }
              compensate:
                publish: { topic: undone, payload: [ "${ .output.b }", "${ .steps.c.output }" ] }
            """,
            "7:70: error: the step 'c' is inside this one and has not ended; expected a step that has ended before"
        ),
        (
            "- { id: a, run: { saga: t }, compensate: none, deadline: 5s, pivot: true, output: 1 }",
            "4:30: error: 'compensate' has no meaning beside 'run'; expected it beside another action; a sub-saga is undone by the compensations of its own steps"
        ),
        (
            "- { id: a, fail: { type: x }, output: 1, pivot: false, if: '${ .input.x }' }",
            """
            4:31: error: 'output' has no meaning beside 'fail'; expected it beside another action
            4:42: error: 'pivot' has no meaning beside 'fail'; expected it beside call, publish, await, approve, run, set, wait
            """
        ),
        (
            """
            - id: a
              compensate: none
              retry: { attempts: 1 }
              switch: [ { otherwise: [ { id: b, set: { a: 1 } } ] } ]
            """,
            """
            6:3: warning: 'retry' has no effect beside 'switch': only calls are tried again; leave it out
            """
        ),
    ])
    func whatHasNoMeaningIsRefusedAndWhatHasNoEffectIsSaid(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check(known: .init(sagas: ["t"])).text == messages)
    }

    @Test(arguments: [
        (
            "- { id: a, call: { http: GET https://a.example }, compensate: }",
            "4:63: error: nothing stands for compensate; expected a mapping with call or publish, or none"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, compensate: nothing }",
            "4:63: error: 'nothing' stands for compensate; expected a mapping with call or publish, or none"
        ),
        ("- { id: a, call: { http: POST https://a.example }, compensate: none }", ""),
        (
            "- { id: a, call: { http: GET https://a.example }, compensate: {} }",
            "4:63: error: a compensation that does nothing; expected call or publish; if there is nothing to undo, write compensate: none"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, compensate: { cal: 1 } }",
            "4:65: error: unknown key 'cal' of compensate; did you mean 'call'?"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, compensate: { when: succeded, call: { http: POST https://a.example } } }",
            "4:71: error: 'succeded' stands for when; expected succeeded or started; did you mean 'succeeded'?"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, compensate: { call: { http: POST https://a.example }, publish: { topic: a, payload: 1 } } }",
            "4:114: error: a compensation with 'call' and 'publish'; expected exactly one of them"
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, compensate: { publish: { topic: a, payload: 1 }, retry: { attempts: 3 }, timeout: 5s } }",
            """
            4:100: error: 'retry' has no meaning beside 'publish'; expected it beside call
            4:124: error: 'timeout' has no meaning beside 'publish'; expected it beside call
            """
        ),
        (
            "- { id: a, call: { http: GET https://a.example }, compensate: { call: { http: POST https://a.example }, retry: nope, deadline: 5s } }",
            """
            4:112: error: the retry policy 'nope' is declared nowhere; expected a name under retries, or a mapping with attempts, initial, …
            4:118: error: unknown key 'deadline' of compensate; expected one of when, call, publish, retry, timeout
            """
        ),
    ])
    func compensationsAreChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - { id: a, fail: { type: x } }
            - { id: b, call: { http: GET https://a.example } }
            """,
            "5:3: error: the step 'b' stands behind the step 'a', which always fails, and is never reached; expected fail as the last step, or with an if"
        ),
        (
            """
            - { id: a, fail: { type: x }, if: '${ .input.x }' }
            - { id: b, call: { http: GET https://a.example } }
            """,
            ""
        ),
        (
            """
            - id: s
              switch:
                - when: ${ .input.a }
                  steps: [ { id: a, fail: { type: x } }, { id: b, call: { http: GET https://a.example } } ]
            - { id: c, call: { http: GET https://a.example } }
            """,
            "7:46: error: the step 'b' stands behind the step 'a', which always fails, and is never reached; expected fail as the last step, or with an if"
        ),
    ])
    func noStepStandsBehindAFail(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - { id: a, call: { http: POST } }
            - { id: b, set: { x: '${ .steps.a.output }', y: '${ .steps.d.output }' } }
            - { id: c }
            - { id: d, set: [] }
            """,
            """
            4:26: error: the URL is empty; expected http:// or https:// and a host
            5:59: error: the step 'd' comes later; expected a step that has ended before
            6:3: error: a step that does nothing; expected exactly one of call, publish, parallel, foreach, switch, wait, await, approve, run, set, fail
            7:17: error: a list stands for set; expected a mapping of names to values: total: ${ … }
            """
        )
    ])
    func oneWrongStepHidesNoOther(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }
}
