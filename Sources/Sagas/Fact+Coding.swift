import Delivery
package import Primitives

/// A fact as a row of the history: its name, and a detail that people read and `init(…)` reads again.
extension Fact {
    /// As in `saga_history.event`.
    package var event: String {
        switch kind {
        case .begun: "begun"
        case .aborting: "aborting"
        case .noted: "noted"
        case .compensating: "compensating"
        case .completed: "completed"
        case .compensated: "compensated"
        case .failed: "failed"
        case .stuck: "stuck"
        case .terminated: "terminated"
        case .suspended: "suspended"
        case .resumed: "resumed"
        case .signalled: "signalled"
        case .refused: "refused"
        case .hookFailed: "hook_failed"
        case .started: "started"
        case .sent: "sent"
        case .tryFailed: "try_failed"
        case .postponed: "postponed"
        case .ongoing: "ongoing"
        case .accepted: "accepted"
        case .heartbeat: "heartbeat"
        case .lost: "lost"
        case .received: "received"
        case .succeeded: "succeeded"
        case .stepFailed(_, let isUnknown): isUnknown ? "unknown" : "failed"
        case .skipped: "skipped"
        case .late: "late"
        case .retried: "retried"
        case .resolved: "resolved"
        }
    }

    package var detail: JSON {
        var detail = Members()
        switch kind {
        case .begun(let deadline): detail.add("deadline", deadline)
        case .aborting(let failure), .noted(let failure), .failed(let failure): return failure.json
        case .compensating(let paths): detail.add("steps", .array(paths.map { .string($0.text) }))
        case .completed(let output): detail.add("output", output)
        case .stuck(let trouble):
            detail.add("reason", .string(trouble.reason.rawValue))
            detail.add("detail", trouble.detail)
            detail.add("interrupted", .string(trouble.interrupted.rawValue))
        case .terminated(let reason, let by):
            detail.add("reason", .string(reason))
            detail.add("by", .string(by))
        case .suspended(let by, let reason), .resumed(let by, let reason):
            detail.add("reason", reason)
            detail.add("by", .string(by))
        case .signalled(let event, let payload, let by):
            detail.add("event", .string(event))
            detail.add("payload", payload)
            detail.add("by", .string(by))
        case .refused(let act, let reason, let by):
            detail.add("act", .string(act))
            detail.add("reason", .string(reason))
            detail.add("by", .string(by))
        case .hookFailed(let hook, let error):
            detail.add("hook", .string(hook))
            detail.add("error", .string(error))
        case .started(let start): detail = start.detail
        case .sent(let until), .accepted(let until), .heartbeat(let until): detail.add("until", until)
        case .tryFailed(let failure, let happened, let next), .postponed(let failure, let happened, let next):
            detail.add("error", failure.json)
            detail.add("happened", .string(happened == .no ? "no" : "unknown"))
            detail.add("next", next)
        case .ongoing(let next): detail.add("next", next)
        case .compensated, .lost: break
        case .received(let event, let payload):
            detail.add("event", .string(event))
            detail.add("payload", payload)
        case .succeeded(let output): detail.add("output", output)
        case .stepFailed(let failure, _): detail.add("error", failure.json)
        case .skipped(let reason, let output, let by):
            detail.add("reason", .string(reason))
            detail.add("output", output)
            detail.add("by", by)
        case .late(let what): detail.add("what", .string(what))
        case .retried(let input, let by, let reason):
            if let input { detail.add("input", input) }
            detail.add("reason", reason)
            detail.add("by", .string(by))
        case .resolved(let happened, let by, let reason):
            detail.add("happened", .bool(happened))
            detail.add("reason", reason)
            detail.add("by", .string(by))
        }
        return detail.json
    }

