internal import Expressions
internal import Primitives

/// A diagnostic before it is known in which file.
struct Finding: Error, Hashable {
    var position: Position
    var severity: Diagnostic.Severity = .error
    var found: String
    var expected: String?
    var suggestion: String?

    init(_ position: Position, _ found: String, expected: String? = nil, suggestion: String? = nil) {
        self.position = position
        self.found = found
        self.expected = expected
        self.suggestion = suggestion
    }
}

/// What checking one file has brought to light so far.
package final class Report {
    package let file: String
    package private(set) var diagnostics: [Diagnostic] = []
    /// What only jq's compiler can judge.
    private(set) var expressions: [(expression: Expression, position: Position)] = []
    /// The names of other documents that stand in this file.
    private(set) var references: [Reference] = []
    /// Paths of JSON files that belong to this file's documents, and are none themselves.
    var schemaFiles: [String] = []

    /// Where something was wrong before any value was there.
    private var slips: Set<Position> = []

    package init(file: String) {
        self.file = file
    }

    /// Nothing else is reported at its place: what was meant there is a guess.
    func add(slip finding: Finding) {
        slips.insert(finding.position)
        append(finding)
    }

    func add(_ finding: Finding) {
        if !slips.contains(finding.position) { append(finding) }
    }

    private func append(_ finding: Finding) {
        diagnostics.append(
            Diagnostic(
                file: file, position: finding.position, severity: finding.severity, found: finding.found,
                expected: finding.expected, suggestion: finding.suggestion))
    }

    package func error(at position: Position, _ found: String, expected: String? = nil, suggestion: String? = nil) {
        add(Finding(position, found, expected: expected, suggestion: suggestion))
    }

    /// For what can be applied though it hardly says what was meant.
    func warning(at position: Position, _ found: String, suggestion: String) {
        var finding = Finding(position, found, suggestion: suggestion)
        finding.severity = .warning
        add(finding)
    }

    /// For what the language has and this release does not.
    func notYet(_ what: String, at position: Position) {
        error(at: position, "\(what) is not supported yet", suggestion: "leave it out for this version of Outrider")
    }

    /// The candidate that was meant by a word. After a hundred errors nobody is served by more guesses, which take time.
    func closest(to word: String, among candidates: some Sequence<String>) -> String? {
        diagnostics.count < 100 ? Primitives.closest(to: word, among: candidates) : nil
    }

    func refer(to target: Reference.Target, at position: Position) {
        references.append(Reference(target: target, file: file, position: position))
    }

    func note(_ expression: Expression, at position: Position) {
        expressions.append((expression, position))
    }
}
