import EmbeddedPostgres
import Testing

/// The examples of the documentation do what it says.
struct DocumentationTests {
    private struct Block {
        let language: Substring
        let text: String
    }

    /// The fenced blocks of `Workflows/README.md`, which lies three folders above this file.
    private static let blocks: [Block] = {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let lines = (Files.text("/\(root)/Workflows/README.md") ?? "").split(
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
        guard block.language == "yaml" else { return nil }
        let next = index + 1 < blocks.count ? blocks[index + 1] : nil
        return (block.text, next?.language == "text" ? next?.text ?? "" : "")
    }

    @Test func everyBlockIsAnExampleOrItsMessages() {
        #expect(Self.examples.count > 10)
        #expect(Self.blocks.allSatisfy { $0.language == "yaml" || $0.language == "text" })
    }

    @Test(arguments: examples)
    func exampleIsAcceptedOrGetsTheMessagesShown(yaml: String, messages: String) async {
        let outcome = await Workflows(yaml, file: "orders.yaml").check()
        #expect(outcome.messages.map { $0 + "\n" }.joined() == messages)
    }
}
