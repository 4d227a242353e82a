import EmbeddedPostgres
import Primitives
import TestSupport
import Testing

/// `outrider plan`, without a database. What it prints is tested with the plans.
struct PlanCommandTests {
    private let folder = TemporaryFolder()

    private func plan(_ arguments: String..., environment: [String: String] = [:]) async throws
        -> (exit: ChildProcess.Exit, output: String, errors: String)
    {
        let result = try await RunningOutrider.run(
            ["plan"] + arguments, environment: environment, directory: folder.path)
        return (result.exit, result.output, result.errors)
    }

    private func saga(_ name: String, version: Int = 1) -> String {
        """
        saga: \(name)
        version: \(version)
        steps:
          - id: reserve
            call: { http: POST https://a.example/reservations }
            compensate:
              call: { http: DELETE https://a.example/reservations }
          - id: tell
            publish: { topic: reserved, payload: {} }
            compensate: none

        """
    }

    @Test(arguments: [
        ("text", "orders, version 1\n"), ("mermaid", "flowchart TD\n"), ("dot", "digraph \"orders\" {\n"),
        ("svg", "<svg "),
    ])
    func everyFormatIsPrinted(format: String, beginning: String) async throws {
        folder.write(saga("orders"), to: "orders.yaml")
        let result = try await plan("orders.yaml", "--format", format)
        #expect(result.exit == .code(0))
        #expect(result.output.hasPrefix(beginning))
        #expect(result.output.contains("reserve") && result.output.hasSuffix("\n"))
        #expect(result.errors == "")
    }

    @Test func textShowsAllSagas() async throws {
        folder.write(saga("orders") + "---\n" + saga("returns"), to: "flows/all.yaml")
        let result = try await plan("flows")
        #expect(result.exit == .code(0))
        #expect(result.output.contains("orders, version 1\n"))
        #expect(result.output.contains("\n\nreturns, version 1\n"))
        #expect(
            result.output.split(separator: "\n").count {
                $0 == "reserve         undo reserve (if it may have happened)"
            } == 2)
    }

    @Test(arguments: ["mermaid", "dot", "svg"])
    func aPictureShowsOneSaga(format: String) async throws {
        folder.write(saga("orders") + "---\n" + saga("returns"), to: "all.yaml")
        let refused = try await plan("all.yaml", "--format", format)
        #expect(refused.exit == .code(2))
        #expect(refused.output == "")
        #expect(
            refused.errors.hasPrefix(
                "outrider plan: all.yaml declares orders, returns, and a picture shows one saga: choose it with --saga NAME\n"
            ))
        let chosen = try await plan("all.yaml", "--format", format, "--saga", "returns")
        #expect(chosen.exit == .code(0))
        #expect(chosen.output.contains("returns") && !chosen.output.contains("orders"))
        let unknown = try await plan("all.yaml", "--saga", "return")
        #expect(unknown.exit == .code(2))
        #expect(
            unknown.errors.hasPrefix(
                "outrider plan: all.yaml declares no saga 'return'; expected orders or returns; did you mean returns?\n"
            ))
    }

    @Test func ofANamedSagaTheNewestVersionIsShown() async throws {
        folder.write(saga("orders", version: 2) + "---\n" + saga("orders", version: 1), to: "all.yaml")
        let result = try await plan("all.yaml", "--saga", "orders")
        #expect(result.output.hasPrefix("orders, version 2\n"))
        #expect(!result.output.contains("version 1"))
    }

    @Test func errorsExitOneAndNothingIsPrinted() async throws {
        folder.write(saga("orders").replacing("publish", with: "publsh"), to: "orders.yaml")
        let result = try await plan("orders.yaml")
        #expect(result.exit == .code(1))
        #expect(result.output == "")
        #expect(result.errors.contains("orders.yaml:9:5: error: "))
        #expect(result.errors.contains("did you mean 'publish'?"))
    }

    @Test func filesWithoutASagaExitOne() async throws {
        folder.write("topic: a", to: "a.yaml")
        let result = try await plan("a.yaml")
        #expect(result.exit == .code(1))
        #expect(result.errors == "outrider plan: a.yaml declares no saga\n")
    }

    @Test func neighboursInTheWorkflowFolderAreKnown() async throws {
        let call = "http: POST /reservations, endpoint: shop"
        folder.write(
            saga("orders").replacing("http: POST https://a.example/reservations", with: call), to: "flows/orders.yaml")
        folder.write("endpoint: shop\nurl: https://shop.example", to: "flows/shop.yaml")
        let alone = try await plan("flows/orders.yaml")
        #expect(alone.exit == .code(1))
        #expect(alone.errors.contains("the endpoint 'shop' is declared nowhere"))
        let known = try await plan("flows/orders.yaml", environment: ["OUTRIDER_WORKFLOWS": "flows"])
        #expect(known.exit == .code(0))
        #expect(known.output.contains("POST /reservations at shop"))
    }
}
