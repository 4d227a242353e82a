import Primitives
import Sagas
import WorkflowFiles

/// Reads what comes from outside, each at a time since the start of the saga:
///
/// ```yaml
/// events:
///   - { at: 1h, signal: parcel-handed-over, payload: { by: Ann } }
///   - { at: 1h, approve: review }                 # answers an `approve` step
///   - { at: 1h, reject: review, reason: too dear }
///   - { at: 2h, cancel: customer called }         # operators: cancel, terminate with a reason
///   - { at: 2h, suspend: true }
///   - { at: 3h, resume: true }
///   - { at: 4h, retry: true }                     # or retry: { input: … }
///   - { at: 5h, skip: charge, reason: refunded by hand, output: null }
///   - { at: 6h, resolve: ship, happened: true, output: { id: s-1 } }
///   - { at: 7h, crash: 10m }                      # the worker dies; 10 min later another one goes on; or crash: true
/// ```
struct OccurrenceDecoder {
    private static let kinds = [
        "signal", "approve", "reject", "cancel", "terminate", "suspend", "resume", "retry", "skip", "resolve", "crash",
    ]
    /// What goes with them.
    private static let options: [String: [String]] = [
        "signal": ["payload"], "reject": ["reason"], "skip": ["reason", "output"], "resolve": ["happened", "output"],
    ]
    private static let known = ["at"] + kinds + ["payload", "reason", "output", "happened"]

    private let catalogue: StepCatalogue
    private let report: Report

    init(_ catalogue: StepCatalogue, _ report: Report) {
        self.catalogue = catalogue
        self.report = report
    }

    func occurrences(_ node: Node) -> [Occurrence] {
        node.list("events", report)?.compactMap(occurrence) ?? []
    }

    private func occurrence(_ node: Node) -> Occurrence? {
        guard let fields = Fields(node, of: "an event", known: Self.known, report) else { return nil }
        let at = fields.required("at", expected: "a duration since the start, such as 1h")?
            .duration("at", shortest: .zero, report)
        let given = fields.mapping.entries.filter { Self.kinds.contains($0.name) }
        guard let first = given.first else {
            if fields.mapping.entries.allSatisfy({ Self.known.contains($0.name) }) {
                report.error(
                    at: node.position, "an event in which nothing happens",
                    expected: "exactly one of \(Self.kinds.joined(separator: ", "))")
            }
            return nil
        }
        guard given.count == 1 else {
            report.error(
                at: given[1].namePosition, "an event with '\(first.name)' and '\(given[1].name)'",
                expected: "exactly one of them", suggestion: "make it two events")
            return nil
        }
        let meant = Self.options[first.name] ?? []
        for entry in fields.mapping.entries
        where entry.name != "at" && entry.name != first.name && Self.known.contains(entry.name)
            && !meant.contains(entry.name)
        {
            report.error(
                at: entry.namePosition, "'\(entry.name)' has no meaning beside '\(first.name)'",
                expected: meant.isEmpty ? nil : meant.joined(separator: ", "))
        }
        let kind = kind(first, fields)
        guard let at, let kind else { return nil }
        return Occurrence(at: at, kind: kind)
    }

    private func kind(_ entry: Node.Entry, _ fields: Fields) -> Occurrence.Kind? {
        let node = entry.value
        switch entry.name {
        case "signal":
            return signal(node).map { .signal(event: $0, payload: fields["payload"]?.content ?? .null) }
        case "approve": return approval(node).map { .signal(event: $0, payload: ["approved": true]) }
        case "reject":
            var payload = JSONObject([("approved", false)])
            fields.read("reason", into: &payload["reason"]) { node, report in
                node.text("reason", report).map(JSON.string)
            }
            return approval(node).map { .signal(event: $0, payload: .object(payload)) }
        case "cancel": return node.text("the reason to cancel", report).map { .act(.cancel(reason: $0)) }
        case "terminate": return node.text("the reason to terminate", report).map { .act(.terminate(reason: $0)) }
        case "suspend": return isTrue(entry) ? .act(.suspend()) : nil
        case "resume": return isTrue(entry) ? .act(.resume()) : nil
        case "retry": return retry(entry)
        case "skip":
            let reason = fields.required("reason", expected: "why, for the history")?.text("reason", report)
            guard let step = step(node), let reason else { return nil }
            return .act(.skip(step: step, reason: reason, output: fields["output"]?.content ?? .null))
        case "resolve":
            let happened = fields.required("happened", expected: "true or false")?.bool("happened", report)
            guard let step = step(node), let happened else { return nil }
            return .act(.resolve(step: step, happened: happened, output: fields["output"]?.content ?? .null))
        default: return crash(entry)
        }
    }

    // MARK: - Values

    private func signal(_ node: Node) -> String? {
        guard let text = node.text("the name of a signal", report) else { return nil }
        let signals = catalogue.signals
        if signals.contains(text) { return text }
        report.error(
            at: node.position, "no step waits for the signal '\(text)'",
            expected: signals.isEmpty
                ? "no signal: the saga waits for none" : "one of \(signals.joined(separator: ", "))",
            suggestion: closest(to: text, among: signals).map { "did you mean '\($0)'?" })
        return nil
    }

    private func approval(_ node: Node) -> String? {
        guard let text = node.text("the id of a step", report) else { return nil }
        let approvals = catalogue.approvals
        if approvals.contains(text) { return text }
        report.error(
            at: node.position, "'\(text)' is no step with approve",
            expected: approvals.isEmpty ? nil : "one of \(approvals.joined(separator: ", "))",
            suggestion: closest(to: text, among: approvals).map { "did you mean '\($0)'?" })
        return nil
    }

    private func step(_ node: Node) -> String? {
        node.text("the id of a step", report).flatMap { catalogue.step($0, at: node.position, report)?.text }
    }

    /// `true`, or nothing.
    private func isTrue(_ entry: Node.Entry) -> Bool {
        if case .scalar(let scalar) = entry.value, scalar.value == true || scalar.value.isNull { return true }
        report.error(at: entry.value.position, "\(entry.value.called) stands for \(entry.name)", expected: "true")
        return false
    }

    private func retry(_ entry: Node.Entry) -> Occurrence.Kind? {
        guard case .mapping = entry.value else { return isTrue(entry) ? .act(.retry(input: nil)) : nil }
        guard let fields = Fields(entry.value, of: "retry", known: ["input"], report) else { return nil }
        return fields.required("input", expected: "the body to send").map { .act(.retry(input: $0.content)) }
    }

    private func crash(_ entry: Node.Entry) -> Occurrence.Kind? {
        if case .scalar(let scalar) = entry.value, scalar.value == true || scalar.value.isNull {
            return .crash(downtime: .zero)
        }
        return entry.value.duration("crash", shortest: .zero, report).map { .crash(downtime: $0) }
    }
}