    /// Reads a row; nil for one that no machine wrote: it says something to people and changes no state.
    package init?(at: Timestamp, event: String, step: String?, op: String?, attempt: Int?, detail: JSON) {
        let text = { (name: String) in detail[name]?.string ?? "" }
        let time = { (name: String) in detail[name]?.string.flatMap { Timestamp(rfc3339: $0) } }
        let value = { (name: String) in detail[name] ?? .null }
        let failure = Failure(value("error"))
        let kind: Kind
        switch event {
        case "begun": kind = .begun(deadline: time("deadline"))
        case "aborting": kind = .aborting(Failure(detail))
        case "noted": kind = .noted(Failure(detail))
        case "compensating":
            kind = .compensating((detail["steps"]?.array ?? []).compactMap { $0.string.map { StepPath($0) } })
        case "completed": kind = .completed(output: value("output"))
        case "compensated": kind = .compensated
        case "stuck":
            kind = .stuck(
                Trouble(
                    Trouble.Reason(rawValue: text("reason")) ?? .forward, step: step.map { StepPath($0) },
                    op: op.flatMap { Op(rawValue: $0) } ?? .action, detail: detail["detail"]?.string,
                    interrupted: SagaState.Status(rawValue: text("interrupted")) ?? .running))
        case "terminated": kind = .terminated(reason: text("reason"), by: text("by"))
        case "suspended": kind = .suspended(by: text("by"), reason: detail["reason"]?.string)
        case "resumed": kind = .resumed(by: text("by"), reason: detail["reason"]?.string)
        case "signalled": kind = .signalled(event: text("event"), payload: value("payload"), by: text("by"))
        case "refused": kind = .refused(act: text("act"), reason: text("reason"), by: text("by"))
        case "hook_failed": kind = .hookFailed(hook: text("hook"), error: text("error"))
        case "started": kind = .started(Start(detail))
        case "sent":
            guard let until = time("until") else { return nil }
            kind = .sent(until: until)
        case "try_failed":
            guard let next = time("next") else { return nil }
            kind = .tryFailed(failure, happened: text("happened") == "no" ? .no : .unknown, next: next)
        case "postponed":
            guard let next = time("next") else { return nil }
            kind = .postponed(failure, happened: text("happened") == "no" ? .no : .unknown, next: next)
        case "ongoing":
            guard let next = time("next") else { return nil }
            kind = .ongoing(next: next)
        case "accepted":
            guard let until = time("until") else { return nil }
            kind = .accepted(until: until)
        case "heartbeat":
            guard let until = time("until") else { return nil }
            kind = .heartbeat(until: until)
        case "lost": kind = .lost
        case "received": kind = .received(event: text("event"), payload: value("payload"))
        case "succeeded": kind = .succeeded(output: value("output"))
        case "failed": kind = step == nil ? .failed(Failure(detail)) : .stepFailed(failure, isUnknown: false)
        case "unknown": kind = .stepFailed(failure, isUnknown: true)
        case "skipped": kind = .skipped(reason: text("reason"), output: value("output"), by: detail["by"]?.string)
        case "late": kind = .late(text("what"))
        case "retried": kind = .retried(input: detail["input"], by: text("by"), reason: detail["reason"]?.string)
        case "resolved":
            kind = .resolved(
                happened: detail["happened"] == true, by: text("by"), reason: detail["reason"]?.string)
        default: return nil
        }
        self.init(
            at: at, step: step.map { StepPath($0) }, op: op.flatMap { Op(rawValue: $0) }, attempt: attempt, kind)
    }
}

/// An object that leaves out what there is nothing to say of.
private struct Members {
    private var members: [(name: String, value: JSON)] = []

    mutating func add(_ name: String, _ value: JSON) { members.append((name, value)) }
    mutating func add(_ name: String, _ text: String?) { if let text { add(name, .string(text)) } }
    mutating func add(_ name: String, _ time: Timestamp?) { if let time { add(name, .string(time.rfc3339)) } }

    var json: JSON { .object(JSONObject(members)) }
}

extension Fact.Start {
    fileprivate var detail: Members {
        var detail = Members()
        detail.add("input", input)
        switch request {
        case .http(let http):
            detail.add("method", http.method)
            detail.add("url", http.url)
            detail.add("endpoint", http.endpoint)
            if !http.headers.isEmpty { detail.add("headers", .array(http.headers.map { .string($0) })) }
            if http.hasBody { detail.add("body", true) }
            if http.isAsync { detail.add("async", true) }
        case .sql: detail.add("sql", true)
        case nil: break
        }
        switch phase {
        case .trying(let until): detail.add("until", until)
        case .timer(let until): detail.add("timer", until)
        case .signal(let name, let until):
            detail.add("signal", name)
            detail.add("until", until)
        case .child: detail.add("child", true)
        case .idle, .retrying, .ongoing, .callback, .received: break
        }
        detail.add("deadline", deadline)
        if let choice { detail.add("choice", JSON(choice)) }
        if compensates { detail.add("compensates", true) }
        return detail
    }

    fileprivate init(_ detail: JSON) {
        let time = { (name: String) in detail[name]?.string.flatMap { Timestamp(rfc3339: $0) } }
        input = detail["input"] ?? .null
        if let method = detail["method"]?.string {
            request = .http(
                Request.HTTP(
                    method: method, url: detail["url"]?.string ?? "", endpoint: detail["endpoint"]?.string,
                    headers: (detail["headers"]?.array ?? []).compactMap(\.string), hasBody: detail["body"] == true,
                    isAsync: detail["async"] == true))
        } else if detail["sql"] == true {
            request = .sql
        }
        if let until = time("timer") {
            phase = .timer(until: until)
        } else if let name = detail["signal"]?.string {
            phase = .signal(name: name, until: time("until"))
        } else if detail["child"] == true {
            phase = .child
        } else if let until = time("until") {
            phase = .trying(until: until)
        }
        deadline = time("deadline")
        choice = detail["choice"]?.int
        compensates = detail["compensates"] == true
    }
}
