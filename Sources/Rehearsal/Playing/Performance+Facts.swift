import Delivery
import Primitives
import Sagas

extension Performance.Entry {
    /// A fact as a line for people; times are counted from the saga's start.
    init(_ fact: Fact, since start: Timestamp) {
        let clock = { (time: Timestamp) in (time - start).clock }
        let isRepeat = (fact.attempt ?? 1) > 1
        self.init(
            at: fact.at - start, event: fact.event.replacing("_", with: " "),
            operation: fact.step.map { Operation($0, fact.op ?? .action) },
            detail: Self.detail(of: fact, isRepeat: isRepeat, clock: clock))
    }

    private static func detail(of fact: Fact, isRepeat: Bool, clock: (Timestamp) -> String) -> String {
        switch fact.kind {
        case .begun(let deadline): deadline.map { "must complete by \(clock($0))" } ?? ""
        case .aborting(let failure), .noted(let failure), .failed(let failure): failure.line
        case .stepFailed(let failure, _): failure.lineWithoutStep
        case .compensating(let steps):
            steps.isEmpty ? "nothing" : steps.map(\.text).joined(separator: ", ")
        case .completed(let output): output.isNull ? "" : output.text
        case .stuck(let trouble): trouble.lineWithoutStep
        case .terminated(let reason, _): reason
        case .signalled(let event, let payload, _), .received(let event, let payload):
            payload.isNull ? event : "\(event) \(payload.text)"
        case .refused(let act, let reason, _): "\(act): \(reason)"
        case .hookFailed(let hook, let error): "\(hook): \(error)"
        case .started(let start): start.line(clock)
        case .sent: isRepeat ? "try \(fact.attempt ?? 1)" : ""
        case .tryFailed(let failure, let happened, let next):
            "\(failure.said ?? failure.type); \(happened == .no ? "not done" : "may be done"); again at \(clock(next))"
        case .postponed(let failure, _, let next): "\(failure.said ?? failure.type); again at \(clock(next))"
        case .ongoing(let next): "asked again at \(clock(next))"
        case .accepted(let until), .heartbeat(let until): "waits for the callback until \(clock(until))"
        case .lost: "the worker died during try \(fact.attempt ?? 1)"
        case .succeeded(let output): output.isNull ? "" : output.text
        case .skipped(let reason, _, _): reason
        case .late(let what): what
        case .retried(let input, _, _): input.map { "with \($0.text)" } ?? ""
        case .resolved(let happened, _, _): happened ? "it happened" : "it did not happen"
        case .compensated, .suspended, .resumed: ""
        }
    }
}

extension Fact.Start {
    fileprivate func line(_ clock: (Timestamp) -> String) -> String {
        var parts: [String] = []
        switch request {
        case .http(let http):
            parts.append("\(http.method) \(http.url)")
            if let endpoint = http.endpoint { parts.append("of \(endpoint)") }
            if http.hasBody { parts.append(input.text) }
        case .sql: parts.append("sql \(input.text)")
        case nil: break
        }
        switch phase {
        case .timer(let until): parts.append("until \(clock(until))")
        case .signal(let name, let until):
            parts.append("waits for \(name)" + (until.map { " until \(clock($0))" } ?? ""))
        case .child: parts.append(input.isNull ? "a sub-saga" : "a sub-saga \(input.text)")
        case .idle, .trying, .retrying, .ongoing, .callback, .received: break
        }
        return parts.joined(separator: " ")
    }
}

extension Failure {
    /// `card-declined at charge: HTTP 422: No funds`
    var line: String { type + (step.map { " at \($0)" } ?? "") + (said.map { ": \($0)" } ?? "") }

    fileprivate var lineWithoutStep: String { type + (said.map { ": \($0)" } ?? "") }
}

extension Trouble {
    /// `compensation at charge/compensate: HTTP 500`
    var line: String {
        reason.rawValue + (step.map { " at \(Operation($0, op))" } ?? "") + (detail.map { ": \($0)" } ?? "")
    }

    fileprivate var lineWithoutStep: String { reason.rawValue + (detail.map { ": \($0)" } ?? "") }
}

extension Duration {
    /// To the millisecond, as people say it: `2h 5m 0.5s`, `0s`.
    package var clock: String {
        guard self >= .zero else { return "-" + (.zero - self).clock }
        let total = milliseconds
        var parts: [String] = []
        for (unit, length) in [("d", 86_400_000 as Int64), ("h", 3_600_000), ("m", 60_000)] {
            let count = total / length % (unit == "h" ? 24 : unit == "m" ? 60 : .max)
            if count > 0 { parts.append("\(count)\(unit)") }
        }
        let rest = total % 60_000
        if rest > 0 || parts.isEmpty {
            var text = "\(rest / 1000)"
            if rest % 1000 > 0 {
                text += "." + String(1000 + rest % 1000).dropFirst()
                while text.hasSuffix("0") { text.removeLast() }
            }
            parts.append(text + "s")
        }
        return parts.joined(separator: " ")
    }
}
