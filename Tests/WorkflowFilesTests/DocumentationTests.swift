import EmbeddedPostgres
import Sagas
import TestSupport
import Testing

/// The examples of the documentation do what it says.
struct DocumentationTests {
    private struct Block {
        let language: Substring
        let text: String
    }

    private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    /// The fenced blocks of `Workflows/README.md`, which lies three folders above this file.
    private static let blocks: [Block] = {
        let lines = (Files.text("\(root)/Workflows/README.md") ?? "").split(
            separator: "\n", omittingEmptySubsequences: false)
        var blocks: [Block] = []
        var language: Substring?
        var text = ""
        for line in lines {
            guard line.hasPrefix("```") else {
                text += line + "\n"
                continue
            }
            if let language { blocks.append(Block(language: language, text: text)) }
            language = language == nil ? line.dropFirst(3) : nil
            text = ""
        }
        return blocks
    }()

    /// Each example, with the messages that the block behind it shows.
    private static let examples: [(yaml: String, messages: String)] = blocks.enumerated().compactMap { index, block in
        guard block.language == "yaml", !isScenario(block) else { return nil }
        let next = index + 1 < blocks.count ? blocks[index + 1] : nil
        return (block.text, next?.language == "text" ? next?.text ?? "" : "")
    }

    private static func isScenario(_ block: Block) -> Bool { block.text.contains("\nscenarios:") }

    @Test func everyBlockIsAnExampleOrItsMessages() {
        #expect(Self.examples.count > 15)
        #expect(Self.blocks.allSatisfy { ["yaml", "text", "mermaid", "json", "sql"].contains($0.language) })
    }

    @Test func scenariosPlayTheExamplesAsTheySay() async throws {
        let scenarios = Self.blocks.filter { $0.language == "yaml" && Self.isScenario($0) }
        #expect(!scenarios.isEmpty)
        for scenario in scenarios {
            let name = try #require(scenario.text.split(separator: "\n").first)
            let saga = try #require(Self.examples.first { $0.yaml.hasPrefix(name + "\nversion") })
            let folder = TemporaryFolder()
            folder.write(saga.yaml, to: "saga.yaml")
            folder.write(scenario.text, to: "saga.test.yaml")
            let (exit, output) = try await Program.run([RunningOutrider.executable, "test", folder.path])
            #expect(exit == .code(0), "\(output)")
        }
    }

    @Test func workflowsOfTheProjectPassTheirScenarios() async throws {
        let (exit, output) = try await Program.run([RunningOutrider.executable, "test", "\(Self.root)/Workflows"])
        #expect(exit == .code(0), "\(output)")
        let check = try await Program.run([RunningOutrider.executable, "check", "\(Self.root)/Workflows"])
        #expect(check.exit == .code(0) && check.output.hasSuffix("no problems\n"), "\(check.output)")
    }

    @Test func picturesNameEveryStateAndNoOther() throws {
        let pictures = Self.blocks.filter { $0.language == "mermaid" }.map { Self.states(in: $0.text) }
        #expect(pictures.count == 2)
        #expect(pictures.first == Set(SagaState.Status.allCases.map(\.rawValue)))
        #expect(pictures.last == Set(StepState.Status.allCases.map(\.rawValue)))
    }

    private static func states(in picture: String) -> Set<String> {
        var states: Set<String> = []
        for line in picture.split(separator: "\n") where line.contains("-->") {
            for end in line.prefix(while: { $0 != ":" }).split(separator: " ") where end != "-->" && end != "[*]" {
                states.insert(String(end))
            }
        }
        return states
    }

    @Test(arguments: examples)
    func exampleIsAcceptedOrGetsTheMessagesShown(yaml: String, messages: String) async {
        let outcome = await Workflows(yaml, file: "orders.yaml").check()
        #expect(outcome.messages.map { $0 + "\n" }.joined() == messages)
    }
}
