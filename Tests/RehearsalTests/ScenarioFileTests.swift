import Testing

/// What is said of scenario files that are wrong: everything at once, with its place.
struct ScenarioFileTests {
    private static let shop = """
        saga: shop
        version: 1
        steps:
          - id: reserve
            call: { http: POST http://stock.example/reservations }
            compensate: { call: { http: DELETE http://stock.example/reservations } }
          - id: review
            approve: { prompt: All right?, timeout: 1d }
          - id: each
            foreach:
              in: ${ .input.items }
              as: item
              steps:
                - id: pick
                  call: { http: POST http://pick.example/, async: true }
                  compensate: none
          - id: book
            call: { sql: "select book($1)", args: [ 1 ] }
            compensate: none
          - id: sub
            run: { saga: other, input: 1 }
        ---
        saga: other
        version: 1
        steps: [ { id: one, set: { a: 1 } } ]
        ---
        saga: other
        version: 2
        steps: [ { id: two, set: { a: 1 } } ]
        """

    /// What is said, without the file's name.
    private func errors(_ text: String) async -> [String] {
        await Fixture(text, sagas: Self.shop).errors.map { $0.replacing("a.test.yaml:", with: "") }
    }

    private func errors(handlers: String) async -> [String] {
        await errors(
            "saga: shop\nscenarios:\n- name: it\n  expect: { status: completed }\n  handlers:\n    \(handlers)"
        ).map { $0.replacing("error: ", with: "") }
    }

    private func errors(event: String) async -> [String] {
        await errors(
            "saga: shop\nscenarios:\n- name: it\n  expect: { status: completed }\n  events:\n    - \(event)"
        ).map { $0.replacing("error: ", with: "") }
    }

    private func errors(expect: String) async -> [String] {
        await errors("saga: shop\nscenarios:\n- name: it\n  expect:\n    status: stuck\n    \(expect)").map {
            $0.replacing("error: ", with: "")
        }
    }

