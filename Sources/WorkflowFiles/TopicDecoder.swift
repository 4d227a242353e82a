internal import Primitives

enum TopicDecoder {
    private static let keys = [
        "topic", "retention", "dedupe_window", "max_backlog", "overflow", "block_for", "publish_rate",
    ]

    static func topic(_ document: Node.Mapping, _ report: Report) -> TopicDefinition? {
        let fields = Fields(document, of: "a topic", known: keys, report)
        let name = fields["topic"]?.name("the name of a topic", report)
        var topic = TopicDefinition(name: name ?? "", content: Node.mapping(document).content)
        fields.read("retention", into: &topic.retention) { $0.duration("retention", shortest: .zero, $1) }
        fields.read("dedupe_window", into: &topic.dedupeWindow) {
            $0.duration("dedupe_window", longest: .seconds(86_400 * 365), $1)
        }
        fields.read("max_backlog", into: &topic.maxBacklog) { $0.integer("max_backlog", in: 1...1_000_000, $1) }
        fields.read("overflow", into: &topic.overflow) { $0.choice("overflow", $1) }
        fields.read("block_for", into: &topic.blockFor) {
            $0.duration("block_for", longest: .seconds(3600), $1)
        }
        fields.read("publish_rate", into: &topic.publishRate) { $0.rate("publish_rate", $1) }
        checkOverflow(topic, fields)
        return name == nil ? nil : topic
    }

    /// What says how a limit is kept has no effect without the limit, and what would have another one is refused. An option
    /// that was misread counts as given.
    private static func checkOverflow(_ topic: TopicDefinition, _ fields: Fields) {
        let isLimited = fields["max_backlog"] != nil || fields["publish_rate"] != nil
        if let node = fields["overflow"] {
            if !isLimited, !fields.isMisspelt(["max_backlog", "publish_rate"]) {
                fields.report.warning(
                    at: node.position, "'overflow' has no effect in a topic without a limit",
                    suggestion: "write 'max_backlog' or 'publish_rate' beside it, or leave it out")
            } else if topic.overflow == .dropOldest || topic.overflow == .dropNewest, fields["max_backlog"] == nil,
                !fields.isMisspelt(["max_backlog"])
            {
                fields.report.error(
                    at: node.position, "'overflow: \(topic.overflow.rawValue)' stands in a topic without 'max_backlog'",
                    expected: "'max_backlog' beside it, or reject or block",
                    suggestion:
                        "a publisher that is faster than 'publish_rate' is refused or waits; nothing is dropped for it")
            }
        }
        if let node = fields["block_for"], topic.overflow != .block, !fields.isMisspelt(["overflow"]) {
            fields.report.warning(
                at: node.position,
                "'block_for' has no effect beside 'overflow: \(topic.overflow.rawValue)'"
                    + (fields["overflow"] == nil ? ", the default" : ""),
                suggestion: "write 'overflow: block', or leave it out")
        }
    }
}
