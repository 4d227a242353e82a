internal import Primitives

/// Reads `batch:` of a subscription.
enum BatchDecoder {
    static func batch(_ node: Node, _ report: Report) -> BatchDefinition? {
        guard let fields = Fields(node, of: "batch", known: ["max", "linger"], report) else { return nil }
        var batch = BatchDefinition()
        fields.read("max", into: &batch.max) { $0.integer("max", in: 1...1000, $1) }
        fields.read("linger", into: &batch.linger) {
            $0.duration("linger", shortest: .zero, longest: .seconds(10), $1)
        }
        return batch
    }
}
