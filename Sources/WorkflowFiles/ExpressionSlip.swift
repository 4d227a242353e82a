internal import Expressions

/// YAML and jq both use braces, colons and `#`. Where YAML reads an unquoted expression in its own way, this says so,
/// instead of what follows from it.
enum ExpressionSlip {
    private static let opening = Array("${".utf8)

    /// What the user most likely meant when libyaml refused the text; nil when no expression is near.
    static func explain(_ error: YAMLError, in text: CoveredText) -> Slip? {
        for position in [error.position, error.contextPosition].compactMap({ $0 }) {
            let offset = position.byte(in: text.bytes)
            guard offset < text.bytes.count else { continue }
            if let slip = explain(at: offset, in: text) { return slip }
        }
        return nil
    }

    private static func explain(at offset: Int, in text: CoveredText) -> Slip? {
        let bytes = text.bytes
        // libyaml read "$" as a text and stumbles at the brace: only inside [ ] and { } does a text end there.
        if offset > 0, bytes[offset] == opening[1], bytes[offset - 1] == opening[0] {
            let finding = Finding(
                Position(ofByte: offset - 1, in: bytes), "an unquoted expression inside [ … ] or { … }",
                expected: "the whole text in quotes",
                suggestion: quote(text.original, from: offset - 1, isFlow: true))
            return Slip(finding: finding, extent: extent(from: offset - 1, in: text.original, isFlow: true))
        }
        guard let start = opening(before: offset, in: bytes) else { return nil }
        let brace = closingBrace(of: start, in: bytes)
        // Without a brace it ends with its line, as far as anyone can tell.
        guard brace.map({ $0 >= offset }) ?? !bytes[start..<offset].contains(0x0A) else { return nil }
        let position = Position(ofByte: start, in: bytes)
        let before = bytes[..<start].last
        if before == UInt8(ascii: "\"") {
            let finding = Finding(
                position, "an expression with \" inside a text in \" quotes", expected: "single quotes around it",
                suggestion: "write '${ … }', or \\\" inside")
            return Slip(finding: finding, extent: brace.map { own([start..<$0 + 1], in: bytes) } ?? [])
        }
        let suggestion = quote(text.original, from: start)
        let extent = extent(from: start, in: text.original)
        if bytes[offset] == UInt8(ascii: ":") {
            return Slip(finding: colon(position, suggestion: suggestion), extent: extent)
        }
        if containsComment(bytes[start..<offset]) {
            return Slip(finding: comment(position, suggestion: suggestion), extent: extent)
        }
        return nil
    }

    /// A key that holds the beginning of an expression: `- ${ {total: .x} }` reads as a mapping.
    static func explain(key: Node.Scalar, in text: CoveredText) -> Slip? {
        guard !key.isQuoted, isUnclosed(key.text) else { return nil }
        let line = text.lineStarts[text.line(of: key.position)]
        let rest = text.bytes[line...]
        guard let start = rest.indices.first(where: { rest[$0...].starts(with: opening) }) else {
            return Slip(finding: colon(key.position, suggestion: unknownText))
        }
        let column = String(decoding: rest[..<start], as: UTF8.self).unicodeScalars.count + 1
        let position = Position(line: key.position.line, column: column)
        return Slip(
            finding: colon(position, suggestion: quote(text.original, from: start)),
            extent: extent(from: start, in: text.original))
    }

    /// A text in which an expression does not end since `#` cut it off.
    static func explain(cut scalar: Node.Scalar) -> Finding? {
        guard scalar.isCutByComment, isUnclosed(scalar.text) else { return nil }
        return comment(scalar.position, suggestion: unknownText)
    }

    private static func colon(_ position: Position, suggestion: String) -> Finding {
        Finding(
            position, "an unquoted expression with a colon and a space, which YAML reads as a key",
            expected: "the whole text in quotes", suggestion: suggestion)
    }

