import Primitives
import Sagas

/// What a person can do for a saga that waits for one: each sentence with the command that does it.
struct SagaAdvice {
    private(set) var lines: [(sentence: String, command: String)] = []
    private let id: String

    init(_ saga: SagaRecord, _ timeline: SagaTimeline) {
        id = saga.id
        guard !saga.status.hasEnded else { return }
        if saga.isSuspended { add("Let it go on", "resume") }
        if let trouble = saga.trouble?.reason {
            help(trouble, timeline)
        } else if saga.status == .running {
            for effort in timeline.efforts where effort.ended == nil { tellOfEvent(effort) }
        }
        for child in saga.subSagas where child.status == "stuck" {
            lines.append(("Help its sub-saga \(child.name), which is stuck", "outrider saga show \(child.id)"))
        }
    }

    private mutating func add(_ sentence: String, _ command: String, _ rest: String = "") {
        lines.append((sentence, "outrider saga \(command) \(id)\(rest.isEmpty ? "" : " \(rest)")"))
    }

    private mutating func help(_ trouble: Trouble, _ timeline: SagaTimeline) {
        let step = trouble.step.map { shellWord($0.text) } ?? ""
        let effort = timeline.efforts.last { $0.step == trouble.step && $0.op == trouble.op }
        let hasRequest = effort?.start?.request != nil
        switch trouble.reason {
        case .compensation:
            add("Try the compensation of \(step) again", "retry")
            if hasRequest { add("Try it again with another body", "retry", "--input JSON") }
            add("It is undone in fact: go on", "resolve", "\(step) --happened yes")
            add("Leave \(step) as it is, and undo the rest", "skip", "\(step) --reason WHY")
            add("Undo nothing more", "terminate", "--reason WHY")
        case .forward:
            // What cannot be told from a second time is not done a second time: the engine refuses it.
            if hasRequest || effort?.outcome != .unknown { add("Try \(step.isEmpty ? "it" : step) again", "retry") }
            if hasRequest { add("Try it again with another body", "retry", "--input JSON") }
            if !step.isEmpty {
                add("It is done in fact: go on", "resolve", "\(step) --happened yes [--output JSON]")
                add("Go on without \(step)", "skip", "\(step) --reason WHY [--output JSON]")
            }
            add("End it, and undo nothing", "terminate", "--reason WHY")
        case .pivot:
            add("It has happened: go on", "resolve", "\(step) --happened yes [--output JSON]")
            add("It has not happened: undo what came before it", "resolve", "\(step) --happened no")
            if hasRequest { add("Ask the handler again, with the same idempotency key", "retry") }
            add("End it, and undo nothing", "terminate", "--reason WHY")
        case .timeout:
            add("Go on, without a limit of time", "retry")
            add("End it, and undo nothing", "terminate", "--reason WHY")
        case .abandoned:
            add("Have a worker take it up again", "retry")
            if trouble.interrupted == .running {
                add("Undo what was done, if it has not passed its pivot", "cancel", "--reason WHY")
            }
            add("End it, and undo nothing", "terminate", "--reason WHY")
        }
    }

    private mutating func tellOfEvent(_ effort: SagaTimeline.Effort) {
        guard case .signal(let event, _)? = effort.start?.phase else { return }
        if let prompt = effort.start?.input["prompt"]?.string {
            add("Approve: \(prompt)", "signal", "\(event) true")
            add("Reject it", "signal", #"\#(event) '{"approved": false, "reason": "WHY"}'"#)
        } else {
            add("Give it the event \(event)", "signal", "\(event) [PAYLOAD]")
        }
    }

    /// The path of a step in a loop has brackets, which shells read.
    private func shellWord(_ text: String) -> String { text.contains("[") ? "'\(text)'" : text }
}
