import Primitives
import Rehearsal
import Testing

/// What programs read.
struct ReportTests {
    private let fixture: Fixture

    init() async {
        fixture = await Fixture(
            """
            saga: order
            input: { id: 17, items: [ a ], total: 42.5 }
            handlers: { reserve: { body: { id: r-1 } } }
            scenarios:
              - name: good
                expect: { status: completed }
              - name: "bad & <ugly> \\"quoted\\"\\n\\u0001"
                handlers: { charge: { status: 422, problem: { detail: "]]> & <x>" } } }
                expect: { status: completed, output: 1 }
              - name: broken
                strict: true
                expect: { status: completed }
            """)
    }

    @Test func jsonTellsEverything() async throws {
        #expect(fixture.errors == [])
        let json = await fixture.play().json
        #expect(json["scenarios"] == 3)
        #expect(json["passed"] == 1)
        #expect(json["diagnostics"] == [])
        let results = try #require(json["results"]?.array)
        #expect(results.map { $0["verdict"]?.string } == ["passed", "failed", "broken"])
        #expect(results.map { $0["line"]?.int } == [5, 7, 10])
        #expect(results[0]["history"] == nil)
        #expect(
            results[1]["differences"] == [
                [
                    "subject": "status",
                    "summary": "expected completed, found compensated: refused at charge: HTTP 422: ]]> & <x>",
                    "lines": [],
                ],
                ["subject": "output", "summary": "it is null; expected 1", "lines": []],
            ])
        #expect(results[1]["history"]?[0] == ["at_ms": 0, "event": "begun", "step": nil, "op": nil, "detail": ""])
        #expect(results[1]["history"]?[1]?["step"] == "reserve")
        #expect(results[2]["reason"]?.string?.hasPrefix("charge was called, which has no handler") == true)
        #expect(try JSON(parsing: Array(json.text.utf8)) == json)
    }

    @Test func junitIsWellFormed() async throws {
        let xml = fixture.shown(await fixture.play().junit)
        let suites = try XMLElement(parsing: xml)
        #expect(suites.name == "testsuites")
        #expect(suites.counts == ["3", "1", "1", "0"])
        let suite = try #require(suites.children.first)
        #expect(suite.name == "testsuite")
        #expect(suite.attributes["name"] == "a.test.yaml")
        #expect(suite.counts == ["3", "1", "1", "0"])
        let cases = suite.children
        #expect(cases.map(\.name) == ["testcase", "testcase", "testcase"])
        #expect(cases.map { $0.attributes["classname"] } == ["order", "order", "order"])
        #expect(cases.map { $0.attributes["name"] } == ["good", "bad & <ugly> \"quoted\"\n\u{FFFD}", "broken"])
        #expect(cases.allSatisfy { $0.attributes["time"].flatMap { Double($0) } != nil })
        #expect(cases.map { $0.children.map(\.name) } == [[], ["failure"], ["error"]])
        let failure = cases[1].children[0]
        #expect(failure.attributes["type"] == "status")
        #expect(failure.attributes["message"]?.hasPrefix("status: expected completed, found compensated") == true)
        #expect(failure.text.contains("charge              POST http://pay.example/charges"))
        #expect(failure.text.contains("HTTP 422: ]]> & <x>"))
    }

    @Test func aFileThatIsWrongIsACaseOfItsOwn() async throws {
        let fixture = await Fixture("saga: nothing")
        let report = await fixture.play()
        #expect(!report.hasPassed)
        let suites = try XMLElement(parsing: fixture.shown(report.junit))
        #expect(suites.counts == ["1", "0", "1", "0"])
        let error = suites.children[0].children[0].children[0]
        #expect(error.name == "error")
        #expect(error.text.hasPrefix("a.test.yaml:1:7: error: the saga 'nothing' is declared nowhere"))
        #expect(report.json["diagnostics"]?[0]?["line"] == 1)
    }
}

extension XMLElement {
    fileprivate var counts: [String?] { ["tests", "failures", "errors", "skipped"].map { attributes[$0] } }
}
