import Sagas
import Testing
import WorkflowFiles

/// Sagas that speak of other documents.
struct SagaReferencesTests {
    private static func saga(_ name: String, version: Int = 1, _ steps: String = "- { id: a, set: { x: 1 } }") -> String
    {
        "saga: \(name)\nversion: \(version)\nsteps:\n\(steps)\n"
    }

    private static let withPivot = "- { id: pay, call: { http: POST https://a.example }, pivot: true }"

    @Test func versionsOfOneSagaStandBesideEachOther() async {
        let outcome = await Workflows(Self.saga("s") + "---\n" + Self.saga("s", version: 2)).check()
        #expect(outcome.messages == [])
        #expect(outcome.sagas.map(\.version) == [1, 2])
    }

    @Test func aVersionIsDeclaredOnce() async {
        #expect(
            await Workflows(["a.yaml": Self.saga("s"), "b.yaml": "\n" + Self.saga("s")]).check().messages == [
                "b.yaml:2:7: error: the saga 's' version 1 is declared twice; first at a.yaml:1:7; expected each version once"
            ])
    }

    @Test func subSagasAreFoundInOtherFilesAndInTheDatabase() async {
        let parent = Self.saga("s", "- { id: a, run: { saga: settle } }")
        #expect(await Workflows(["a.yaml": parent, "b.yaml": Self.saga("settle")]).check().text == "")
        #expect(await Workflows(parent).check(known: .init(sagas: ["settle"])).text == "")
        #expect(
            await Workflows(parent).check(known: .init(sagas: ["setle"])).text
                == "4:25: error: the saga 'settle' is declared nowhere; expected a document 'saga: settle' in these files; did you mean 'setle'?"
        )
    }

    @Test func aSagaThatIsWrongIsNotCalledMissing() async {
        let parent = Self.saga("s", "- { id: a, run: { saga: settle } }")
        #expect(
            await Workflows(["a.yaml": parent, "b.yaml": Self.saga("settle", version: 0)]).check().messages
                == ["b.yaml:2:10: error: the number 0 stands for version; expected a whole number from 1 to 2147483647"]
        )
    }

    @Test func endpointsOfCallsAndOfCompensationsAreDeclared() async {
        let text = Workflows.saga(
            """
            - id: a
              call: { http: POST /a, endpoint: shop }
              compensate: { call: { http: POST /b, endpoint: shpo } }
            """)
        #expect(
            await Workflows(["a.yaml": text, "b.yaml": Workflows.endpoint()]).check().text
                == "6:50: error: the endpoint 'shpo' is declared nowhere; expected a document 'endpoint: shpo' in these files; did you mean 'shop'?"
        )
    }

    /// Behind its own pivot a sub-saga cannot be undone with its parent.
    @Test func aSubSagaWithAPivotIsThePivotOrStandsBehindIt() async {
        func text(_ steps: String, newest: String) async -> String {
            await Workflows([
                "a.yaml": Self.saga("s", steps),
                "b.yaml": Self.saga("settle", version: 2, newest) + "---\n" + Self.saga("settle", Self.withPivot),
            ]).check().text
        }
        let before = "- { id: a, run: { saga: settle } }\n\(Self.withPivot)"
        let behind = "\(Self.withPivot)\n- { id: a, run: { saga: settle } }"
        let itself = "- { id: a, run: { saga: settle }, pivot: true }"
        #expect(
            await text(before, newest: Self.withPivot)
                == "4:25: error: the saga 'settle' has a pivot, 'pay', behind which nothing of it is undone; expected its step to be this saga's own pivot, or to stand behind it; write pivot: true"
        )
        #expect(await text(before, newest: "- { id: b, set: { x: 1 } }") == "")
        #expect(await text(behind, newest: Self.withPivot) == "")
        #expect(await text(itself, newest: Self.withPivot) == "")
    }

    /// What runs a saga with a pivot has one itself, as those see it that run it.
    @Test func aPivotIsSeenThroughTheSagasBetween() async {
        let text = await Workflows([
            "a.yaml": Self.saga("s", "- { id: a, run: { saga: mid } }\n\(Self.withPivot)"),
            "b.yaml": Self.saga("mid", "- { id: b, run: { saga: low } }"),
            "c.yaml": Self.saga("low", "- { id: c, run: { saga: leaf } }") + "---\n"
                + Self.saga("leaf", Self.withPivot),
        ]).check().text
        #expect(
            text
                == "4:25: error: the saga 'mid' runs 'low', which runs 'leaf', which has a pivot, 'pay', behind which nothing of it is undone; expected its step to be this saga's own pivot, or to stand behind it; write pivot: true"
        )
    }

    @Test(arguments: [
        (
            "- { id: a, run: { saga: settle } }\n- { id: b, approve: { prompt: p } }",
            "4:25: warning: the saga 'settle' has a pivot, 'pay': once that has succeeded nothing of it is undone, and a step that fails later has this saga stuck; write pivot: true at the step that runs it"
        ),
        (
            "- { id: s, switch: [ { when: '${ .input }', steps: [ { id: a, run: { saga: settle } } ] } ] }\n- { id: b, approve: { prompt: p } }",
            "4:76: warning: the saga 'settle' has a pivot, 'pay': once that has succeeded nothing of it is undone, and a step that fails later has this saga stuck; write pivot: true at the step that runs it"
        ),
        ("- { id: b, approve: { prompt: p } }\n- { id: a, run: { saga: settle } }\n- { id: c, set: { x: 1 } }", ""),
        ("- { id: a, run: { saga: settle }, pivot: true }\n- { id: b, approve: { prompt: p } }", ""),
        (
            "- { id: f, foreach: { in: '${ .input }', as: i, steps: [ { id: a, run: { saga: settle } } ] } }",
            "4:80: error: the saga 'settle' has a pivot, 'pay', and runs inside foreach: what runs beside it could still fail; expected its step outside of parallel and foreach, as a pivot"
        ),
        (
            "- { id: p, parallel: { branches: [ { id: x, steps: [ { id: a, run: { saga: settle } } ] } ] } }",
            "4:76: error: the saga 'settle' has a pivot, 'pay', and runs inside parallel: what runs beside it could still fail; expected its step outside of parallel and foreach, as a pivot"
        ),
        (
            "\(withPivot)\n- { id: p, parallel: { branches: [ { id: x, steps: [ { id: a, run: { saga: settle } } ] } ] } }",
            ""
        ),
    ])
    func aSagaWithoutAPivotKnowsOfThoseItRuns(steps: String, messages: String) async {
        let files = ["a.yaml": Self.saga("s", steps), "b.yaml": Self.saga("settle", Self.withPivot)]
        #expect(await Workflows(files).check().text == messages)
    }

    /// The parent's timeout is 1h; the step stands in line 5.
    @Test(arguments: [
        (
            "", "",
            "5:35: error: the pivot 'a' can outlast the saga's timeout of 1h: the saga 'settle' has no timeout; expected a pivot that ends before; set the timeout of 'settle'"
        ),
        (
            "timeout: 2h\n", "",
            "5:35: error: the pivot 'a' can take 2h, the timeout of the saga 'settle', longer than the saga's timeout of 1h; expected a pivot that ends before; set the timeout of 'settle'"
        ),
        ("timeout: 1h\n", "", ""), ("", ", deadline: 1h", ""),
    ])
    func aPivotThatRunsASagaEndsBeforeTheTimeout(timeout: String, deadline: String, messages: String) async {
        let parent =
            "saga: s\nversion: 1\ntimeout: 1h\nsteps:\n- { id: a, run: { saga: settle }, pivot: true\(deadline) }"
        let files = ["a.yaml": parent, "b.yaml": "\(timeout)\(Self.saga("settle"))"]
        #expect(await Workflows(files).check().text == messages)
    }

    @Test(arguments: [
        (
            ["s": "- { id: a, run: { saga: s } }"],
            "s.yaml:4:25: error: the saga 's' runs itself, always, and sagas would start for ever; expected a way out: an if, a switch or a foreach around one of these steps"
        ),
        (
            ["c1": "- { id: a, run: { saga: c2 } }", "c2": "- { id: b, run: { saga: c1 }, if: '${ true }' }"],
            "c1.yaml:4:25: error: the saga 'c1' runs 'c2', which runs 'c1' (c2.yaml:4:25), always, and sagas would start for ever; expected a way out: an if, a switch or a foreach around one of these steps"
        ),
        (
            [
                "c1": "- { id: p, parallel: { branches: [ { id: x, steps: [ { id: a, run: { saga: c2 } } ] } ] } }",
                "c2": "- { id: b, run: { saga: c3 } }", "c3": "- { id: c, if: '${ .input.x }', run: { saga: c1 } }",
            ],
            "c1.yaml:4:76: warning: the saga 'c1' runs 'c2', which runs 'c3' (c2.yaml:4:25), which runs 'c1' (c3.yaml:4:46), as long as the conditions hold; see to it that they come to an end: the run that would make a chain of more than 32 sagas fails"
        ),
        (
            ["s": "- { id: f, foreach: { in: '${ .input }', as: i, steps: [ { id: a, run: { saga: s } } ] } }"],
            "s.yaml:4:80: warning: the saga 's' runs itself, as long as the conditions hold; see to it that they come to an end: the run that would make a chain of more than 32 sagas fails"
        ),
        (
            [
                "s": "- { id: f, switch: [ { otherwise: [ { id: a, run: { saga: t } } ] } ] }",
                "t": "- { id: b, set: { x: 1 } }",
            ],
            ""
        ),
    ])
    func sagasThatRunEachOtherInACircleAreTold(sagas: [String: String], messages: String) async {
        let files = Dictionary(uniqueKeysWithValues: sagas.map { ("\($0).yaml", Self.saga($0, $1)) })
        #expect(await Workflows(files).check().messages.joined(separator: "\n") == messages)
    }

    /// The older one is not started any more.
    @Test func aCircleThroughAnOlderVersionIsNone() async {
        let older = Self.saga("s", "- { id: a, run: { saga: s } }")
        #expect(await Workflows(older + "---\n" + Self.saga("s", version: 2)).check().messages == [])
    }
}
