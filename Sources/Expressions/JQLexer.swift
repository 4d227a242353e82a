internal import Primitives

/// Reads jq far enough to know where an expression ends, which names it calls, and whether its brackets balance.
package struct JQLexer {
    private static let depthLimit = 64
    private static let operators: Set<String> = [
        "..", "?//", "|=", "+=", "-=", "*=", "/=", "%=", "//=", "==", "!=", "<=", ">=", "//",
    ]

    private let bytes: [UInt8]
    private var next: Int
    private var tokens: [JQToken] = []
    private var open: [(closer: UInt8, offset: Int)] = []
    private var textEnded = false

    private init(_ bytes: [UInt8], from start: Int) {
        self.bytes = bytes
        next = start
    }

    /// All tokens of a whole expression.
    static func tokens(of source: String) throws(ExpressionError) -> [JQToken] {
        var lexer = JQLexer(Array(source.utf8), from: 0)
        if let brace = try lexer.run() { throw closesNothing(UInt8(ascii: "}"), at: brace) }
        return lexer.tokens
    }

    /// Where the brace is that closes the expression beginning at `start`; nil when the text ends before it.
    package static func closingBrace(in bytes: [UInt8], from start: Int) throws(ExpressionError) -> Int? {
        var lexer = JQLexer(bytes, from: start)
        do throws(ExpressionError) {
            return try lexer.run()
        } catch {
            if lexer.textEnded { return nil }
            throw error
        }
    }

    /// Reads up to a `}` that nothing in the expression opened, and returns its place; nil at the end of the text.
    private mutating func run() throws(ExpressionError) -> Int? {
        while let byte = peek {
            if byte == UInt8(ascii: "}"), open.isEmpty { return next }
            try token(byte)
        }
        if let bracket = open.last { throw unfinished("a bracket is not closed", at: bracket.offset) }
        return nil
    }

    private var peek: UInt8? { next < bytes.count ? bytes[next] : nil }

    private mutating func token(_ byte: UInt8) throws(ExpressionError) {
        let start = next
        switch byte {
        case 0x09, 0x0A, 0x0D, 0x20: next += 1
        case UInt8(ascii: "#"): while let byte = peek, byte != 0x0A { next += 1 }
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "("), UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: ")"), UInt8(ascii: "]"),
            UInt8(ascii: "}"):
            try bracket(byte)
        case UInt8(ascii: "$"):
            next += 1
            let name = word()
            add(name.isEmpty ? .symbol("$") : .variable(name), at: start)
        case UInt8(ascii: "@"):
            next += 1
            add(.format(word()), at: start)
        case UInt8(ascii: ".") where next + 1 < bytes.count && Self.startsWord(bytes[next + 1]):
            next += 1
            add(.field(word(qualified: false)), at: start)
        case UInt8(ascii: "0")...UInt8(ascii: "9"): add(.number(number()), at: start)
        case _ where Self.startsWord(byte): add(.identifier(word()), at: start)
        default: add(.symbol(symbol()), at: start)
        }
    }

    private mutating func add(_ kind: JQToken.Kind, at offset: Int) {
        tokens.append(JQToken(kind: kind, offset: offset))
    }

    private mutating func bracket(_ byte: UInt8) throws(ExpressionError) {
        switch byte {
        case UInt8(ascii: "("), UInt8(ascii: "["), UInt8(ascii: "{"):
            guard open.count < Self.depthLimit else {
                throw .syntax(
                    message: "the expression has more than \(Self.depthLimit) levels of brackets", offset: next)
            }
            // In ASCII ")" follows "(" at once; the other pairs have a character between them.
            open.append((byte == UInt8(ascii: "(") ? byte + 1 : byte + 2, next))
        default:
            guard let last = open.popLast() else { throw Self.closesNothing(byte, at: next) }
            guard last.closer == byte else {
                throw .syntax(
                    message: "found '\(UnicodeScalar(byte))'; expected '\(UnicodeScalar(last.closer))'", offset: next)
            }
        }
        add(.symbol(String(UnicodeScalar(byte))), at: next)
        next += 1
    }

    /// A string; inside `\( … )` the tokens are added one by one. The recursion ends with the limit on brackets.
    private mutating func string() throws(ExpressionError) {
        let start = next
        let place = tokens.count
        var text: [UInt8] = []
        var isInterpolated = false
        next += 1
        while let byte = peek {
            next += 1
            switch byte {
            case UInt8(ascii: "\""):
                let kind = isInterpolated ? .interpolated : JQToken.Kind.string(Self.unescape(text))
                tokens.insert(JQToken(kind: kind, offset: start), at: place)
                return
            case UInt8(ascii: "\\"):
                guard let escaped = peek else { break }
                if escaped == UInt8(ascii: "(") {
                    isInterpolated = true
                    let depth = open.count
                    try bracket(escaped)
                    while open.count > depth {
                        guard let inner = peek else { break }
                        try token(inner)
                    }
                } else {
                    text += [byte, escaped]
                    next += 1
                }
            default: text.append(byte)
            }
        }
        throw unfinished("a string is not closed", at: start)
    }

    private mutating func unfinished(_ message: String, at offset: Int) -> ExpressionError {
        textEnded = true
        return .syntax(message: message, offset: offset)
    }

    private static func closesNothing(_ byte: UInt8, at offset: Int) -> ExpressionError {
        .syntax(message: "'\(UnicodeScalar(byte))' closes nothing", offset: offset)
    }

    private mutating func word(qualified: Bool = true) -> String {
        let start = next
        while let byte = peek {
            let isQualifier =
                qualified && byte == UInt8(ascii: ":") && next > start && next + 2 < bytes.count
                && bytes[next + 1] == UInt8(ascii: ":") && Self.startsWord(bytes[next + 2])
            if isQualifier {
                next += 2
            } else if Self.startsWord(byte) || (Self.isDigit(byte) && next > start) {
                next += 1
            } else {
                break
            }
        }
        return text(from: start)
    }

    private mutating func number() -> String {
        let start = next
        while let byte = peek {
            let isSign = byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
            let afterExponent = next > start && bytes[next - 1] | 0x20 == UInt8(ascii: "e")
            guard
                Self.isDigit(byte) || byte == UInt8(ascii: ".") || byte | 0x20 == UInt8(ascii: "e")
                    || isSign && afterExponent
            else { break }
            next += 1
        }
        return text(from: start)
    }

    /// The longest operator that begins here, or one character, which may take several bytes.
    private mutating func symbol() -> String {
        let start = next
        for length in [3, 2] where next + length <= bytes.count {
            let candidate = String(decoding: bytes[next..<next + length], as: UTF8.self)
            if Self.operators.contains(candidate) {
                next += length
                return candidate
            }
        }
        repeat { next += 1 } while peek.map { $0 & 0xC0 == 0x80 } == true
        return text(from: start)
    }

    private func text(from start: Int) -> String { String(decoding: bytes[start..<next], as: UTF8.self) }

    private static func startsWord(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    /// jq's escapes are JSON's.
    private static func unescape(_ text: [UInt8]) -> String {
        let quoted = [UInt8(ascii: "\"")] + text + [UInt8(ascii: "\"")]
        return (try? JSON(parsing: quoted))?.string ?? String(decoding: text, as: UTF8.self)
    }
}
