extension JSONNumber {
    /// The number as PostgreSQL's `numeric` prints it, which `jsonb` keeps: without exponent, its trailing zeros kept.
    /// Nil for an exponent beyond what anybody means.
    package var plainDigits: String? {
        let bytes = digits.utf8
        guard bytes.contains(where: { $0 | 0x20 == UInt8(ascii: "e") }) || digits.hasPrefix("-0") else { return digits }
        let parts = digits.split(whereSeparator: { $0 == "e" || $0 == "E" })
        guard let exponent = parts.count == 2 ? Int(parts[1]) : 0, abs(exponent) <= 1000 else { return nil }
        let isNegative = parts[0].hasPrefix("-")
        let mantissa = parts[0].drop { $0 == "-" }.split(separator: ".", omittingEmptySubsequences: false)
        var whole = String(mantissa[0])
        var fraction = mantissa.count == 2 ? String(mantissa[1]) : ""
        if exponent >= 0 {
            let moved = fraction.prefix(exponent)
            whole += moved + String(repeating: "0", count: exponent - moved.count)
            fraction = String(fraction.dropFirst(moved.count))
        } else {
            let padded = String(repeating: "0", count: max(0, -exponent - whole.count)) + whole
            fraction = padded.suffix(-exponent) + fraction
            whole = String(padded.dropLast(-exponent))
        }
        whole = String(whole.drop { $0 == "0" })
        let isZero = whole.isEmpty && fraction.allSatisfy { $0 == "0" }
        return (isNegative && !isZero ? "-" : "") + (whole.isEmpty ? "0" : whole)
            + (fraction.isEmpty ? "" : "." + fraction)
    }

    /// Whether it has no fraction: `3`, `3.0` and `3e2` are integers (JSON Schema, section 4.2.3).
    package var isInteger: Bool {
        guard let plain = plainDigits else { return !digits.contains("-") }
        return plain.split(separator: ".").dropFirst().allSatisfy { $0.allSatisfy { $0 == "0" } }
    }

    /// By value, with all digits.
    package func isLess(than other: JSONNumber) -> Bool {
        guard let left = plainDigits, let right = other.plainDigits else {
            return (Double(digits) ?? .infinity) < (Double(other.digits) ?? .infinity)
        }
        switch (left.hasPrefix("-"), right.hasPrefix("-")) {
        case (true, false): return true
        case (false, true): return false
        case (false, false): return Self.isSmaller(left, right)
        case (true, true): return Self.isSmaller(String(right.dropFirst()), String(left.dropFirst()))
        }
    }

    private static func isSmaller(_ left: String, _ right: String) -> Bool {
        let (a, b) = (halves(left), halves(right))
        if a.whole.utf8.count != b.whole.utf8.count { return a.whole.utf8.count < b.whole.utf8.count }
        // Digits of the same place compare as texts, and a shorter fraction is the smaller one when it is a prefix.
        return (a.whole, a.fraction) < (b.whole, b.fraction)
    }

    private static func halves(_ text: String) -> (whole: String, fraction: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        var fraction = parts.count == 2 ? parts[1] : ""
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return (String(parts[0]), String(fraction))
    }
}

extension JSON {
    /// Equal as JSON values: numbers by value, members in any order.
    package func isEqualAsJSON(to other: JSON) -> Bool {
        switch (self, other) {
        case (.number(let left), .number(let right)): !left.isLess(than: right) && !right.isLess(than: left)
        case (.array(let left), .array(let right)):
            left.count == right.count && zip(left, right).allSatisfy { $0.isEqualAsJSON(to: $1) }
        case (.object(let left), .object(let right)):
            left.members.count == right.members.count
                && left.members.allSatisfy { member in
                    right[member.name].map { member.value.isEqualAsJSON(to: $0) } ?? false
                }
        case (.null, _), (.bool, _), (.number, _), (.string, _), (.array, _), (.object, _): self == other
        }
    }

    /// The text that PostgreSQL's `jsonb` has for this value: members by the length of their names and then by their bytes,
    /// a space behind `:` and `,`, numbers without exponent. What is sent at once and what is sent again from the database are
    /// the same bytes.
    package var jsonbText: String {
        var bytes: [UInt8] = []
        writeAsJSONB(into: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    package func writeAsJSONB(into bytes: inout [UInt8]) {
        switch self {
        case .null, .bool, .string: write(into: &bytes)
        case .number(let number): bytes += (number.plainDigits ?? number.digits).utf8
        case .array(let elements):
            bytes.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { bytes += ", ".utf8 }
                element.writeAsJSONB(into: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let object):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in object.sortedAsJSONB.enumerated() {
                if index > 0 { bytes += ", ".utf8 }
                JSON.string(member.name).write(into: &bytes)
                bytes += ": ".utf8
                member.value.writeAsJSONB(into: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }
}

extension JSONObject {
    /// In the order of `jsonb`; of members with the same name the last one.
    fileprivate var sortedAsJSONB: [(name: String, value: JSON)] {
        var sorted: [(name: String, value: JSON)] = []
        for member in members.enumerated().sorted(by: { left, right in
            let (a, b) = (left.element.name.utf8, right.element.name.utf8)
            if a.count != b.count { return a.count < b.count }
            return a.elementsEqual(b) ? left.offset < right.offset : a.lexicographicallyPrecedes(b)
        }) {
            if sorted.last?.name == member.element.name { sorted.removeLast() }
            sorted.append(member.element)
        }
        return sorted
    }
}
