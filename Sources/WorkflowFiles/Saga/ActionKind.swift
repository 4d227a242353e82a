/// The key that says what a step does.
enum ActionKind: String, CaseIterable {
    case call, publish, parallel, foreach, `switch`, wait, await, approve, run, set, fail

    /// Beside which kinds an option has a meaning; one that is not listed has it beside all.
    private static let meanings: [String: [ActionKind]] = [
        "retry": [.call], "fail_on": [.call], "timeout": [.call], "deadline": [.call, .run],
        "compensate": [.call, .publish, .await, .approve, .set],
        "pivot": [.call, .publish, .await, .approve, .run, .set],
        "output": allCases.filter { $0 != .fail },
    ]

    /// The kinds that give an option a meaning, when this one does not.
    func kindsInstead(for option: String) -> [ActionKind]? {
        guard let kinds = Self.meanings[option], !kinds.contains(self) else { return nil }
        return kinds
    }

    /// What to do instead with an option that has no meaning here.
    func advice(on option: String) -> String? {
        switch (self, option) {
        case (.await, "timeout"), (.await, "deadline"), (.approve, "timeout"), (.approve, "deadline"):
            "write \(rawValue): { timeout: … }"
        case (.run, "compensate"): "a sub-saga is undone by the compensations of its own steps"
        case (.parallel, "compensate"), (.foreach, "compensate"), (.switch, "compensate"):
            "compensate the steps inside"
        default: nil
        }
    }
}
