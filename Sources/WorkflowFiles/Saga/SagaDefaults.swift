internal import Delivery
internal import Primitives
internal import Sagas

/// What a saga says for all its steps: `retries`, the named policies, and `defaults`.
struct SagaDefaults {
    /// A name without a policy is one whose policy is wrong.
    private var policies: [String: RetryPolicy?] = [:]
    private(set) var timeout = Step.defaultTimeout
    private(set) var retry = RetryPolicy()
    private(set) var compensationTimeout = Step.defaultTimeout
    private(set) var compensationRetry = RetryPolicy()

    init(_ saga: Fields) {
        let report = saga.report
        if let node = saga["retries"] { readPolicies(node, report) }
        guard let node = saga["defaults"],
            let fields = Fields(node, of: "defaults", known: ["timeout", "retry", "compensate"], report)
        else { return }
        fields.read("timeout", into: &timeout) { $0.duration("timeout", $1) }
        fields.read("retry", into: &retry, policy)
        guard let node = fields["compensate"],
            let fields = Fields(node, of: "compensate", known: ["retry", "timeout"], report)
        else { return }
        fields.read("timeout", into: &compensationTimeout) { $0.duration("timeout", $1) }
        fields.read("retry", into: &compensationRetry, policy)
    }

    private mutating func readPolicies(_ node: Node, _ report: Report) {
        guard case .mapping(let mapping) = node else {
            report.error(
                at: node.position, "\(node.called) stands for retries",
                expected: "a mapping of names to policies: gentle: { attempts: 5 }")
            return
        }
        for entry in mapping.entries {
            if !Name.isValid(entry.name) {
                report.error(
                    at: entry.namePosition, "'\(entry.name)' stands for the name of a retry policy",
                    expected: "a-z, 0-9, '.' and '-', beginning with a letter",
                    suggestion: Name.repaired(entry.name).map { "did you mean '\($0)'?" })
            }
            policies.updateValue(RetryDecoder.policy(entry.value, report), forKey: entry.name)
        }
    }

    /// The name of a policy under `retries`, or a policy.
    func policy(_ node: Node, _ report: Report) -> RetryPolicy? {
        guard case .scalar(let scalar) = node, let name = scalar.value.string else {
            return RetryDecoder.policy(node, report)
        }
        if let known = policies[name] { return known }
        report.error(
            at: node.position, "the retry policy '\(name)' is declared nowhere",
            expected: "a name under retries, or a mapping with attempts, initial, …",
            suggestion: report.closest(to: name, among: policies.keys).map { "did you mean '\($0)'?" })
        return nil
    }
}
