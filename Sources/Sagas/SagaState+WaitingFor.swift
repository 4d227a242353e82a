import Primitives

extension SagaState {
    /// What the saga waits for, in words for `sagas.waiting_for`; nil while it is at work, or has ended.
    package var waitingFor: String? {
        if status.hasEnded { return nil }
        if suspendedAt != nil { return "a person: suspended" }
        if let trouble {
            let place = trouble.step.map { " at \($0)" } ?? ""
            return "a person: \(trouble.reason.rawValue)\(place)"
        }
        let waits = starts.compactMap { path in
            wait(path, steps[path]?.action) ?? wait(path, steps[path]?.undo, "compensation of ")
        }
        return waits.isEmpty ? nil : waits.prefix(5).joined(separator: ", ") + (waits.count > 5 ? ", …" : "")
    }

    private func wait(_ path: StepPath, _ effort: Effort?, _ prefix: String = "") -> String? {
        switch effort?.phase {
        case nil, .idle, .received: nil
        case .trying: "\(prefix)\(path): the handler"
        case .retrying(let at): "\(prefix)\(path): the next try at \(at.rfc3339)"
        case .ongoing(let at): "\(prefix)\(path): the handler is at work, asked again at \(at.rfc3339)"
        case .callback(let until): "\(prefix)\(path): a callback until \(until.rfc3339)"
        case .timer(let until): "\(prefix)\(path): \(until.rfc3339)"
        case .signal(let name, let until):
            "\(prefix)\(path): the event \(name)" + (until.map { " until \($0.rfc3339)" } ?? "")
        case .child: "\(prefix)\(path): its sub-saga"
        }
    }
}
