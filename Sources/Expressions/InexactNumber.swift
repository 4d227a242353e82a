/// Finds integers that a double cannot hold: libjq 1.6 turns 9007199254740993 into 9007199254740992 in silence.
enum InexactNumber {
    private static let limit: Int64 = 1 << 53

    /// The first number beyond 2^53 in a JSON text, as it stands there. One with a point or an exponent counts as well,
    /// since it is an integer of that size.
    static func first(in json: [UInt8]) -> String? {
        var next = 0
        while next < json.count {
            switch json[next] {
            case UInt8(ascii: "\""): skipString(json, &next)
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                let start = next
                var isInteger = true
                while next < json.count, isNumberByte(json[next]) {
                    if !isDigit(json[next]) { isInteger = false }
                    next += 1
                }
                if isInteger, next - start < 16 { continue }
                let digits = String(decoding: json[start..<next], as: UTF8.self)
                let isExact = isInteger ? Int64(digits).map { $0 <= limit } : Double(digits).map { $0 < Double(limit) }
                if isExact != true {
                    return start > 0 && json[start - 1] == UInt8(ascii: "-") ? "-" + digits : digits
                }
            default: next += 1
            }
        }
        return nil
    }

    /// Of a literal: whether it is an integer, without point and exponent, beyond 2^53.
    static func isInexact(_ literal: String) -> Bool {
        literal.utf8.allSatisfy(isDigit) && Int64(literal).map { $0 > limit } ?? true
    }

    private static func skipString(_ json: [UInt8], _ next: inout Int) {
        next += 1
        while next < json.count, json[next] != UInt8(ascii: "\"") {
            next += json[next] == UInt8(ascii: "\\") ? 2 : 1
        }
        next += 1
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

    private static func isNumberByte(_ byte: UInt8) -> Bool {
        isDigit(byte) || byte == UInt8(ascii: ".") || byte | 0x20 == UInt8(ascii: "e") || byte == UInt8(ascii: "+")
            || byte == UInt8(ascii: "-")
    }
}
