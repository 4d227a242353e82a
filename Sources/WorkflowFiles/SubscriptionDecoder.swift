internal import Delivery
internal import Expressions
internal import Primitives

enum SubscriptionDecoder {
    private static let keys = [
        "subscription", "topics", "from", "filter", "deliver", "delivery", "ordered", "concurrency",
        "concurrency_per_key", "rate", "batch", "timeout", "retry", "on_exhausted", "audit",
    ]

    static func subscription(_ document: Node.Mapping, _ report: Report) -> SubscriptionDefinition? {
        let fields = Fields(document, of: "a subscription", known: keys, report)
        let name = fields["subscription"]?.name("the name of a subscription", report)
        let topics = fields.required("topics", expected: "[ order.created ]").flatMap { self.topics($0, report) }
        let target = fields.required("deliver", expected: "{ http: POST https://… }").flatMap {
            self.target($0, report)
        }
        // Options are read into a definition with stand-ins, so that their errors show even when the above failed.
        var subscription = SubscriptionDefinition(
            name: name ?? "", topics: topics ?? [], target: target ?? .http(HTTPTarget(method: .post, url: .empty)),
            content: Node.mapping(document).content)
        fields.read("from", into: &subscription.from, start)
        fields.read("filter", into: &subscription.filter, filter)
        fields.read("delivery", into: &subscription.guarantee) { $0.choice("delivery", $1) }
        fields.read("concurrency", into: &subscription.concurrency, concurrency)
        fields.read("rate", into: &subscription.rate) { $0.rate("rate", $1) }
        fields.read("batch", into: &subscription.batch, BatchDecoder.batch)
        fields.read("timeout", into: &subscription.timeout) { $0.duration("timeout", longest: .seconds(86_400), $1) }
        fields.read("retry", into: &subscription.retry, RetryDecoder.policy)
        fields.read("ordered", into: &subscription.isOrdered) { $0.bool("ordered", $1) }
        fields.read("concurrency_per_key", into: &subscription.concurrencyPerKey) {
            $0.integer("concurrency_per_key", in: 1...1000, $1)
        }
        fields.read("on_exhausted", into: &subscription.onExhausted) { $0.choice("on_exhausted", $1) }
        fields.read("audit", into: &subscription.audit) { $0.choice("audit", $1) }
        SQLTargetDecoder.check(&subscription, fields)
        checkKeys(subscription, fields)
        warnOfRetryAtMostOnce(subscription, fields)
        return name != nil && topics != nil && target != nil ? subscription : nil
    }

    private static func topics(_ node: Node, _ report: Report) -> [TopicPattern]? {
        guard let nodes = node.list("topics", report) else { return nil }
        guard !nodes.isEmpty else {
            report.error(at: node.position, "topics is empty", expected: "at least one topic or pattern")
            return nil
        }
        var patterns: [TopicPattern] = []
        var seen: Set<TopicPattern> = []
        for node in nodes {
            if case .scalar(let scalar) = node, scalar.value == .null {
                report.error(
                    at: node.position, "nothing stands for a topic", expected: "a topic or a pattern",
                    suggestion: "'#' begins a comment: quote it")
                continue
            }
            guard let text = node.text("a topic", report) else { continue }
            guard let pattern = TopicPattern(text) else {
                report.error(
                    at: node.position, "\(node.called) stands for a topic",
                    expected:
                        "parts of a-z, 0-9 and '-' with dots between, '*' for one part, '#' at the end for all that follow",
                    suggestion: Name.repaired(text).map { "did you mean '\($0)'?" })
                continue
            }
            guard seen.insert(pattern).inserted else {
                report.error(at: node.position, "the topic '\(text)' stands twice", expected: "each topic once")
                continue
            }
            patterns.append(pattern)
        }
        return patterns.isEmpty ? nil : patterns
    }

    private static func start(_ node: Node, _ report: Report) -> SubscriptionDefinition.Start? {
        if case .scalar(let scalar) = node {
            switch scalar.text {
            case "now": return .now
            case "earliest": return .earliest
            default: if let time = Timestamp(rfc3339: scalar.text) { return .at(time) }
            }
        }
        report.error(
            at: node.position, "\(node.called) stands for from",
            expected: "now, earliest or a time such as 2026-01-31T08:00:00Z",
            suggestion: node.closestWord(among: ["now", "earliest"]))
        return nil
    }

