import Testing
import WorkflowFiles

/// What can be undone, and what cannot. The first step begins at line 4.
struct PivotTests {
    @Test(arguments: [
        (
            """
            - { id: a, call: { http: POST https://a.example }, pivot: true }
            - { id: b, call: { http: POST https://a.example }, pivot: true }
            """,
            "5:52: error: a second pivot on one path, behind 'a' at line 4; expected one point of no return"
        ),
        (
            """
            - id: s
              switch:
                - { when: '${ .input.a }', steps: [ { id: a, call: { http: POST https://a.example }, pivot: true } ] }
                - { otherwise: [ { id: b, call: { http: POST https://a.example }, pivot: true } ] }
            """,
            ""
        ),
        (
            """
            - id: s
              switch:
                - { when: '${ .input.a }', steps: [ { id: a, call: { http: POST https://a.example }, pivot: true } ] }
            - { id: c, call: { http: POST https://a.example }, pivot: true }
            """,
            "7:52: error: a second pivot on one path, behind 'a' at line 6; expected one point of no return"
        ),
    ])
    func aPathHasOnePivot(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - id: s
              parallel: { branches: [ { id: x, steps: [ { id: a, call: { http: POST https://a.example }, pivot: true } ] } ] }
            - { id: c, call: { http: POST https://a.example }, compensate: { call: { http: DELETE https://a.example } } }
            """,
            """
            5:94: error: a pivot inside parallel: what runs beside it could still fail; expected the pivot outside of parallel and foreach
            6:52: error: a compensation behind the pivot 'a' at line 5, after which nothing is undone; expected a step that only goes forward; remove it, or move the step before the pivot
            """
        ),
        (
            """
            - id: s
              foreach:
                in: ${ .input }
                as: i
                steps: [ { id: t, switch: [ { when: '${ .i }', steps: [ { id: a, call: { http: POST https://a.example }, pivot: true } ] } ] } ]
            """,
            "8:110: error: a pivot inside foreach: what runs beside it could still fail; expected the pivot outside of parallel and foreach"
        ),
    ])
    func aPivotStandsAlone(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - { id: a, call: { http: POST https://a.example }, pivot: true }
            - { id: b, call: { http: POST https://a.example }, compensate: { call: { http: DELETE https://a.example } } }
            - { id: c, call: { http: POST https://a.example }, compensate: none }
            - { id: d, fail: { type: x }, if: '${ .input.x }' }
            - { id: e, call: { http: POST https://a.example } }
            """,
            """
            5:52: error: a compensation behind the pivot 'a' at line 4, after which nothing is undone; expected a step that only goes forward; remove it, or move the step before the pivot
            7:12: error: a 'fail' behind the pivot 'a' at line 4, after which nothing is undone; expected steps that only go forward; decide before the pivot
            """
        ),
        (
            """
            - { id: a, call: { http: POST https://a.example }, pivot: true }
            - id: s
              parallel:
                branches:
                  - { id: x, steps: [ { id: b, call: { http: POST https://a.example }, compensate: { call: { http: DELETE https://a.example } } }, { id: c, fail: { type: x } } ] }
            """,
            """
            8:76: error: a compensation behind the pivot 'a' at line 4, after which nothing is undone; expected a step that only goes forward; remove it, or move the step before the pivot
            8:145: error: a 'fail' behind the pivot 'a' at line 4, after which nothing is undone; expected steps that only go forward; decide before the pivot
            """
        ),
    ])
    func behindThePivotNothingIsUndone(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, compensate: { call: { http: DELETE https://a.example } } }",
            "4:65: warning: the compensation of the pivot has no effect: once the pivot has succeeded, nothing is undone; remove it, or write when: started"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, compensate: { when: started, call: { http: POST https://a.example } } }",
            ""
        ),
    ])
    func aPivotIsNotUndone(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            - { id: a, call: { http: POST https://a.example } }
            - { id: b, call: { http: POST https://a.example }, pivot: true }
            - { id: c, call: { http: POST https://a.example } }
            """,
            "4:12: warning: the step 'a' has an effect and no compensation: when the saga aborts, it stays done; add compensate, or move the step behind the pivot; to accept that, write compensate: none"
        ),
        (
            """
            - { id: a, call: { http: POST https://a.example } }
            - { id: b, call: { sql: select 1 } }
            """,
            """
            4:12: warning: the step 'a' has an effect and no compensation: when the saga aborts, it stays done; add compensate, or pivot: true if nothing is to be undone once it is done; to accept that, write compensate: none
            5:12: warning: the step 'b' has an effect and no compensation: when the saga aborts, it stays done; add compensate, or pivot: true if nothing is to be undone once it is done; to accept that, write compensate: none
            """
        ),
        (
            """
            - id: s
              foreach: { in: '${ .input }', as: i, steps: [ { id: a, call: { http: POST https://a.example } } ] }
            """,
            "5:58: warning: the step 'a' has an effect and no compensation: when the saga aborts, it stays done; add compensate; to accept that, write compensate: none"
        ),
        (
            """
            - { id: a, call: { http: POST https://a.example }, compensate: none }
            - { id: b, call: { http: GET https://a.example } }
            - { id: c, publish: { topic: t, payload: 1 }, compensate: none }
            - { id: d, publish: { topic: t, payload: 1 }, compensate: { publish: { topic: u, payload: 1 } } }
            - { id: e, approve: { prompt: p } }
            - { id: f, publish: { topic: t, payload: 1 }, pivot: true }
            - { id: g, publish: { topic: t, payload: 1 } }
            """,
            ""
        ),
        (
            """
            - { id: a, publish: { topic: t, payload: 1 } }
            - { id: b, call: { http: POST https://a.example }, pivot: true }
            """,
            "4:12: warning: the step 'a' has an effect and no compensation: when the saga aborts, it stays done; add compensate, or move the step behind the pivot; to accept that, write compensate: none"
        ),
    ])
    func anEffectWithoutCompensationIsAWarning(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.saga(yaml)).check().text == messages)
    }

    /// The saga's timeout is 1h; the step stands in line 5.
    @Test(arguments: [
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: forever } }",
            "5:52: error: the pivot 'a' can outlast the saga's timeout of 1h: it is tried forever; expected a pivot that ends before; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: forever }, deadline: 1h }",
            ""
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, deadline: 61m }",
            "5:52: error: the pivot 'a' can take 61m with all its tries, longer than the saga's timeout of 1h; expected a pivot that ends before; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: forever, max_elapsed: 59m }, timeout: 61s }",
            "5:52: error: the pivot 'a' can take 3601s with all its tries, longer than the saga's timeout of 1h; expected a pivot that ends before; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: forever, max_elapsed: 59m }, timeout: 60s }",
            ""
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: 1000000, multiplier: 1, initial: 0s }, timeout: 1s }",
            "5:52: error: the pivot 'a' can take 1000000s with all its tries, longer than the saga's timeout of 1h; expected a pivot that ends before; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: 11, multiplier: 2, initial: 1s, max: 1h, retry_after_max: 0s }, timeout: 234s }",
            "5:52: warning: the pivot 'a' can outlast the saga's timeout of 1h when its handler goes on answering 425, still at work; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: 11, multiplier: 2, initial: 1s, max: 1h }, timeout: 235s }",
            "5:52: error: the pivot 'a' can take 3608s with all its tries, longer than the saga's timeout of 1h; expected a pivot that ends before; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: 11, multiplier: 2, initial: 1s, max: 4s, retry_after_max: 0s }, timeout: 323s }",
            "5:52: warning: the pivot 'a' can outlast the saga's timeout of 1h when its handler goes on answering 425, still at work; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: 11, multiplier: 2, initial: 1s, max: 4s, retry_after_max: 0s }, timeout: 324s }",
            "5:52: warning: the pivot 'a' can outlast the saga's timeout of 1h when its handler goes on answering 425, still at work; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: 1000000, multiplier: 1.0000001, initial: 1ms, max: 1d } }",
            "5:52: error: the pivot 'a' can take 30001051s with all its tries, longer than the saga's timeout of 1h; expected a pivot that ends before; set its deadline"
        ),
        (
            "- { id: a, await: { event: e }, pivot: true }",
            "5:33: error: the pivot 'a' can outlast the saga's timeout of 1h: it has no timeout; expected a pivot that ends before; set its timeout"
        ),
        (
            "- { id: a, approve: { prompt: p, timeout: 2h }, pivot: true }",
            "5:49: error: the pivot 'a' can take 2h with all its tries, longer than the saga's timeout of 1h; expected a pivot that ends before; set its timeout"
        ),
        ("- { id: a, await: { event: e, timeout: 1h }, pivot: true }", ""),
        (
            "- { id: a, run: { saga: t }, pivot: true, deadline: 2h }",
            "5:30: error: the pivot 'a' can take 2h with all its tries, longer than the saga's timeout of 1h; expected a pivot that ends before; set its deadline"
        ),
        ("- { id: a, publish: { topic: t, payload: 1 }, pivot: true }", ""),
        ("- { id: a, call: { http: POST https://a.example }, compensate: none, retry: { attempts: forever } }", ""),
    ])
    func aPivotEndsBeforeTheSagasTimeout(yaml: String, messages: String) async {
        let workflows = Workflows("saga: s\nversion: 1\ntimeout: 1h\nsteps:\n" + yaml)
        #expect(await workflows.check(known: .init(sagas: ["t"])).text == messages)
    }

    /// The saga's timeout is 1h; the step stands in line 5.
    @Test(arguments: [
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true }",
            "5:52: warning: the pivot 'a' can outlast the saga's timeout of 1h when its handler goes on answering 425, still at work; set its deadline"
        ),
        ("- { id: a, call: { http: POST https://a.example }, pivot: true, deadline: 1h }", ""),
        ("- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { max_elapsed: 30m } }", ""),
        ("- { id: a, call: { sql: select 1 }, pivot: true }", ""),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { retry_after_max: 20m } }",
            "5:52: warning: the pivot 'a' can take 4950s when every answer asks for a Retry-After of 20m, longer than the saga's timeout of 1h; set its deadline"
        ),
        (
            // 1 s, 2 s, 4 s, 8 s and 16 s are shorter than 20 s; then come 32 s, 64 s and three times 100 s.
            "- { id: a, call: { http: POST https://a.example }, pivot: true, timeout: 285s, retry: { attempts: 11, initial: 1s, max: 100s, retry_after_max: 20s } }",
            "5:52: warning: the pivot 'a' can take 3631s when every answer asks for a Retry-After of 20s, longer than the saga's timeout of 1h; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example }, pivot: true, retry: { attempts: 10, multiplier: 1, initial: 1s, retry_after_max: 7m } }",
            "5:52: warning: the pivot 'a' can take 68m when every answer asks for a Retry-After of 7m, longer than the saga's timeout of 1h; set its deadline"
        ),
        (
            "- { id: a, call: { http: POST https://a.example, async: true }, pivot: true, retry: { max_elapsed: 30m } }",
            "5:65: warning: the pivot 'a' can outlast the saga's timeout of 1h when heartbeats extend the wait for its callback; set its deadline"
        ),
        ("- { id: a, call: { http: POST https://a.example, async: true }, pivot: true, deadline: 1h }", ""),
    ])
    func aPivotThatOnlyUnusualAnswersKeepIsAWarning(yaml: String, messages: String) async {
        #expect(await Workflows("saga: s\nversion: 1\ntimeout: 1h\nsteps:\n" + yaml).check().text == messages)
    }
}
