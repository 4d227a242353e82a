internal import Primitives

/// What steps, branches and loop variables may be called: each name can stand in an expression, as `.steps.name` or
/// `.name`.
enum StepName {
    /// In bytes, which are characters in a valid name.
    static let lengthLimit = 63

    /// What expressions call something else.
    private static let taken: Set<String> = ["input", "steps", "saga", "output", "failure", "event", "input_sent"]

    /// Of jq 1.6, section "Keywords" of its lexer. `not` is a function.
    private static let keywords: Set<String> = [
        "def", "reduce", "foreach", "if", "then", "else", "elif", "end", "as", "try", "catch", "label", "import",
        "include", "and", "or",
    ]

    /// What is wrong with a name; nil when nothing is.
    static func expectation(_ text: String) -> String? {
        if !isWellFormed(text) { return "a-z, 0-9 and '_', beginning with a letter" }
        if text.utf8.count > lengthLimit { return "at most \(lengthLimit) characters" }
        if taken.contains(text) { return "another name: expressions see something else as '.\(text)'" }
        if keywords.contains(text) { return "another name: '\(text)' is a keyword of jq" }
        return nil
    }

    private static func isWellFormed(_ text: String) -> Bool {
        guard let first = text.utf8.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first) else { return false }
        return text.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
            default: false
            }
        }
    }

    /// The name that was meant by `Pick-List`.
    static func repaired(_ text: String) -> String? {
        let name = String(text.lowercased().map { $0 == "-" || $0 == " " || $0 == "." ? "_" : $0 })
        return expectation(name) == nil && name != text ? name : nil
    }
}

extension Node {
    /// `[a-z][a-z0-9_]*`, free of other meanings.
    func stepName(_ what: String, _ report: Report) -> String? {
        guard let text = text(what, report) else { return nil }
        guard let expectation = StepName.expectation(text) else { return text }
        report.error(
            at: position, "\(called) stands for \(what)", expected: expectation,
            suggestion: StepName.repaired(text).map { "did you mean '\($0)'?" })
        return nil
    }
}
