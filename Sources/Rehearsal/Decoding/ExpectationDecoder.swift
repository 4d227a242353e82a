import Primitives
import Sagas
import WorkflowFiles

/// Reads what is to come of a scenario. What is left out is not compared; JSON values are compared in part, see
/// `Expectation`.
///
/// ```yaml
/// expect:
///   status: compensated              # required; also stuck, running (at rest), terminated, …
///   calls:                           # all requests, in order
///     - reserve
///     - { step: charge, times: 3 }
///     - { step: reserve/compensate, method: DELETE, url: /reservations/17, attempt: 1, after: 0s, within: 1m }
///     - { step: book, args: [ 17 ] } # of a statement; body: of a request, input: of a sub-saga
///   published:                       # all messages, in order, those of hooks included
///     - order.completed
///     - { topic: order.completed, key: "17", payload: { total: 42.5 }, headers: { source: shop } }
///   output: { shipment: s-1 }
///   failure: card-declined           # or { type: card-declined, step: charge, status: 422, detail: a part of it }
///   stuck_at: charge/compensate      # or { step: charge/compensate, reason: compensation, detail: a part of it }
///   steps:
///     ship: skipped                  # or { status: skipped, compensation: not_required, attempts: 0, output: …, error: … }
///   skipped: 1                       # compensations that an operator skipped
///   refused: [ cancel ]              # acts and signals that changed nothing
///   suspended: false
///   within: 3h                       # ended, stuck or at rest no later than this after the start
/// ```
struct ExpectationDecoder {
    private static let keys = [
        "status", "calls", "published", "output", "failure", "stuck_at", "steps", "skipped", "refused", "suspended",
        "within",
    ]

    private enum Status: String, CaseIterable {
        case completed, compensated, failed, stuck, terminated, running, compensating
    }

    private enum Reason: String, CaseIterable {
        case compensation, forward, pivot, timeout, abandoned
    }

    private enum StepStatus: String, CaseIterable {
        case pending, running, waiting, succeeded, failed, unknown, skipped
    }

    private enum CompensationStatus: String, CaseIterable {
        case notRequired = "not_required"
        case pending, running, compensated, failed, skipped
    }

    private enum Act: String, CaseIterable {
        case signal, cancel, terminate, suspend, resume, retry, skip, resolve
    }

    private let catalogue: StepCatalogue
    private let report: Report

    init(_ catalogue: StepCatalogue, _ report: Report) {
        self.catalogue = catalogue
        self.report = report
    }

    func expectation(_ node: Node) -> Expectation? {
        guard let fields = Fields(node, of: "expect", known: Self.keys, report) else { return nil }
        let status = fields.required("status", expected: "completed, compensated, failed or stuck").flatMap {
            ($0.choice("status", report) as Status?).flatMap { SagaState.Status(rawValue: $0.rawValue) }
        }
        var expectation = Expectation(status: status ?? .completed)
        fields.read("calls", into: &expectation.calls) { node, report in
            node.list("calls", report)?.flatMap(calls)
        }
        fields.read("published", into: &expectation.messages) { node, report in
            node.list("published", report)?.compactMap(message)
        }
        fields.read("output", into: &expectation.output) { node, _ in node.content }
        fields.read("failure", into: &expectation.failure) { node, _ in failure(node, "failure") }
        fields.read("stuck_at", into: &expectation.stuckAt) { node, _ in trouble(node) }
        fields.read("steps", into: &expectation.steps) { node, _ in steps(node) }
        fields.read("skipped", into: &expectation.skipped) { $0.integer("skipped", in: 0...1_000_000, $1) }
        fields.read("refused", into: &expectation.refused) { node, report in
            node.list("refused", report)?.compactMap { ($0.choice("an act", report) as Act?)?.rawValue }
        }
        fields.read("suspended", into: &expectation.isSuspended) { $0.bool("suspended", $1) }
        fields.read("within", into: &expectation.within) { $0.duration("within", shortest: .zero, $1) }
        if let node = fields["stuck_at"], let status, status != .stuck {
            report.error(
                at: node.position, "stuck_at stands beside 'status: \(status.rawValue)'", expected: "status: stuck")
        }
        return status == nil ? nil : expectation
    }

    // MARK: - Calls

    private func calls(_ node: Node) -> [ExpectedCall] {
        if case .scalar = node { return operation(node).map { [ExpectedCall($0.0)] } ?? [] }
        let known = ["step", "times", "attempt", "method", "url", "endpoint", "headers", "body", "args", "input"]
        guard let fields = Fields(node, of: "a call", known: known + ["after", "within"], report) else { return [] }
        let named = fields.required("step", expected: "the id of a step").flatMap(operation)
        guard let (operation, kind) = named else { return [] }
        var call = ExpectedCall(operation)
        var times = 1
        fields.read("times", into: &times) { $0.integer("times", in: 1...10_000, $1) }
        fields.read("attempt", into: &call.attempt) { $0.integer("attempt", in: 1...1_000_000, $1) }
        fields.read("method", into: &call.method) { $0.text("method", $1) }
        fields.read("url", into: &call.url) { $0.text("url", $1) }
        fields.read("endpoint", into: &call.endpoint) { $0.text("endpoint", $1) }
        fields.read("headers", into: &call.headers, texts)
        fields.read(kind.inputKey, into: &call.input) { node, _ in node.content }
        fields.read("after", into: &call.after) { $0.duration("after", shortest: .zero, $1) }
        fields.read("within", into: &call.within) { $0.duration("within", shortest: .zero, $1) }
        checkMeaning(fields, operation, kind)
        return Array(repeating: call, count: times)
    }

