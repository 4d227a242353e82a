import Primitives
import TestSupport
import Testing
import WorkflowFiles

/// Whatever a file has become, it is accepted or told what is wrong with it, and where, soon.
struct MutatedSagaTests {
    /// SplitMix64 (Steele, Lea and Flood, 2014): a seed that is printed makes a failure happen again.
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var word = state
            word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
            word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
            return word ^ (word >> 31)
        }
    }

    private static let lines = PlaceOrder.saga.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    /// What stands behind the colons of the example.
    private static let values = lines.compactMap { line in
        line.firstIndex(of: ":").map { String(line[line.index(after: $0)...]) }
    }

    /// One change, or a few, to lines; now and then to bytes.
    private static func mutated(_ generator: inout Generator) -> [UInt8] {
        var lines = lines
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
            let place = lines.indices.randomElement(using: &generator)!
            switch Int.random(in: 0..<7, using: &generator) {
            case 0: lines.remove(at: place)
            case 1: lines.insert(lines[place], at: place)
            case 2: lines.insert(lines[place], at: lines.indices.randomElement(using: &generator)!)
            case 3:
                lines[place] = String(repeating: " ", count: Int.random(in: 1...4, using: &generator)) + lines[place]
            case 4: lines[place] = String(lines[place].dropFirst(2))
            case 5: lines.swapAt(place, lines.indices.randomElement(using: &generator)!)
            default:
                guard let colon = lines[place].firstIndex(of: ":") else { continue }
                lines[place] = lines[place][...colon] + values.randomElement(using: &generator)!
            }
        }
        var bytes = Array(lines.joined(separator: "\n").utf8)
        if Int.random(in: 0..<4, using: &generator) == 0 {
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[bytes.indices.randomElement(using: &generator)!] = UInt8.random(in: 0...255, using: &generator)
            }
        }
        return bytes
    }

    @Test(arguments: 1...8)
    func everyMutationIsAcceptedOrTold(batch: Int) async throws {
        let folder = TemporaryFolder()
        folder.write(PlaceOrder.schema, to: "schemas/order.json")
        for number in 0..<300 {
            let seed = UInt64(batch * 1000 + number)
            var generator = Generator(state: seed)
            let bytes = Self.mutated(&generator)
            Workflows.write(bytes, to: "\(folder.path)/a.yaml")
            let start = ContinuousClock.now
            let known = WorkflowFolder.KnownNames(endpoints: ["payments"])
            let files = await WorkflowFolder.load(paths: ["\(folder.path)/a.yaml"], known: known)
            #expect(start.duration(to: .now) < .seconds(2), "seed \(seed)")
            #expect(files.hasErrors || !files.definitions.isEmpty, "seed \(seed)")
            #expect(files.diagnostics.allSatisfy { $0.position.line > 0 && $0.position.column > 0 }, "seed \(seed)")
            guard !files.hasErrors else { continue }
            for definition in files.definitions {
                let stored = try JSON(parsing: definition.content.text)
                #expect(try Definition(content: stored) == definition, "seed \(seed)")
            }
        }
    }
}