    @Test func allErrorsShowAtOnce() async {
        #expect(
            await errors(
                """
                saga: shop
                env: { STOCK: 5 }
                started_at: tomorrow
                strict: yes
                scenarios:
                  - nam: x
                    expect: { status: done }
                  - name: a
                    expect: { status: completed }
                  - name: a
                    expect: { status: completed }
                  - name: b
                  - c
                ---
                saga: shopp
                scenarios: []
                ---
                saga: other
                version: 7
                scenarios: []
                ---
                saga: other
                handlers: []
                scenarios: []
                ---
                scenarios: 5
                """) == [
                    "2:15: error: the number 5 stands for the variable STOCK; expected a text; quote it: \"5\"",
                    "3:13: error: 'tomorrow' stands for started_at; expected a time such as 2026-01-31T08:00:00Z",
                    "4:9: error: 'yes' stands for strict; expected true or false; did you mean true? YAML 1.2 reads yes as a text",
                    "6:5: error: unknown key 'nam' of a scenario; did you mean 'name'?",
                    "7:23: error: 'done' stands for status; expected completed, compensated, failed, stuck, terminated, running or compensating",
                    "10:11: error: the scenario 'a' stands twice; first at line 8; expected a name of its own for each",
                    "12:5: error: a scenario without 'expect'; expected expect: { status: completed }",
                    "13:5: error: 'c' stands for a scenario; expected a mapping with name, input, handlers, …",
                    "15:7: error: the saga 'shopp' is declared nowhere; expected a document 'saga: shopp' in the workflow files; did you mean 'shop'?",
                    "19:10: error: the saga 'other' has no version 7; expected one of 1, 2",
                    "23:11: error: a list stands for handlers; expected a mapping of steps to what their handlers reply",
                    "24:12: error: scenarios is empty; expected at least one scenario",
                    "26:1: error: a document of scenarios without 'saga'; expected saga: the name of a saga",
                ])
    }

    @Test func anEmptyFileIsAnError() async {
        #expect(
            await errors("# nothing yet") == [
                "1:1: error: the file declares nothing; expected a document with saga and scenarios; remove the file, or give it another ending"
            ])
    }

    @Test func theNewestVersionIsMeantUnlessOneIsNamed() async {
        let scenarios = "scenarios: [ { name: a, expect: { status: completed, steps: { one: succeeded } } } ]"
        #expect(
            await errors("saga: other\n\(scenarios)") == [
                "2:63: error: the saga 'other' has no step 'one'; expected one of two"
            ])
        #expect(await errors("saga: other\nversion: 1\n\(scenarios)") == [])
    }

    @Test(arguments: [
        ("reserv: 200", "6:5: the saga 'shop' has no step 'reserv'; did you mean 'reserve'?"),
        (
            "review: 200",
            "6:5: the step 'review' calls no handler; expected one of reserve, reserve/compensate, pick, book, sub, sub/compensate"
        ),
        (
            "pick/compensate: 200",
            "6:5: the step 'pick' has no compensation that calls a handler; expected one of reserve, reserve/compensate, pick, book, sub, sub/compensate"
        ),
        (
            "\"each[x].pick\": 200",
            "6:5: the saga 'shop' has no step 'each[x].pick'; expected one of reserve, review, each, pick, book, sub"
        ),
        ("reserve: []", "6:14: no replies for reserve; expected at least one"),
        (
            "reserve: timout",
            "6:14: 'timout' stands for the reply to reserve; expected a status, ok, timeout, lost, refused, crash or a mapping with status, body, …; did you mean 'timeout'?"
        ),
        (
            "reserve: 99",
            "6:14: the number 99 stands for the status of the reply to reserve; expected a whole number from 200 to 599"
        ),
        ("reserve: { resutl: failed }", "6:16: unknown key 'resutl' of the reply to reserve; did you mean 'result'?"),
        (
            "reserve: { status: 422, body: {} }",
            "6:35: the body of an answer with status 422 is no output; expected problem: { type: …, detail: … } for what went wrong"
        ),
        ("reserve: { problem: {} }", "6:25: a problem stands beside status 200; expected a status from 300 to 599"),
        (
            "reserve: { fault: lost, status: 5 }",
            "6:29: 'status' has no meaning beside 'fault'; expected one of the two"
        ),
        (
            "reserve: { callback: never }",
            "6:26: a callback of reserve, which is not async; expected async: true in its call"
        ),
        (
            "pick: { callback: { output: 1 } }",
            "6:23: a callback without 'after'; expected after: a duration such as 5m"
        ),
        (
            "pick: { callback: { after: 1m, output: 1, fail: x } }",
            "6:47: a callback with 'output' and 'fail'; expected exactly one of them"
        ),
        (
            "book: lost",
            "6:11: 'lost' stands for the reply to book, which is a statement; expected ok, timeout, crash or a mapping with output or sqlstate"
        ),
        (
            "book: { status: 500 }",
            "6:13: unknown key 'status' of the reply to book; expected one of output, sqlstate, detail, after, fault"
        ),
        (
            "book: { sqlstate: 23505 }",
            "6:23: the number 23505 stands for sqlstate; expected a text; quote it: \"23505\""
        ),
        ("book: { sqlstate: none }", "6:23: 'none' stands for sqlstate; expected five digits or capital letters"),
        (
            "sub: complete",
            "6:10: 'complete' stands for the reply to sub; expected completed, compensated, failed, terminated or never; did you mean 'completed'?"
        ),
        (
            "sub: { status: failed, output: 1 }",
            "6:36: an output of a sub-saga that is failed; expected status: completed"
        ),
        ("sub: { failure: { detail: x } }", "6:21: failure without 'type'; expected type: a name such as out-of-stock"),
    ])
    func handlersAreChecked(handler: String, message: String) async {
        #expect(await errors(handlers: handler) == [message])
    }

    @Test(arguments: [
        (
            "{ at: 5, signal: review }",
            "6:13: the number 5 stands for at; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '5s'?"
        ),
        (
            "{ at: 5s, signal: revieww }",
            "6:25: no step waits for the signal 'revieww'; expected one of review; did you mean 'review'?"
        ),
        (
            "{ at: 5s }",
            "6:7: an event in which nothing happens; expected exactly one of signal, approve, reject, cancel, terminate, suspend, resume, retry, skip, resolve, crash"
        ),
        ("{ at: 5s, cancl: x }", "6:17: unknown key 'cancl' of an event; did you mean 'cancel'?"),
        (
            "{ at: 5s, cancel: x, retry: true }",
            "6:28: an event with 'cancel' and 'retry'; expected exactly one of them; make it two events"
        ),
        ("{ cancel: x }", "6:7: an event without 'at'; expected at: a duration since the start, such as 1h"),
        ("{ at: 1s, cancel: x, reason: y }", "6:28: 'reason' has no meaning beside 'cancel'"),
        ("{ at: 1s, skip: review }", "6:7: an event without 'reason'; expected reason: why, for the history"),
        ("{ at: 1s, resolve: sub, happened: maybe }", "6:41: 'maybe' stands for happened; expected true or false"),
        ("{ at: 1s, resolve: subb, happened: true }", "6:26: the saga 'shop' has no step 'subb'; did you mean 'sub'?"),
        ("{ at: 1s, approve: reserve }", "6:26: 'reserve' is no step with approve; expected one of review"),
        (
            "{ at: 1s, crash: soon }",
            "6:24: 'soon' stands for crash; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S"
        ),
        ("{ at: 1s, suspend: now }", "6:26: 'now' stands for suspend; expected true"),
        ("{ at: 1s, retry: { inputs: 1 } }", "6:26: unknown key 'inputs' of retry; did you mean 'input'?"),
    ])
    func eventsAreChecked(event: String, message: String) async {
        #expect(await errors(event: event) == [message])
    }

    @Test(arguments: [
        (
            "calls: [ review ]",
            "6:14: the step 'review' calls no handler; expected one of reserve, reserve/compensate, pick, book, sub, sub/compensate"
        ),
        (
            "calls: [ { step: book, body: 1 } ]",
            "6:28: 'body' has no meaning for book, which is a statement; expected args"
        ),
        (
            "calls: [ { step: book, url: x } ]",
            "6:28: 'url' has no meaning for book, which is a statement; expected args"
        ),
        (
            "calls: [ { step: sub, args: 1 } ]",
            "6:27: 'args' has no meaning for sub, which is a sub-saga; expected input"
        ),
        (
            "calls: [ { step: sub, times: 0 } ]",
            "6:34: the number 0 stands for times; expected a whole number from 1 to 10000"
        ),
        ("calls: [ { method: GET } ]", "6:14: a call without 'step'; expected step: the id of a step"),
        ("published: [ 5 ]", "6:18: the number 5 stands for a topic; expected a text; quote it: \"5\""),
        ("published: [ { key: x } ]", "6:18: a message without 'topic'; expected topic: order.completed"),
        (
            "failure: { step: nix }",
            "6:22: the saga 'shop' has no step 'nix'; expected one of reserve, review, each, pick, book, sub"
        ),
        (
            "stuck_at: { step: reserve/compensate, reason: bad }",
            "6:51: 'bad' stands for reason; expected compensation, forward, pivot, timeout or abandoned"
        ),
        (
            "steps: { reserve: done }",
            "6:23: 'done' stands for the status of a step; expected pending, running, waiting, succeeded, failed, unknown or skipped"
        ),
        ("steps: { boook: pending }", "6:14: the saga 'shop' has no step 'boook'; did you mean 'book'?"),
        (
            "refused: [ signall ]",
            "6:16: 'signall' stands for an act; expected signal, cancel, terminate, suspend, resume, retry, skip or resolve; did you mean 'signal'?"
        ),
        ("outptu: 5", "6:5: unknown key 'outptu' of expect; did you mean 'output'?"),
    ])
    func expectationsAreChecked(line: String, message: String) async {
        #expect(await errors(expect: line) == [message])
    }

    @Test func stuckAtBelongsToStuck() async {
        #expect(
            await errors("saga: shop\nscenarios: [ { name: a, expect: { status: completed, stuck_at: sub } } ]") == [
                "2:64: error: stuck_at stands beside 'status: completed'; expected status: stuck"
            ])
    }
}
