internal import Expressions
internal import Primitives

// How a single value is read: each gives nil after it has reported what is wrong.

extension Node {
    /// A text. Numbers and words that YAML reads as something else are not taken for one in silence.
    package func text(_ what: String, _ report: Report) -> String? {
        scalarText(what, report)?.text
    }

    func scalarText(_ what: String, _ report: Report) -> Scalar? {
        guard case .scalar(let scalar) = self, scalar.value != .null else {
            report.error(at: position, "\(called) stands for \(what)", expected: "a text")
            return nil
        }
        guard scalar.value.string != nil else {
            report.error(
                at: position, "\(called) stands for \(what)", expected: "a text",
                suggestion: "quote it: \"\(scalar.text)\"")
            return nil
        }
        return scalar
    }

    /// A name of the language: `[a-z][a-z0-9.-]*`, at most 255 bytes.
    package func name(_ what: String, _ report: Report) -> String? {
        guard let text = text(what, report) else { return nil }
        if Name.isValid(text) { return text }
        report.error(
            at: position, "\(called) stands for \(what)",
            expected: text.utf8.count > Name.lengthLimit
                ? "at most \(Name.lengthLimit) characters" : "a-z, 0-9, '.' and '-', beginning with a letter",
            suggestion: Name.repaired(text).map { "did you mean '\($0)'?" })
        return nil
    }

    package func bool(_ what: String, _ report: Report) -> Bool? {
        if case .scalar(let scalar) = self, let bool = scalar.value.bool { return bool }
        let word = if case .scalar(let scalar) = self { scalar.text.lowercased() } else { "" }
        let meant = ["yes": "true", "on": "true", "no": "false", "off": "false"][word]
        report.error(
            at: position, "\(called) stands for \(what)", expected: "true or false",
            suggestion: meant.map { "did you mean \($0)? YAML 1.2 reads \(word) as a text" })
        return nil
    }

    package func integer(_ what: String, in range: ClosedRange<Int>, _ report: Report) -> Int? {
        if case .scalar(let scalar) = self, let integer = scalar.value.int, range.contains(integer) { return integer }
        report.error(
            at: position, "\(called) stands for \(what)",
            expected: "a whole number from \(range.lowerBound) to \(range.upperBound)")
        return nil
    }

    /// A length of time. `shortest` is the least that makes sense; a bare 0 is a duration of any unit.
    package func duration(
        _ what: String, shortest: Duration = .milliseconds(1), longest: Duration = .seconds(86_400 * 3650),
        _ report: Report
    ) -> Duration? {
        let duration: Duration? =
            if case .scalar(let scalar) = self {
                scalar.value == 0 ? .zero : scalar.value.string.flatMap { Duration(text: $0) }
            } else {
                nil
            }
        guard let duration else {
            var expected = "a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S"
            var suggestion: String?
            if case .scalar(let scalar) = self {
                if Duration.isTooLong(scalar.text) {
                    expected = "at most \(longest.text)"
                } else {
                    let meant = scalar.value.int.map { "\($0)s" } ?? Duration.meant(by: scalar.text)
                    suggestion = meant.map { "did you mean '\($0)'?" }
                }
            }
            report.error(
                at: position, "\(called) stands for \(what)", expected: expected, suggestion: suggestion)
            return nil
        }
        guard duration >= shortest, duration <= longest else {
            report.error(
                at: position, "\(called) stands for \(what)",
                expected: duration < shortest ? "at least \(shortest.text)" : "at most \(longest.text)")
            return nil
        }
        return duration
    }

    /// So many in a length of time.
    func rate(_ what: String, _ report: Report) -> Rate? {
        if case .scalar(let scalar) = self, let rate = scalar.value.string.flatMap({ Rate(text: $0) }) { return rate }
        var suggestion: String?
        if case .scalar(let scalar) = self, let count = scalar.value.int, count > 0 {
            suggestion = "did you mean '\(count)/s'?"
        }
        report.error(
            at: position, "\(called) stands for \(what)",
            expected: "a rate such as 100/s, 20/m or 5/h, of 1 to 1000000", suggestion: suggestion)
        return nil
    }

    /// One of the words of an enumeration.
    package func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ what: String, _ report: Report
    ) -> Choice? {
        let words = Choice.allCases.map(\.rawValue)
        if case .scalar(let scalar) = self, let choice = Choice(rawValue: scalar.text) { return choice }
        report.error(
            at: position, "\(called) stands for \(what)",
            expected: words.dropLast().joined(separator: ", ") + " or " + (words.last ?? ""),
            suggestion: closestWord(among: words))
        return nil
    }

    func closestWord(among words: [String]) -> String? {
        guard case .scalar(let scalar) = self else { return nil }
        return closest(to: scalar.text, among: words).map { "did you mean '\($0)'?" }
    }

    /// A list; a single value is not taken for a list of one.
    package func list(_ what: String, _ report: Report) -> [Node]? {
        if case .sequence(let nodes, _) = self { return nodes }
        report.error(at: position, "\(called) stands for \(what)", expected: "a list", suggestion: listSuggestion)
        return nil
    }

    private var listSuggestion: String? {
        if case .scalar(let scalar) = self, scalar.value != .null { "write [ \(scalar.text) ]" } else { nil }
    }

    /// `{ secret: NAME }`.
    func secret(_ what: String, _ report: Report) -> SecretReference? {
        guard case .mapping = self else {
            // What stands here may be the secret itself: it is not repeated.
            report.error(
                at: position, "\(what) is written in the file", expected: "{ secret: NAME }",
                suggestion: "put the value into the environment variable NAME, or a file NAME in OUTRIDER_SECRETS_DIR")
            return nil
        }
        guard let fields = Fields(self, of: what, known: ["secret"], report),
            let node = fields.required("secret", expected: "NAME")
        else { return nil }
        // Nor is this one repeated, for the same reason.
        guard case .scalar(let scalar) = node, let name = scalar.value.string, Name.isSecretName(name) else {
            report.error(
                at: node.position, "what stands here is no name of a secret",
                expected: "letters, digits, '_', '-' and '.', beginning with a letter or '_'")
            return nil
        }
        return SecretReference(name: name)
    }
}
