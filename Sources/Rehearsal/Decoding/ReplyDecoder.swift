import Delivery
import Primitives
import Sagas
import WorkflowFiles

/// Reads what a handler replies. A single reply is given to every request; of a list each is for one request of the step (in a
/// loop: of the iteration), and neither may the list run out nor, where it stands in the scenario itself, may a reply be left
/// over. `crash` is the death of the worker while it waits for the answer: whatever else is in flight is lost with it.
///
/// ```yaml
/// handlers:
///   reserve: { body: { id: r-1 } }                # an HTTP answer: 200 with this body, which is the output
///   charge: 503                                   # a status, without a body
///   refund: { status: 422, problem: { type: card-declined, detail: No funds }, after: 2s }
///   print: { status: 500, result: failed }        # Outrider-Result, which overrules the status
///   poll: [ 425, { status: 503, retry_after: 10s }, timeout, lost, refused, crash, ok ]
///   push: { fault: lost, after: 2s }              # the same words, with a time: the connection breaks after 2 s
///   ship: { callback: { after: 5m, output: { id: s-1 } } }       # of an async call: 202, then a callback
///   pack: { callback: [ { after: 1m, heartbeat: 10m }, { after: 8m, fail: { type: broken } } ] }
///   book: { output: [ 7 ] }                       # of a statement
///   book_again: [ { sqlstate: "40001" }, ok ]
///   fulfil: { status: completed, output: { id: 1 }, after: 2h }  # of a sub-saga; or failed, compensated, never
///   charge/compensate: 204                        # of the compensation
/// ```
struct ReplyDecoder {
    private static let httpKeys = ["status", "body", "problem", "result", "retry_after", "after", "callback", "fault"]
    private static let sqlKeys = ["output", "sqlstate", "detail", "after", "fault"]
    private static let subSagaKeys = ["status", "output", "failure", "after"]

    private enum Fault: String, CaseIterable {
        case timeout, lost, refused, crash

        var outcome: Reply.Outcome {
            switch self {
            case .timeout: .timeout
            case .lost: .lost
            case .refused: .refused
            case .crash: .crash
            }
        }
    }

    /// What can happen to a statement: what else breaks is the worker's own connection to the database.
    private enum StatementFault: String, CaseIterable {
        case timeout, crash

        var outcome: Reply.Outcome { self == .timeout ? .timeout : .crash }
    }

    private enum Result: String, CaseIterable {
        case succeeded, failed, ongoing, retry
    }

    private enum End: String, CaseIterable {
        case completed, compensated, failed, terminated, never

        var status: SagaState.Status? { SagaState.Status(rawValue: rawValue) }
    }

    private let operation: Operation
    private let kind: StepCatalogue.HandlerKind
    private let report: Report

    init(_ operation: Operation, _ kind: StepCatalogue.HandlerKind, _ report: Report) {
        self.operation = operation
        self.kind = kind
        self.report = report
    }

    func handler(_ node: Node) -> Handler? {
        guard case .sequence(let nodes, let position) = node else { return reply(node).map { Handler($0) } }
        guard !nodes.isEmpty else {
            report.error(at: position, "no replies for \(operation)", expected: "at least one")
            return nil
        }
        let replies = nodes.compactMap(reply)
        return replies.count == nodes.count ? Handler(sequence: replies) : nil
    }

    private func reply(_ node: Node) -> Reply? {
        switch kind {
        case .http(let isAsync): http(node, isAsync: isAsync)
        case .sql: sql(node)
        case .subSaga: subSaga(node)
        }
    }

    private var what: String { "the reply to \(operation)" }

    // MARK: - HTTP

