package import Primitives

/// Something that is wrong in a file: where, what was found, what was expected, what to do.
package struct Diagnostic: Sendable, Hashable, Error {
    package enum Severity: String, Sendable, Hashable {
        case error
        case warning
    }

    package var file: String
    /// Line and column, both from 1; columns count characters.
    package var position: Position
    package var severity: Severity = .error
    package var found: String
    package var expected: String?
    /// A whole phrase: `did you mean 'x'?`, `quote the expression: "${ … }"`.
    package var suggestion: String?
}

extension Diagnostic: CustomStringConvertible {
    /// Without the place: `found; expected …; did you mean …?`
    package var message: String {
        var text = found
        if let expected { text += "; expected \(expected)" }
        if let suggestion { text += "; \(suggestion)" }
        return text
    }

    /// `file:line:column: error: found; expected …; did you mean …?`, as compilers print it and editors read it.
    package var description: String {
        "\(file):\(position.line):\(position.column): \(severity.rawValue): \(message)"
    }

    /// For `check --format json`.
    package var json: JSON {
        [
            "file": .string(file), "line": JSON(position.line), "column": JSON(position.column),
            "severity": .string(severity.rawValue), "message": .string(message), "found": .string(found),
            "expected": JSON(expected), "suggestion": JSON(suggestion),
        ]
    }
}

/// Sorted as a reader meets them.
extension Diagnostic: Comparable {
    package static func < (left: Diagnostic, right: Diagnostic) -> Bool {
        (left.file, left.position, left.message) < (right.file, right.position, right.message)
    }
}