    private static func concurrency(_ node: Node, _ report: Report) -> SubscriptionDefinition.Concurrency? {
        if case .scalar(let scalar) = node {
            if scalar.text == "auto" { return .auto }
            if let count = scalar.value.int, (1...10_000).contains(count) { return .atMost(count) }
        }
        report.error(
            at: node.position, "\(node.called) stands for concurrency",
            expected: "a whole number from 1 to 10000, or auto", suggestion: node.closestWord(among: ["auto"]))
        return nil
    }

    /// What a filter sees beside `$env`.
    private static let roots = ["payload", "topic", "key", "headers"]

    private static func filter(_ node: Node, _ report: Report) -> Expression? {
        guard let filter = node.expression("filter", report) else { return nil }
        for member in filter.expression.inputMembers where !roots.contains(member.name) {
            report.error(
                at: filter.position(ofByte: member.offset), "a filter sees no '.\(member.name)'",
                expected: "one of .payload, .topic, .key, .headers",
                suggestion: closest(to: member.name, among: roots).map { "did you mean '.\($0)'?" }
                    ?? "write .payload.\(member.name)")
        }
        return filter.expression
    }

    private static func target(_ node: Node, _ report: Report) -> DeliveryTarget? {
        let later = HTTPTargetDecoder.brokers + ["body"]
        let known = ["http", "endpoint", "sql", "args"]
        guard let fields = Fields(node, of: "deliver", known: known, later: later, report) else { return nil }
        let endpointNode = fields["endpoint"]
        let endpoint = endpointNode?.endpointName(report)
        switch (fields["http"], fields["sql"]) {
        case (let http?, nil):
            fields.refuse(["args"], beside: "http", expected: "it beside sql")
            guard let text = http.template("http", report),
                let target = HTTPTargetDecoder.target(
                    text, http, hasEndpoint: endpointNode != nil, allowed: .variables, report)
            else { return nil }
            return .http(HTTPTarget(method: target.method, url: target.url, endpoint: endpoint))
        case (nil, let sql?):
            fields.refuse(["endpoint"], beside: "sql", expected: "it beside http")
            return SQLTargetDecoder.target(sql, fields)
        case (_?, let sql?):
            report.error(at: sql.position, "deliver with 'http' and 'sql'", expected: "exactly one of them")
            return nil
        case (nil, nil):
            let isRefused = fields.mapping.entries.contains { later.contains($0.name) && $0.name != "body" }
            if !isRefused { _ = fields.required("http", expected: "POST https://…, or sql: select …") }
            return nil
        }
    }

    // MARK: - What excludes what

    /// A key waits for its message, which at most once is forgotten before it is sent.
    private static func checkKeys(_ subscription: SubscriptionDefinition, _ fields: Fields) {
        if subscription.isOrdered, let node = fields["concurrency_per_key"] {
            fields.report.error(
                at: node.position, "'concurrency_per_key' stands beside 'ordered: true'",
                expected: "one of them: an ordered key is delivered one message at a time")
        }
        if subscription.guarantee == .atMostOnce, subscription.perKey != nil,
            let node = fields["ordered"] ?? fields["concurrency_per_key"]
        {
            let key = subscription.isOrdered ? "ordered: true" : "concurrency_per_key"
            fields.report.error(
                at: node.position, "'\(key)' stands beside 'delivery: at-most-once'",
                expected: "delivery: at-least-once",
                suggestion: "a message that is forgotten before it is sent cannot hold its key's place")
        }
        if subscription.onExhausted == .block, !subscription.isOrdered, let node = fields["on_exhausted"] {
            fields.report.error(
                at: node.position, "'on_exhausted: block' stands in a subscription that is not ordered",
                expected: "dead_letter or drop, or 'ordered: true' beside it")
        }
    }

    /// At most once is one try: what speaks of more has no effect, and is not passed over in silence.
    private static func warnOfRetryAtMostOnce(_ subscription: SubscriptionDefinition, _ fields: Fields) {
        guard subscription.guarantee == .atMostOnce else { return }
        for key in ["retry", "on_exhausted"] {
            guard let node = fields[key] else { continue }
            fields.report.warning(
                at: node.position, "'\(key)' has no effect beside 'delivery: at-most-once', which tries once",
                suggestion: "leave one of the two out")
        }
    }
}

extension StringProtocol {
    /// Without spaces, tabs and line ends around it.
    var trimmed: String {
        let isSpace = { (character: Character) in character.isWhitespace }
        let start = drop(while: isSpace)
        return String(start.reversed().drop(while: isSpace).reversed())
    }
}

extension URLTemplate {
    /// Stands in for a target that could not be read.
    fileprivate static var empty: URLTemplate {
        guard let nothing = try? Template("") else { preconditionFailure("an empty text is a template") }
        return URLTemplate(nothing, isPath: true)
    }
}