    private static func comment(_ position: Position, suggestion: String) -> Finding {
        Finding(
            position, "an unquoted expression with a space and '#', which YAML reads as a comment",
            expected: "the whole text in quotes", suggestion: suggestion)
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

    /// How to write the text in which an expression stands, with the quotes that it does not hold itself.
    ///
    /// - Parameter isFlow: the text stands inside `[ … ]` or `{ … }`, where a comma or a bracket ends it.
    private static func quote(_ bytes: [UInt8], from start: Int, isFlow: Bool = false) -> String {
        guard let end = end(of: start, in: bytes, isFlow) else { return unknownText }
        let line = bytes[..<start].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        let before = bytes[line..<start]
        let begin = before.indices.last { isBoundary(at: $0, in: before, isFlow) }.map { $0 + 1 } ?? line
        let text = String(decoding: bytes[begin..<end], as: UTF8.self).trimmed
        if text.utf8.count > 100 || text.contains("\n") || text.contains("\"") && text.contains("'") {
            return unknownText
        }
        return text.contains("\"") ? "write '\(text)'" : "write \"\(text)\""
    }

    private static let unknownText = "quote the whole text: '… ${ … } …'"

    /// Where the text ends in which an expression begins; nil when the expression has no end.
    private static func end(of start: Int, in bytes: [UInt8], _ isFlow: Bool) -> Int? {
        expressions(from: start, in: bytes, isFlow)?.end
    }

    /// What to cover of the text in which an expression begins: its expressions, but not a comment behind them.
    private static func extent(from start: Int, in bytes: [UInt8], isFlow: Bool = false) -> [Range<Int>] {
        own(expressions(from: start, in: bytes, isFlow)?.extent ?? [], in: bytes)
    }

    private static func expressions(
        from start: Int, in bytes: [UInt8], _ isFlow: Bool
    ) -> (extent: [Range<Int>], end: Int)? {
        var extent: [Range<Int>] = []
        var next = start
        while next < bytes.count, bytes[next] >= 0x20, !(isFlow && ",]}".utf8.contains(bytes[next])) {
            guard bytes[next...].starts(with: opening) else {
                if bytes[next] == UInt8(ascii: "#"), bytes[next - 1] <= 0x20 { break }
                next += 1
                continue
            }
            guard let brace = closingBrace(of: next, in: bytes) else { return nil }
            extent.append(next..<brace + 1)
            next = brace + 1
        }
        return (extent, next)
    }

    /// Of the expression that begins here. One that was left open is not looked for in all of a large file.
    private static func closingBrace(of start: Int, in bytes: [UInt8]) -> Int? {
        let near = Array(bytes[start...].prefix(16_384))
        return (try? JQLexer.closingBrace(in: near, from: opening.count)).flatMap(\.self).map { start + $0 }
    }

    /// Nothing, unless further lines of the expressions are indented more than the one in which they begin: an expression
    /// that was left open finds some brace below.
    private static func own(_ extent: [Range<Int>], in bytes: [UInt8]) -> [Range<Int>] {
        guard let start = extent.first?.lowerBound, let end = extent.last?.upperBound else { return [] }
        let line = bytes[..<start].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        let indent = bytes[line...].prefix { $0 == 0x20 }.count
        let furtherLines = bytes[start..<end].split(separator: 0x0A, omittingEmptySubsequences: false).dropFirst()
        let areOwn = furtherLines.allSatisfy { line in
            let depth = line.prefix { $0 == 0x20 }.count
            return depth > indent || depth == line.count
        }
        return areOwn ? extent : []
    }

    /// Whether a value can begin behind this byte of a line: behind `key: `, behind `- ` at its beginning.
    private static func isBoundary(at index: Int, in line: ArraySlice<UInt8>, _ isFlow: Bool) -> Bool {
        switch line[index] {
        case UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: ","): return isFlow
        case 0x20, 0x09:
            let indicator = line[..<index].last
            let isElement = line[..<index].allSatisfy { $0 == 0x20 || $0 == UInt8(ascii: "-") }
            return indicator == UInt8(ascii: ":") || isElement
        default: return false
        }
    }
}
