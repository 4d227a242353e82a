/// Splits a text at its `${ … }`.
struct TemplateParser {
    private let bytes: [UInt8]
    private var next = 0
    private var literal: [UInt8] = []
    private var parts: [Template.Part] = []
    private var offsets: [Int] = []

    static func parts(
        of source: String
    ) throws(ExpressionError) -> (parts: [Template.Part], expressionOffsets: [Int]) {
        var parser = TemplateParser(bytes: Array(source.utf8))
        try parser.run()
        return (parser.parts, parser.offsets)
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    private mutating func run() throws(ExpressionError) {
        while next < bytes.count {
            if startsHere("$${") {
                literal += "${".utf8
                next += 3
            } else if startsHere("${") {
                endLiteral()
                parts.append(.expression(try expression()))
            } else {
                literal.append(bytes[next])
                next += 1
            }
        }
        endLiteral()
    }

    private func startsHere(_ text: String) -> Bool { bytes[next...].starts(with: text.utf8) }

    private mutating func endLiteral() {
        if !literal.isEmpty { parts.append(.text(String(decoding: literal, as: UTF8.self))) }
        literal = []
    }

    private mutating func expression() throws(ExpressionError) -> Expression {
        var start = next + 2
        guard let brace = try JQLexer.closingBrace(in: bytes, from: start) else {
            throw .syntax(message: "'${' is not closed by a '}'", offset: next)
        }
        next = brace + 1
        while start < brace, Self.isSpace(bytes[start]) { start += 1 }
        var end = brace
        while end > start, Self.isSpace(bytes[end - 1]) { end -= 1 }
        offsets.append(start)
        do throws(ExpressionError) {
            return try Expression(String(decoding: bytes[start..<end], as: UTF8.self))
        } catch {
            throw error.moved(by: start)
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}

extension ExpressionError {
    /// The same error, seen from a text in which the expression begins at `distance`.
    fileprivate func moved(by distance: Int) -> ExpressionError {
        guard case .syntax(let message, let offset) = self else { return self }
        return .syntax(message: message, offset: offset + distance)
    }
}
