internal import Primitives

extension Node {
    /// Reports what PostgreSQL's `jsonb` cannot hold: the character U+0000, and numbers that no digits can be written for.
    func checkStorable(_ report: Report) {
        switch self {
        case .scalar(let scalar):
            Self.checkText(scalar.text, at: scalar.position, report)
            if case .number(let number) = scalar.value, number.plainDigits == nil {
                report.error(
                    at: scalar.position, "\(called) has an exponent beyond 1000",
                    expected: "a number that jsonb can hold")
            }
        case .sequence(let nodes, _):
            for node in nodes { node.checkStorable(report) }
        case .mapping(let mapping):
            for entry in mapping.entries {
                Self.checkText(entry.name, at: entry.namePosition, report)
                entry.value.checkStorable(report)
            }
        }
    }

    private static func checkText(_ text: String, at position: Position, _ report: Report) {
        guard text.utf8.contains(0) else { return }
        report.error(at: position, "a text with the character U+0000", expected: "one that jsonb can hold")
    }
}