    private func http(_ node: Node, isAsync: Bool) -> Reply? {
        if case .scalar(let scalar) = node {
            if scalar.text == "ok" { return .status(200) }
            if let fault = Fault(rawValue: scalar.text) { return Reply(fault.outcome) }
            if scalar.value.int != nil { return status(node).map { .status($0) } }
            report.error(
                at: node.position, "\(node.called) stands for \(what)",
                expected: "a status, ok, timeout, lost, refused, crash or a mapping with status, body, …",
                suggestion: suggestion(scalar.text, ["ok"] + Fault.allCases.map(\.rawValue)))
            return nil
        }
        guard let fields = Fields(node, of: what, known: Self.httpKeys, report) else { return nil }
        var after = Duration.zero
        fields.read("after", into: &after) { $0.duration("after", shortest: .zero, $1) }
        if let fault = fields["fault"] {
            refuse(["status", "body", "problem", "result", "retry_after"], of: fields, beside: "fault")
            guard let kind: Fault = fault.choice("fault", report) else { return nil }
            var reply = Reply(kind.outcome, after: after)
            readCallbacks(fields, isAsync: isAsync, into: &reply)
            return reply
        }
        var answer = AnswerText(status: isAsync && fields["callback"] != nil ? 202 : 200)
        fields.read("status", into: &answer.status) { node, _ in status(node) }
        fields.read("body", into: &answer.body) { node, _ in node.content }
        fields.read("problem", into: &answer.problem, problem)
        fields.read("result", into: &answer.result) { node, report in
            (node.choice("result", report) as Result?)?.rawValue
        }
        fields.read("retry_after", into: &answer.retryAfter) { $0.duration("retry_after", shortest: .zero, $1) }
        checkMeaning(answer, fields)
        var reply = Reply(.answer(answer), after: after)
        readCallbacks(fields, isAsync: isAsync, into: &reply)
        return reply
    }

    private func status(_ node: Node) -> Int? { node.integer("the status of \(what)", in: 200...599, report) }

    /// What the engine would not look at.
    private func checkMeaning(_ answer: AnswerText, _ fields: Fields) {
        let isSuccess = (200..<300).contains(answer.status)
        if let node = fields["body"], !isSuccess, answer.result != Result.succeeded.rawValue {
            report.error(
                at: node.position, "the body of an answer with status \(answer.status) is no output",
                expected: "problem: { type: …, detail: … } for what went wrong")
        }
        if let node = fields["problem"], answer.status < 300, answer.result == nil {
            report.error(
                at: node.position, "a problem stands beside status \(answer.status)",
                expected: "a status from 300 to 599")
        }
    }

    private func problem(_ node: Node, _ report: Report) -> Problem? {
        guard let fields = Fields(node, of: "problem", known: ["type", "title", "detail"], report) else { return nil }
        var problem = Problem()
        fields.read("type", into: &problem.type) { $0.text("type", $1) }
        fields.read("title", into: &problem.title) { $0.text("title", $1) }
        fields.read("detail", into: &problem.detail) { $0.text("detail", $1) }
        return problem
    }

    // MARK: - Callbacks

    private func readCallbacks(_ fields: Fields, isAsync: Bool, into reply: inout Reply) {
        guard let node = fields["callback"] else { return }
        guard isAsync else {
            return report.error(
                at: node.position, "a callback of \(operation), which is not async", expected: "async: true in its call"
            )
        }
        if case .scalar(let scalar) = node, scalar.text == "never" { return }
        let nodes = if case .sequence(let nodes, _) = node { nodes } else { [node] }
        reply.callbacks = nodes.compactMap(callback)
    }

    private func callback(_ node: Node) -> Reply.Callback? {
        guard let fields = Fields(node, of: "a callback", known: ["after", "output", "fail", "heartbeat"], report)
        else { return nil }
        let after = fields.required("after", expected: "a duration such as 5m")?
            .duration("after", shortest: .zero, report)
        let kinds = fields.mapping.entries.filter { ["output", "fail", "heartbeat"].contains($0.name) }
        guard kinds.count <= 1 else {
            report.error(
                at: kinds[1].namePosition, "a callback with '\(kinds[0].name)' and '\(kinds[1].name)'",
                expected: "exactly one of them")
            return nil
        }
        var content = SagaEvent.Callback.completed(.null)
        fields.read("output", into: &content) { node, _ in .completed(node.content) }
        fields.read("fail", into: &content) { node, _ in failure(node, "fail").map { .failed($0) } }
        fields.read("heartbeat", into: &content) { node, report in
            node.duration("heartbeat", report).map { .heartbeat($0) }
        }
        return after.map { Reply.Callback(after: $0, content: content) }
    }

