import EmbeddedPostgres
import Primitives
import TestSupport
import Testing

/// `outrider test`, without a database.
struct TestCommandTests {
    private let folder = TemporaryFolder()

    private static let saga = """
        saga: order
        version: 1
        output: ${ .steps.reserve.output | length }
        steps:
          - id: reserve
            call: { http: "POST ${ $env.STOCK }/reservations", body: "${ .input }" }
            compensate: none
        """
    private static let good = """
        saga: order
        env: { STOCK: http://stock.example }
        handlers: { reserve: { body: [ 1, 2 ] } }
        scenarios:
          - name: an order goes through
            expect: { status: completed, output: 2, calls: [ { step: reserve, url: http://stock.example/reservations } ] }
        """
    private static let bad = """
        saga: order
        env: { STOCK: http://stock.example }
        scenarios: [ { name: nothing works, handlers: { reserve: 400 }, expect: { status: completed } } ]
        """

    private func run(_ arguments: String...) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
        let result = try await RunningOutrider.run(["test"] + arguments, directory: folder.path)
        return (result.exit, result.output.replacing(/\(\d+ ms\)/, with: "(7 ms)"), result.errors)
    }

    @Test func scenariosThatPassExitZero() async throws {
        folder.write(Self.saga, to: "Workflows/order.yaml")
        folder.write(Self.good, to: "Workflows/order.test.yaml")
        folder.write(Self.good, to: "Workflows/more/again.test.yml")
        let result = try await run()
        #expect(result.errors == "")
        #expect(
            result.output == """
                Workflows/more/again.test.yml
                  passed  an order goes through

                Workflows/order.test.yaml
                  passed  an order goes through

                2 scenarios: 2 passed (7 ms)

                """)
        #expect(result.exit == .code(0))
    }

    @Test func aFailureExitsOne() async throws {
        folder.write(Self.saga, to: "Workflows/order.yaml")
        folder.write(Self.good, to: "Workflows/good.test.yaml")
        folder.write(Self.bad, to: "Workflows/bad.test.yaml")
        let all = try await run("Workflows")
        #expect(all.exit == .code(1))
        #expect(all.output.contains("status: expected completed, found failed: refused at reserve: HTTP 400"))
        #expect(all.output.hasSuffix("2 scenarios: 1 passed, 1 failed (7 ms)\n"))
        // One file alone, with the sagas of its folder.
        #expect(try await run("Workflows/good.test.yaml").exit == .code(0))
        #expect(try await run("Workflows/bad.test.yaml").exit == .code(1))
    }

    @Test func sagasAreThoseOfTheWorkflowFolder() async throws {
        folder.write(Self.saga, to: "Workflows/order.yaml")
        folder.write(Self.good, to: "Workflows/tests/order.test.yaml")
        folder.write(Self.good, to: "elsewhere/order.test.yaml")
        #expect(try await run("Workflows/tests").exit == .code(0))
        #expect(try await run("Workflows/tests/order.test.yaml").exit == .code(0))
        let away = try await run("elsewhere")
        #expect(away.exit == .code(1))
        #expect(away.output.hasPrefix("elsewhere/order.test.yaml:1:7: error: the saga 'order' is declared nowhere"))
        #expect(try await run("elsewhere", "--workflows", "Workflows").exit == .code(0))
    }

    @Test func errorsInFilesExitOne() async throws {
        folder.write(Self.saga, to: "Workflows/order.yaml")
        folder.write("saga: order\nscenario: []", to: "Workflows/wrong.test.yaml")
        folder.write(Self.good, to: "Workflows/good.test.yaml")
        let scenarios = try await run()
        #expect(scenarios.exit == .code(1))
        #expect(
            scenarios.output == """
                Workflows/good.test.yaml
                  passed  an order goes through

                Workflows/wrong.test.yaml:2:1: error: unknown key 'scenario' of a document of scenarios; did you mean 'scenarios'?

                1 scenario: 1 passed, 1 error in the files (7 ms)

                """)
        folder.write("saga: order", to: "Workflows/wrong.yaml")
        let workflows = try await run()
        #expect(workflows.exit == .code(1))
        #expect(workflows.output.contains("Workflows/wrong.yaml:1:1: error: "))
        #expect(!workflows.output.contains("passed"))
    }

    @Test func aReportGoesIntoAFile() async throws {
        folder.write(Self.saga, to: "order.yaml")
        folder.write(Self.good, to: "order.test.yaml")
        let result = try await run(".", "--format", "junit", "--output", "report.xml")
        #expect(result.exit == .code(0))
        #expect(result.output.hasSuffix("1 scenario: 1 passed (7 ms)\n"))
        let report = try #require(Files.text("\(folder.path)/report.xml"))
        #expect(
            report.contains("<testcase name=\"an order goes through\" classname=\"order\" file=\"./order.test.yaml\""))
        let json = try await run(".", "--format", "json")
        #expect(try JSON(parsing: Array(json.output.utf8))["passed"] == 1)
        let unwritable = try await run(".", "--output", "missing/report.xml")
        #expect(unwritable.exit == .code(1))
        #expect(unwritable.errors.contains("cannot be written to missing/report.xml: No such file or directory"))
    }

    @Test func nothingToTestIsNoSuccess() async throws {
        let nothing = try await run()
        #expect(nothing.exit == .code(2))
        #expect(nothing.errors.hasPrefix("outrider test: nothing to test: name a folder"))
        folder.write(Self.saga, to: "Workflows/order.yaml")
        let none = try await run()
        #expect(none.exit == .code(1))
        #expect(none.errors == "outrider test: no scenarios were found in Workflows; expected files *.test.yaml\n")
        let file = try await run("Workflows/order.yaml")
        #expect(file.exit == .code(2))
        #expect(file.errors.hasPrefix("outrider test: 'Workflows/order.yaml' is no file of scenarios"))
        let missing = try await run("missing")
        #expect(missing.exit == .code(1))
        #expect(missing.output.hasPrefix("missing:1:1: error: cannot be read: No such file or directory\n"))
        #expect(try await run("--format", "xml").exit == .code(2))
    }
}
