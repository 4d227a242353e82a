/// Where what happened is not what was expected.
package struct Difference: Sendable, Hashable {
    /// What was compared: the key below `expect:`, or `handlers`.
    package var subject: String
    /// In one line.
    package var summary: String
    /// The rest of the story: the two lists side by side.
    package var lines: [String] = []

    init(_ subject: String, _ summary: String, lines: [String] = []) {
        self.subject = subject
        self.summary = summary
        self.lines = lines
    }

    init(_ subject: String, expected: String, found: String) {
        self.init(subject, "expected \(expected), found \(found)")
    }
}

/// What a scenario came to.
package enum Verdict: Sendable, Hashable {
    case passed
    case failed([Difference])
    /// It could not be played to its end.
    case broken(String)

    package init(_ performance: Performance, _ expectation: Expectation) {
        if let reason = performance.breakdown {
            self = .broken(reason)
            return
        }
        let differences = expectation.differences(from: performance)
        self = differences.isEmpty ? .passed : .failed(differences)
    }
}
