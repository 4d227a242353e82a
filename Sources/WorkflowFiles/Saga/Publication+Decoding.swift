internal import Delivery
internal import Expressions
internal import Primitives
internal import Sagas

extension Site {
    /// `publish: { topic, key, payload, headers }`
    func publication(_ node: Node) -> Publication? {
        guard
            let fields = Fields(node, of: "publish", known: ["topic", "key", "payload", "headers"], report)
        else { return nil }
        let topic = fields.required("topic", expected: "order.completed")?.topic("a topic", report)
        let payload = fields.required("payload", expected: "a value").flatMap { value($0, "payload") }
        var key: Template?
        var headers: [HTTPCall.Header] = []
        fields.read("key", into: &key) { node, _ in template(node, "key") }
        fields.read("headers", into: &headers) { node, _ in self.headers(node) }
        guard let topic, let payload else { return nil }
        var publication = Publication(topic: topic, payload: payload)
        publication.key = key
        publication.headers = headers
        return publication
    }

    /// `on_completed: { publish: … }`
    func hook(_ node: Node, _ what: String) -> Publication? {
        guard let fields = Fields(node, of: what, known: ["publish"], report) else { return nil }
        return fields.required("publish", expected: "{ topic: …, payload: … }").flatMap(publication)
    }
}

extension Node {
    /// The name of one topic.
    func topic(_ what: String, _ report: Report) -> String? {
        guard let text = text(what, report) else { return nil }
        if let pattern = TopicPattern(text), pattern.isExact { return text }
        report.error(
            at: position, "\(called) stands for \(what)",
            expected: "parts of a-z, 0-9 and '-' with dots between, no '*' and no '#'",
            suggestion: Name.repaired(text).flatMap { TopicPattern($0) }.map { "did you mean '\($0)'?" })
        return nil
    }
}
