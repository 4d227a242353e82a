internal import Delivery
internal import Primitives

enum RetryDecoder {
    private static let keys = [
        "attempts", "initial", "multiplier", "max", "jitter", "max_elapsed", "retry_after_max", "ongoing_interval",
        "fail_on", "retry_on",
    ]

    static func policy(_ node: Node, _ report: Report) -> RetryPolicy? {
        guard let fields = Fields(node, of: "retry", known: keys, report) else { return nil }
        var policy = RetryPolicy()
        fields.read("attempts", into: &policy.attempts, attempts)
        fields.read("initial", into: &policy.initial) { $0.duration("initial", shortest: .zero, $1) }
        fields.read("multiplier", into: &policy.multiplier, multiplier)
        fields.read("max", into: &policy.max) { $0.duration("max", shortest: .zero, $1) }
        fields.read("jitter", into: &policy.jitter) { $0.choice("jitter", $1) }
        fields.read("max_elapsed", into: &policy.maxElapsed) { $0.duration("max_elapsed", $1) }
        fields.read("retry_after_max", into: &policy.retryAfterMax) {
            $0.duration("retry_after_max", shortest: .zero, $1)
        }
        fields.read("ongoing_interval", into: &policy.ongoingInterval) { $0.duration("ongoing_interval", $1) }
        fields.read("fail_on", into: &policy.failOn) { matches($0, "fail_on", $1) }
        fields.read("retry_on", into: &policy.retryOn) { matches($0, "retry_on", $1) }
        checkTogether(policy, fields)
        return policy
    }

    private static func attempts(_ node: Node, _ report: Report) -> RetryPolicy.Attempts? {
        if case .scalar(let scalar) = node {
            if scalar.text == "forever" { return .forever }
            if let count = scalar.value.int, (1...1_000_000).contains(count) { return .limited(count) }
        }
        var isZero = false
        if case .scalar(let scalar) = node { isZero = scalar.value == 0 }
        report.error(
            at: node.position, "\(node.called) stands for attempts",
            expected: "a whole number from 1 to 1000000, or forever",
            suggestion: isZero ? "attempts counts tries in total: 1 means no retry" : nil)
        return nil
    }

    private static func multiplier(_ node: Node, _ report: Report) -> Double? {
        if case .scalar(let scalar) = node, let value = scalar.value.double, (1...1000).contains(value) { return value }
        report.error(at: node.position, "\(node.called) stands for multiplier", expected: "a number from 1 to 1000")
        return nil
    }

    static func matches(_ node: Node, _ key: String, _ report: Report) -> [FailureMatch]? {
        node.list(key, report)?.compactMap { match($0, key, report) }
    }

    /// A status of the kinds that can fail, or a problem type.
    private static func match(_ node: Node, _ key: String, _ report: Report) -> FailureMatch? {
        if case .scalar(let scalar) = node {
            if scalar.value == 425 {
                report.error(
                    at: node.position, "425 stands in \(key); it says that the handler is still at work",
                    expected: "another status")
                return nil
            }
            if let status = scalar.value.int, (300...599).contains(status) { return .status(status) }
            if let type = scalar.value.string, !type.isEmpty, type.utf8.allSatisfy({ $0 > 0x20 }) {
                return .problemType(type)
            }
        }
        report.error(
            at: node.position, "\(node.called) stands in \(key)",
            expected: "a status from 300 to 599, or a problem type such as card-declined")
        return nil
    }

    private static func checkTogether(_ policy: RetryPolicy, _ fields: Fields) {
        if policy.initial > policy.max, let node = fields["initial"] ?? fields["max"] {
            fields.report.error(
                at: node.position, "initial (\(policy.initial.text)) is longer than max (\(policy.max.text))",
                expected: "max to be the longest delay")
        }
        if let node = fields["retry_on"] { checkMatches(policy, at: node.position, fields.report) }
    }

    static func checkMatches(_ policy: RetryPolicy, at position: Position, _ report: Report) {
        for match in policy.failOn where policy.retryOn.contains(match) {
            report.error(at: position, "fail_on and retry_on both name \(match.text)", expected: "it in one of them")
        }
    }
}

extension FailureMatch {
    fileprivate var text: String {
        switch self {
        case .status(let status): String(status)
        case .problemType(let type): "'\(type)'"
        }
    }
}
