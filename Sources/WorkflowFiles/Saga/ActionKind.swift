/// The key that says what a step does.
enum ActionKind: String, CaseIterable {
    case call, publish, parallel, foreach, `switch`, wait, await, approve, run, set, fail

    /// Beside which kinds an option may stand; one that is not listed may beside all.
    private static let meanings: [String: [ActionKind]] = [
        "compensate": allCases.filter { $0 != .run && $0 != .fail },
        "pivot": [.call, .publish, .await, .approve, .run, .set, .wait],
        "output": allCases.filter { $0 != .fail },
    ]

    /// The kinds that give an option a meaning, when this one does not.
    func kindsInstead(for option: String) -> [ActionKind]? {
        guard let kinds = Self.meanings[option], !kinds.contains(self) else { return nil }
        return kinds
    }

    /// Why an option that may stand here changes nothing; nil when it does.
    func idleness(of option: String) -> String? {
        switch (option, self) {
        case ("retry", .call), ("fail_on", .call): nil
        case ("retry", _), ("fail_on", _): "only calls are tried again"
        case ("timeout", .publish), ("timeout", .set), ("timeout", .fail), ("deadline", .publish), ("deadline", .set),
            ("deadline", .fail):
            "it is done at once"
        default: nil
        }
    }

    /// What to do instead with an option that has no meaning here.
    func advice(on option: String) -> String? {
        switch (self, option) {
        case (.run, "compensate"): "a sub-saga is undone by the compensations of its own steps"
        default: nil
        }
    }
}
