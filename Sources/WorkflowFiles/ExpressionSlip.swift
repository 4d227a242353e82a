internal import Expressions

/// YAML and jq both use braces, colons and `#`. Where YAML reads an unquoted expression in its own way, this says so,
/// instead of what follows from it.
enum ExpressionSlip {
    private static let opening = Array("${".utf8)

    /// What the user most likely meant when libyaml refused the text; nil when no expression is near.
    static func explain(_ error: YAMLError, in bytes: [UInt8]) -> Finding? {
        for position in [error.position, error.contextPosition].compactMap({ $0 }) {
            guard let offset = byte(at: position, in: bytes) else { continue }
            if let finding = explain(at: offset, in: bytes) { return finding }
        }
        return nil
    }

    private static func explain(at offset: Int, in bytes: [UInt8]) -> Finding? {
        // libyaml read "$" as a text and stumbles at the brace: only inside [ ] and { } does a text end there.
        if offset > 0, bytes[offset] == opening[1], bytes[offset - 1] == opening[0] {
            return Finding(
                Position(ofByte: offset - 1, in: bytes), "an unquoted expression inside [ … ] or { … }",
                expected: "it in quotes", suggestion: quote(bytes, from: offset - 1))
        }
        guard let start = opening(before: offset, in: bytes) else { return nil }
        let brace = (try? JQLexer.closingBrace(in: bytes, from: start + 2)) ?? nil
        guard brace.map({ $0 >= offset }) ?? true else { return nil }
        let position = Position(ofByte: start, in: bytes)
        let before = bytes[..<start].last
        if before == UInt8(ascii: "\"") {
            return Finding(
                position, "an expression with \" inside a text in \" quotes", expected: "single quotes around it",
                suggestion: "write '${ … }', or \\\" inside")
        }
        if bytes[offset] == UInt8(ascii: ":") { return colon(position, suggestion: quote(bytes, from: start)) }
        if containsComment(bytes[start..<offset]) { return comment(position, suggestion: quote(bytes, from: start)) }
        return nil
    }

    /// A key that holds the beginning of an expression: `- ${ {total: .x} }` reads as a mapping.
    static func explain(key: Node.Scalar) -> Finding? {
        guard !key.isQuoted, isUnclosed(key.text) else { return nil }
        return colon(key.position, suggestion: "quote the whole expression: '${ … }'")
    }

    /// A text in which an expression does not end since `#` cut it off.
    static func explain(cut scalar: Node.Scalar) -> Finding? {
        guard scalar.isCutByComment, isUnclosed(scalar.text) else { return nil }
        return comment(scalar.position, suggestion: "quote the whole expression: '${ … }'")
    }

    private static func colon(_ position: Position, suggestion: String) -> Finding {
        Finding(
            position, "an unquoted expression with a colon and a space, which YAML reads as a key",
            expected: "it in quotes", suggestion: suggestion)
    }

    private static func comment(_ position: Position, suggestion: String) -> Finding {
        Finding(
            position, "an unquoted expression with a space and '#', which YAML reads as a comment",
            expected: "it in quotes", suggestion: suggestion)
    }

    // MARK: - Text

    private static func isUnclosed(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: opening) }) else { return false }
        do throws(ExpressionError) {
            return try JQLexer.closingBrace(in: bytes, from: start + 2) == nil
        } catch {
            return false
        }
    }

    /// The last `${` within the 4,000 bytes before a place.
    private static func opening(before offset: Int, in bytes: [UInt8]) -> Int? {
        (max(0, offset - 4000)..<offset).last { bytes[$0...].starts(with: opening) }
    }

    private static func containsComment(_ text: ArraySlice<UInt8>) -> Bool {
        zip(text, text.dropFirst()).contains { ($0 == 0x20 || $0 == 0x09) && $1 == UInt8(ascii: "#") }
    }

    private static func byte(at position: Position, in bytes: [UInt8]) -> Int? {
        var line = 1
        var column = 1
        for (offset, byte) in bytes.enumerated() where byte & 0xC0 != 0x80 {
            if line == position.line, column == position.column { return offset }
            if byte == 0x0A {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return nil
    }

    /// `quote it: "${ .a }"`, with the quotes that the expression does not hold itself.
    private static func quote(_ bytes: [UInt8], from start: Int) -> String {
        guard let brace = try? JQLexer.closingBrace(in: bytes, from: start + 2), brace - start < 80 else {
            return "quote the whole expression: '${ … }'"
        }
        let text = String(decoding: bytes[start...brace], as: UTF8.self)
        if text.contains("\n") || text.contains("\"") && text.contains("'") {
            return "quote the whole expression: '${ … }'"
        }
        return text.contains("\"") ? "write '\(text)'" : "write \"\(text)\""
    }
}
