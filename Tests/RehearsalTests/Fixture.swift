import Expressions
import Primitives
import Rehearsal
import Sagas
import TestSupport
import Testing
import WorkflowFiles

/// A folder with sagas and scenarios of them, and what those come to.
struct Fixture {
    private let folder = TemporaryFolder()
    private let file: ScenarioFile
    /// Of both files, as the user reads them; no warnings.
    let errors: [String]

    /// - Parameters:
    ///   - scenarios: the text of a scenario file.
    ///   - sagas: the text of a workflow file.
    init(_ scenarios: String, sagas: String = Self.order) async {
        folder.write(sagas, to: "a.yaml")
        let path = folder.write(scenarios, to: "a.test.yaml")
        let files = await WorkflowFolder.load(paths: [folder.path])
        file = ScenarioFile.load(
            path, sagas: files.definitions.compactMap { if case .saga(let saga) = $0 { saga } else { nil } })
        let prefix = "\(folder.path)/"
        errors = (files.diagnostics + file.diagnostics).filter { $0.severity == .error }.map {
            $0.description.replacing(prefix, with: "")
        }
    }

    /// A file with one scenario of a saga: these lines of the document, and those of the scenario.
    init(_ saga: String, _ document: String = "", _ scenario: String, sagas: String = Self.order) async {
        let lines = scenario.split(separator: "\n", omittingEmptySubsequences: false).map { "    \($0)\n" }.joined()
        await self.init("saga: \(saga)\n\(document)\nscenarios:\n  - name: it\n\(lines)", sagas: sagas)
    }

    func play() async -> TestReport {
        await TestReport.play([file]) { environment in
            Evaluator(executable: RunningOutrider.executable, environment: environment)
        }
    }

    /// The text report.
    func text() async -> String { shown(await play().text) }

    /// A report without the folder, and with a duration that is always the same.
    func shown(_ report: String) -> String {
        report.replacing("\(folder.path)/", with: "").replacing(/\(\d+ ms\)/, with: "(7 ms)")
    }

    /// What the report says of the only scenario: `passed`, or why it failed and what happened.
    func outcome() async -> String {
        guard errors.isEmpty else { return errors.joined(separator: "\n") }
        let result = await play().results[0]
        return result.verdict == .passed ? "passed" : result.explanation.joined(separator: "\n")
    }

    /// The same without what happened.
    func differences() async -> String {
        String(await outcome().split(separator: "\n\n", omittingEmptySubsequences: false)[0])
    }

    /// Reserves, charges with up to three tries, tells of it, ships.
    static let order = """
        saga: order
        version: 1
        key: ${ .input.id }
        output: ${ .steps.ship.output }
        steps:
          - id: reserve
            call:
              http: POST http://stock.example/reservations
              body: ${ .input.items }
            compensate:
              call: { http: "DELETE http://stock.example/reservations/${ .output.id }" }
          - id: charge
            timeout: 5s
            retry: { attempts: 3, initial: 1s, jitter: none }
            fail_on: [ card-declined ]
            call:
              http: POST http://pay.example/charges
              headers: { X-Order: "${ .saga.key }" }
              body: { amount: "${ .input.total }" }
            compensate:
              retry: { attempts: 2, initial: 1s, jitter: none }
              call:
                http: POST http://pay.example/refunds
                body: { charge: "${ .output.id }" }
          - id: receipt
            publish: { topic: order.paid, key: "${ .saga.key }", payload: "${ .steps.charge.output }" }
          - id: ship
            retry: { attempts: 1 }
            call: { http: POST http://ship.example/shipments }
        on_compensated: { publish: { topic: order.undone, payload: "${ .failure }" } }
        """
}

func expectPassed(_ outcome: String, _ location: SourceLocation = #_sourceLocation) {
    #expect(outcome == "passed", "\(outcome)", sourceLocation: location)
}