    private func operation(_ node: Node) -> (Operation, StepCatalogue.HandlerKind)? {
        node.text("the id of a step", report).flatMap { catalogue.called($0, at: node.position, report) }
    }

    private func checkMeaning(_ fields: Fields, _ operation: Operation, _ kind: StepCatalogue.HandlerKind) {
        let ofRequests = ["method", "url", "endpoint", "headers"]
        for entry in fields.mapping.entries {
            let isRequest = if case .http = kind { true } else { false }
            guard
                !isRequest && ofRequests.contains(entry.name)
                    || ["body", "args", "input"].contains(entry.name) && entry.name != kind.inputKey
            else { continue }
            report.error(
                at: entry.namePosition, "'\(entry.name)' has no meaning for \(operation), which \(kind.phrase)",
                expected: kind.inputKey)
        }
    }

    private func texts(_ node: Node, _ report: Report) -> [String: String]? {
        guard case .mapping(let mapping) = node else {
            report.error(
                at: node.position, "\(node.called) stands for headers", expected: "a mapping of names to texts")
            return nil
        }
        var texts: [String: String] = [:]
        for entry in mapping.entries { texts[entry.name] = entry.value.text("the header \(entry.name)", report) }
        return texts
    }

    // MARK: - The rest

    private func message(_ node: Node) -> ExpectedMessage? {
        if case .scalar = node { return node.text("a topic", report).map { ExpectedMessage(topic: $0) } }
        guard let fields = Fields(node, of: "a message", known: ["topic", "key", "payload", "headers"], report),
            let topic = fields.required("topic", expected: "order.completed")?.text("a topic", report)
        else { return nil }
        var message = ExpectedMessage(topic: topic)
        fields.read("key", into: &message.key) { $0.text("key", $1) }
        fields.read("payload", into: &message.payload) { node, _ in node.content }
        fields.read("headers", into: &message.headers, texts)
        return message
    }

    /// A type, or a mapping.
    private func failure(_ node: Node, _ what: String) -> ExpectedFailure? {
        var failure = ExpectedFailure()
        if case .scalar = node {
            failure.type = node.text(what, report)
            return failure.type == nil ? nil : failure
        }
        guard let fields = Fields(node, of: what, known: ["type", "detail", "status", "step"], report) else {
            return nil
        }
        fields.read("type", into: &failure.type) { $0.text("type", $1) }
        fields.read("detail", into: &failure.detail) { $0.text("detail", $1) }
        fields.read("status", into: &failure.status) { $0.integer("status", in: 100...599, $1) }
        fields.read("step", into: &failure.step) { node, report in
            node.text("the id of a step", report).flatMap { catalogue.step($0, at: node.position, report) }
        }
        return failure
    }

    /// A step, or a mapping.
    private func trouble(_ node: Node) -> ExpectedTrouble? {
        var trouble = ExpectedTrouble()
        if case .scalar = node {
            trouble.operation = place(node)
            return trouble.operation == nil ? nil : trouble
        }
        guard let fields = Fields(node, of: "stuck_at", known: ["step", "reason", "detail"], report) else { return nil }
        fields.read("step", into: &trouble.operation) { node, _ in place(node) }
        fields.read("reason", into: &trouble.reason) { node, report in
            (node.choice("reason", report) as Reason?)?.rawValue
        }
        fields.read("detail", into: &trouble.detail) { $0.text("detail", $1) }
        return trouble
    }

    /// Any step, or its compensation.
    private func place(_ node: Node) -> Operation? {
        guard let text = node.text("the id of a step", report) else { return nil }
        let operation = Operation(text)
        return catalogue.step(operation.step.text, at: node.position, report).map { Operation($0, operation.op) }
    }

    private func steps(_ node: Node) -> [ExpectedStep]? {
        guard case .mapping(let mapping) = node else {
            report.error(
                at: node.position, "\(node.called) stands for steps", expected: "a mapping of steps to their status")
            return nil
        }
        return mapping.entries.compactMap { entry in
            catalogue.step(entry.name, at: entry.namePosition, report).flatMap { step(entry.value, $0) }
        }
    }

    /// A status, or a mapping.
    private func step(_ node: Node, _ path: StepPath) -> ExpectedStep? {
        var step = ExpectedStep(path)
        let status = { (node: Node, report: Report) in
            (node.choice("the status of a step", report) as StepStatus?).flatMap {
                StepState.Status(rawValue: $0.rawValue)
            }
        }
        if case .scalar = node {
            step.status = status(node, report)
            return step.status == nil ? nil : step
        }
        let known = ["status", "compensation", "attempts", "output", "error"]
        guard let fields = Fields(node, of: "a step", known: known, report) else { return nil }
        fields.read("status", into: &step.status, status)
        fields.read("compensation", into: &step.compensation) { node, report in
            (node.choice("compensation", report) as CompensationStatus?).flatMap {
                StepState.CompensationStatus(rawValue: $0.rawValue)
            }
        }
        fields.read("attempts", into: &step.attempts) { $0.integer("attempts", in: 0...1_000_000, $1) }
        fields.read("output", into: &step.output) { node, _ in node.content }
        fields.read("error", into: &step.error) { node, _ in failure(node, "error") }
        return step
    }
}

extension StepCatalogue.HandlerKind {
    /// What a call of this kind sends, as scenarios call it.
    fileprivate var inputKey: String {
        switch self {
        case .http: "body"
        case .sql: "args"
        case .subSaga: "input"
        }
    }

    fileprivate var phrase: String {
        switch self {
        case .http: "is a request"
        case .sql: "is a statement"
        case .subSaga: "is a sub-saga"
        }
    }
}
