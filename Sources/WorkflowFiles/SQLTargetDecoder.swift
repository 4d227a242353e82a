internal import Expressions
internal import Primitives
internal import Sagas

/// Reads `deliver: { sql: …, args: [ … ] }`, and what it goes together with.
enum SQLTargetDecoder {
    /// What arguments see beside `$env`.
    private static let roots = ["payload", "topic", "key", "headers", "id", "attempt"]
    /// Statements at once: each has a connection of its own.
    static let defaultConcurrency = 8
    private static let mostConcurrency = 100

    static func target(_ node: Node, _ fields: Fields) -> DeliveryTarget? {
        let report = fields.report
        let site = Site(part: .forward, uses: Site.Uses(), report: report)
        let call = SQLCallDecoder(site: site).call(node, arguments: fields["args"])
        for use in site.uses.all {
            for member in use.located.expression.inputMembers where !roots.contains(member.name) {
                report.error(
                    at: use.located.position(ofByte: member.offset), "an argument sees no '.\(member.name)'",
                    expected: "one of .payload, .topic, .key, .headers, .id, .attempt",
                    suggestion: closest(to: member.name, among: roots).map { "did you mean '.\($0)'?" }
                        ?? "write .payload.\(member.name)")
            }
        }
        return call.map { .sql($0) }
    }

    private static func refuse(_ concurrency: String, _ fields: Fields) {
        guard let node = fields["concurrency"] else { return }
        fields.report.error(
            at: node.position, "\(concurrency) beside 'sql'",
            expected: "at most \(mostConcurrency): each statement has a connection of its own")
    }

    /// What has no meaning beside a statement, and what is another one's default.
    static func check(_ subscription: inout SubscriptionDefinition, _ fields: Fields) {
        guard case .sql = subscription.target else { return }
        switch subscription.concurrency {
        case _ where fields["concurrency"] == nil: subscription.concurrency = .atMost(defaultConcurrency)
        case .atMost(let count) where count <= mostConcurrency: break
        case .atMost(let count): refuse("concurrency is \(count)", fields)
        case .auto: refuse("'concurrency: auto' stands", fields)
        }
        if subscription.guarantee == .atMostOnce, let node = fields["delivery"] {
            fields.report.error(
                at: node.position, "'delivery: at-most-once' stands beside 'sql'",
                expected: "it beside http",
                suggestion:
                    "leave it out: a statement is part of the transaction that removes the message, exactly once")
        }
        if subscription.batch != nil, let node = fields["batch"] {
            fields.report.error(
                at: node.position, "'batch' stands beside 'sql'", expected: "it beside http",
                suggestion:
                    "leave it out: each message has a transaction of its own, so that one that fails undoes no other")
        }
    }
}