    /// A type, or a mapping with one.
    private func failure(_ node: Node, _ what: String) -> Failure? {
        if case .scalar = node { return node.text(what, report).map { Failure(type: $0) } }
        guard let fields = Fields(node, of: what, known: ["type", "detail"], report) else { return nil }
        let type = fields.required("type", expected: "a name such as out-of-stock")?.text("type", report)
        let detail = fields["detail"]?.text("detail", report)
        return type.map { Failure(type: $0, detail: detail) }
    }

    // MARK: - Statements

    private func sql(_ node: Node) -> Reply? {
        if case .scalar(let scalar) = node {
            if scalar.text == "ok" { return Reply(.result(.null)) }
            if let fault = StatementFault(rawValue: scalar.text) { return Reply(fault.outcome) }
            report.error(
                at: node.position, "\(node.called) stands for \(what), which is a statement",
                expected: "ok, timeout, crash or a mapping with output or sqlstate",
                suggestion: suggestion(scalar.text, ["ok"] + StatementFault.allCases.map(\.rawValue)))
            return nil
        }
        guard let fields = Fields(node, of: what, known: Self.sqlKeys, report) else { return nil }
        var after = Duration.zero
        fields.read("after", into: &after) { $0.duration("after", shortest: .zero, $1) }
        if let fault = fields["fault"] {
            refuse(["output", "sqlstate", "detail"], of: fields, beside: "fault")
            return (fault.choice("fault", report) as StatementFault?).map { Reply($0.outcome, after: after) }
        }
        guard let state = fields["sqlstate"] else {
            if let node = fields["detail"] {
                report.error(at: node.position, "a detail without 'sqlstate'", expected: "sqlstate: \"23505\"")
            }
            return Reply(.result(fields["output"]?.content ?? .null), after: after)
        }
        refuse(["output"], of: fields, beside: "sqlstate")
        guard let code = sqlState(state) else { return nil }
        let detail = fields["detail"]?.text("detail", report)
        return Reply(.sqlError(state: code, message: detail ?? "SQLSTATE \(code)"), after: after)
    }

    private func sqlState(_ node: Node) -> String? {
        guard let text = node.text("sqlstate", report) else { return nil }
        let isCode =
            text.utf8.count == 5
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
            }
        guard isCode else {
            report.error(
                at: node.position, "\(node.called) stands for sqlstate", expected: "five digits or capital letters")
            return nil
        }
        return text
    }

    // MARK: - Sub-sagas

    private func subSaga(_ node: Node) -> Reply? {
        if case .scalar = node {
            return (node.choice(what, report) as End?).map { end($0, .null, nil, after: .zero) }
        }
        guard let fields = Fields(node, of: what, known: Self.subSagaKeys, report) else { return nil }
        var after = Duration.zero
        var kind = operation.op == .action ? End.completed : .compensated
        fields.read("after", into: &after) { $0.duration("after", shortest: .zero, $1) }
        fields.read("status", into: &kind) { $0.choice("the status of a sub-saga", $1) }
        var failure: Failure?
        fields.read("failure", into: &failure) { node, _ in self.failure(node, "failure") }
        if let node = fields["output"], kind != .completed {
            report.error(
                at: node.position, "an output of a sub-saga that is \(kind.rawValue)", expected: "status: completed")
        }
        return end(kind, fields["output"]?.content ?? .null, failure, after: after)
    }

    private func end(_ end: End, _ output: JSON, _ failure: Failure?, after: Duration) -> Reply {
        guard let status = end.status else { return Reply(.never) }
        return Reply(
            .ended(SagaEvent.ChildOutcome(status: status, output: output, failure: failure)), after: after)
    }

    // MARK: -

    private func refuse(_ names: [String], of fields: Fields, beside other: String) {
        for entry in fields.mapping.entries where names.contains(entry.name) {
            report.error(
                at: entry.namePosition, "'\(entry.name)' has no meaning beside '\(other)'",
                expected: "one of the two")
        }
    }

    private func suggestion(_ word: String, _ words: [String]) -> String? {
        closest(to: word, among: words).map { "did you mean '\($0)'?" }
    }
}
