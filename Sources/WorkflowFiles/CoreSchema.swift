internal import Primitives

/// What a plain scalar means: YAML 1.2.2, section 10.3.2 "Core Schema". So `no` is a string and `010` is ten.
enum CoreSchema {
    static func value(of text: String) -> JSON {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: return number(text).map { .number(JSONNumber(digits: $0)) } ?? .string(text)
        }
    }

    /// `[-+]? ( \.inf | \.Inf | \.INF ) | \.nan | \.NaN | \.NAN`: the numbers that have no JSON form.
    static func isUnwritable(_ text: String) -> Bool {
        let isSigned = text.hasPrefix("-") || text.hasPrefix("+")
        return [".inf", ".Inf", ".INF"].contains(isSigned ? String(text.dropFirst()) : text)
            || [".nan", ".NaN", ".NAN"].contains(text)
    }

    /// The digits of a JSON number of the same value; nil when the text is none.
    private static func number(_ text: String) -> String? {
        if text.hasPrefix("0o") { return integer(text.dropFirst(2), radix: 8) }
        if text.hasPrefix("0x") { return integer(text.dropFirst(2), radix: 16) }
        return decimal(text)
    }

    /// Without a sign, as the schema says; beyond 64 bits it stays a string.
    private static func integer(_ digits: Substring, radix: Int) -> String? {
        guard digits.utf8.allSatisfy({ hexDigit($0) != nil }) else { return nil }
        return UInt64(digits, radix: radix).map { String($0) }
    }

    /// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
    private static func decimal(_ text: String) -> String? {
        var rest = Substring(text).utf8[...]
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative || rest.first == UInt8(ascii: "+") { rest.removeFirst() }
        var whole = digits(&rest)
        var fraction = ""
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            fraction = digits(&rest)
        }
        guard !(whole.isEmpty && fraction.isEmpty) else { return nil }
        var exponent = ""
        if let mark = rest.first, mark | 0x20 == UInt8(ascii: "e") {
            rest.removeFirst()
            if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") {
                exponent = rest.removeFirst() == UInt8(ascii: "-") ? "-" : ""
            }
            let power = digits(&rest)
            guard !power.isEmpty else { return nil }
            exponent = "e" + exponent + power
        }
        guard rest.isEmpty else { return nil }
        while whole.utf8.count > 1, whole.utf8.first == UInt8(ascii: "0") { whole.removeFirst() }
        if whole.isEmpty { whole = "0" }
        return (isNegative ? "-" : "") + whole + (fraction.isEmpty ? "" : "." + fraction) + exponent
    }

    private static func digits(_ rest: inout Substring.UTF8View.SubSequence) -> String {
        let taken = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        rest = rest[taken.endIndex...]
        return String(Substring(taken))
    }
}
