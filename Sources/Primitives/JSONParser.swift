/// What is wrong with a text that should be JSON, and the byte at which it shows.
package struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    package let offset: Int
    package let message: String

    package var description: String { "\(message) at byte \(offset)" }
}

extension JSON {
    /// Parses one value and nothing after it, as RFC 8259 says; at most 512 levels deep.
    package init(parsing bytes: some Collection<UInt8>) throws(JSONError) {
        var parser = JSONParser(Array(bytes))
        self = try parser.document()
    }

    package init(parsing text: some StringProtocol) throws(JSONError) {
        try self.init(parsing: Array(text.utf8))
    }
}

/// A value with the place of each of its parts.
package struct PlacedJSON: Sendable {
    package let value: JSON
    /// The bytes at which the values begin, and the names of members, in the order of the text: what contains others before
    /// them, and a name before its value.
    package let offsets: [Int]

    /// Parses as `JSON(parsing:)` does.
    ///
    /// - Parameter depthLimit: how many levels there may be; at most 512.
    package init(parsing bytes: [UInt8], depthLimit: Int) throws(JSONError) {
        var parser = JSONParser(bytes, depthLimit: depthLimit, notesOffsets: true)
        value = try parser.document()
        offsets = parser.offsets
    }
}

private struct JSONParser {
    private let bytes: [UInt8]
    private let depthLimit: Int
    private let notesOffsets: Bool
    private var next = 0
    private(set) var offsets: [Int] = []

    init(_ bytes: [UInt8], depthLimit: Int = 512, notesOffsets: Bool = false) {
        self.bytes = bytes
        self.depthLimit = depthLimit
        self.notesOffsets = notesOffsets
    }

    mutating func document() throws(JSONError) -> JSON {
        let value = try value(depth: 0)
        skipSpace()
        guard next == bytes.count else { throw error("unexpected text after the value") }
        return value
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSON {
        skipSpace()
        guard depth < depthLimit else { throw error("more than \(depthLimit) levels of nesting") }
        guard let first = peek else { throw error("the text ends where a value was expected") }
        if notesOffsets { offsets.append(next) }
        switch first {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error("a value was expected")
        }
    }

    private mutating func object(depth: Int) throws(JSONError) -> JSON {
        next += 1
        var object = JSONObject()
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(object) }
        repeat {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw error("a member's name in quotes was expected") }
            if notesOffsets { offsets.append(next) }
            let name = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw error("':' was expected") }
            object.members.append((name, try value(depth: depth + 1)))
            skipSpace()
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw error("',' or '}' was expected") }
        return .object(object)
    }

    private mutating func array(depth: Int) throws(JSONError) -> JSON {
        next += 1
        var values: [JSON] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(values) }
        repeat {
            values.append(try value(depth: depth + 1))
            skipSpace()
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "]")) else { throw error("',' or ']' was expected") }
        return .array(values)
    }

    private mutating func number() throws(JSONError) -> JSON {
        let start = next
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { try digits() }
        if take(UInt8(ascii: ".")) { try digits() }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try digits()
        }
        return .number(JSONNumber(digits: String(decoding: bytes[start..<next], as: UTF8.self)))
    }

    private mutating func digits() throws(JSONError) {
        let start = next
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { next += 1 }
        guard next > start else { throw error("a digit was expected") }
    }

    private mutating func string() throws(JSONError) -> String {
        next += 1
        var text: [UInt8] = []
        while true {
            guard let byte = peek else { throw error("the text ends inside a string") }
            next += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else { throw error("a string is not UTF-8") }
                return string
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20:
                next -= 1
                throw error("a control character in a string")
            default: text.append(byte)
            }
        }
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
        guard let byte = peek else { throw error("the text ends inside a string") }
        next += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hex4()
            if (0xD800..<0xDC00).contains(code) {
                guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else { throw error("half a surrogate pair") }
                let low = try hex4()
                guard (0xDC00..<0xE000).contains(low) else { throw error("half a surrogate pair") }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw error("half a surrogate pair") }
            text += String(scalar).utf8
        default:
            next -= 1
            throw error("an unknown escape")
        }
    }

    private mutating func hex4() throws(JSONError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = hexDigit(byte) else {
                throw error("four hexadecimal digits were expected")
            }
            code = code << 4 | UInt32(digit)
            next += 1
        }
        return code
    }

    private mutating func word(_ word: String, _ value: JSON) throws(JSONError) -> JSON {
        guard bytes[next...].starts(with: word.utf8) else { throw error("a value was expected") }
        next += word.utf8.count
        return value
    }

    private var peek: UInt8? { next < bytes.count ? bytes[next] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        next += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { next += 1 }
    }

    private func error(_ message: String) -> JSONError {
        JSONError(offset: next, message: message)
    }
}
