internal import Primitives

enum TopicDecoder {
    static func topic(_ document: Node.Mapping, _ report: Report) -> TopicDefinition? {
        let fields = Fields(
            document, of: "a topic", known: ["topic", "retention", "dedupe_window"],
            later: ["max_backlog", "overflow", "block_for", "publish_rate"], report)
        let name = fields["topic"]?.name("the name of a topic", report)
        var topic = TopicDefinition(name: name ?? "", content: Node.mapping(document).content)
        fields.read("retention", into: &topic.retention) { $0.duration("retention", shortest: .zero, $1) }
        fields.read("dedupe_window", into: &topic.dedupeWindow) {
            $0.duration("dedupe_window", longest: .seconds(86_400 * 365), $1)
        }
        return name == nil ? nil : topic
    }
}
