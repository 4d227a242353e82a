import Delivery
import Primitives
import Sagas

/// What a fact says beside its name, for people.
extension Fact {
    var words: String {
        switch kind {
        case .begun(let deadline): deadline.map { "until \($0.brief)" } ?? ""
        case .aborting(let failure), .noted(let failure), .failed(let failure), .stepFailed(let failure, _):
            failure.words
        case .compensating(let paths):
            paths.isEmpty ? "nothing to undo" : paths.map(\.text).joined(separator: ", ")
        case .completed(let output), .succeeded(let output): output.isNull ? "" : output.text
        case .stuck(let trouble): trouble.words
        case .terminated(let reason, let by): "by \(by): \(reason)"
        case .suspended(let by, let reason), .resumed(let by, let reason): "by \(by)\(reason.asSupplement)"
        case .signalled(let event, let payload, let by): "\(event) by \(by)\(payload.asSupplement)"
        case .refused(let act, let reason, let by): "\(act) by \(by): \(reason)"
        case .hookFailed(let hook, let error): "\(hook): \(error)"
        case .started(let start): start.words
        case .sent(let until), .accepted(let until), .heartbeat(let until): "until \(until.brief)"
        case .tryFailed(let failure, let happened, let next):
            "\(failure.wordsOfTry)\(happened == .no ? ", not done" : ""); next at \(next.brief)"
        case .postponed(let failure, _, let next): "held back: \(failure.wordsOfTry); due at \(next.brief)"
        case .ongoing(let next): "asked again at \(next.brief)"
        case .lost: "its worker was lost"
        case .received(let event, let payload): "\(event)\(payload.asSupplement)"
        case .skipped(let reason, let output, let by):
            (by.map { "by \($0): " } ?? "") + reason + output.asSupplement
        case .late(let what): what
        case .retried(let input, let by, let reason):
            "by \(by)\(reason.asSupplement)" + (input.map { ", with \($0.text)" } ?? "")
        case .resolved(let happened, let by, let reason):
            (happened ? "it happened" : "it did not happen") + ", says \(by)\(reason.asSupplement)"
        case .compensated: ""
        }
    }
}

extension Fact.Start {
    fileprivate var words: String {
        switch (request, phase) {
        case (.http(let http), _):
            "\(http.method) \(http.url)" + (http.endpoint.map { " at \($0)" } ?? "") + input.asSupplement
        case (.sql, _): "sql\(input.asSupplement)"
        case (nil, .timer(let until)): "until \(until.brief)"
        case (nil, .signal(let name, let until)):
            "waits for \(name)" + (until.map { " until \($0.brief)" } ?? "") + input.asSupplement
        case (nil, .child): "a sub-saga\(input.asSupplement)"
        case (nil, _): input.isNull ? "" : input.text
        }
    }
}

extension Failure {
    /// `charge: card-declined: HTTP 402: no funds`
    var words: String { [step?.text, wordsOfStep].compactMap(\.self).joined(separator: ": ") }

    /// Without the step, where it stands beside it.
    var wordsOfStep: String { "\(type)\(said.asSupplement)" }

    /// Of a try that another one follows, what would be said of the last one is left out.
    var wordsOfTry: String {
        if let said, type == "exhausted" || type == "refused" { said } else { wordsOfStep }
    }
}

extension Trouble {
    var words: String {
        let why = detail.map { ": \($0)" } ?? ""
        return switch (reason, step) {
        case (.compensation, let step?): "the compensation of \(step) failed\(why)"
        case (.compensation, nil): "a compensation failed\(why)"
        case (.forward, let step?): "\(step) failed after the pivot, when nothing can be undone\(why)"
        case (.forward, nil): "it cannot end, and after the pivot nothing can be undone\(why)"
        case (.pivot, let step): "whether the pivot \(step?.text ?? "") has happened is not known\(why)"
        case (.timeout, _): "its time was over after the pivot, when nothing can be undone\(why)"
        case (.abandoned, _): detail ?? "its workers were lost again and again"
        }
    }
}

extension JSON {
    /// Behind other words; nothing when there is nothing.
    var asSupplement: String { isNull ? "" : ": \(text)" }
}

extension String? {
    fileprivate var asSupplement: String { map { ": \($0)" } ?? "" }
}
