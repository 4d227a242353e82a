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
}
