extension Duration {
    /// Reads `250ms`, `5s`, `10m`, `2h`, `7d`, or the ISO 8601 forms without years and months (`PT5S`, `P1DT2H30M`).
    /// Nil for anything else, for negative lengths, and for lengths beyond 10,000 days.
    package init?(text: String) {
        guard let parsed = Self.parsed(text), parsed <= Self.longest else { return nil }
        self = parsed
    }

    /// Whether a text is a duration, but beyond what `init` takes.
    package static func isTooLong(_ text: String) -> Bool { parsed(text).map { $0 > longest } ?? false }

    private static let longest = Duration.seconds(86_400 * 10_000)

    private static func parsed(_ text: String) -> Duration? { text.first == "P" ? iso8601(text) : short(text) }

    private static let units: [(suffix: String, microseconds: Int64)] = [
        ("ms", 1000), ("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000),
    ]

    private static func short(_ text: String) -> Duration? {
        guard let unit = units.first(where: { text.hasSuffix($0.suffix) }) else { return nil }
        return length(String(text.dropLast(unit.suffix.count)), of: unit.microseconds)
    }

    private static func iso8601(_ text: String) -> Duration? {
        var total = Duration.zero
        var number = ""
        var inTime = false
        var allowed = Substring("DTHMS")
        var parts = 0
        for character in text.dropFirst() {
            guard !character.isNumber && character != "." else {
                number.append(character)
                continue
            }
            guard let place = allowed.firstIndex(of: character) else { return nil }
            allowed = allowed[allowed.index(after: place)...]
            if character == "T" {
                guard number.isEmpty else { return nil }
                inTime = true
                continue
            }
            let unit: Int64
            switch character {
            case "D" where !inTime: unit = 86_400_000_000
            case "H" where inTime: unit = 3_600_000_000
            case "M" where inTime: unit = 60_000_000
            case "S" where inTime: unit = 1_000_000
            default: return nil
            }
            guard let part = length(number, of: unit) else { return nil }
            total += part
            number = ""
            parts += 1
        }
        return number.isEmpty && parts > 0 && text.last != "T" ? total : nil
    }

    /// A decimal number of units, in exact integer arithmetic; digits below a microsecond are refused.
    static func length(_ number: String, of unit: Int64) -> Duration? {
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (48...57).contains($0) } }),
            let whole = Int64(parts[0])
        else { return nil }
        var (total, overflow) = whole.multipliedReportingOverflow(by: unit)
        guard !overflow else { return nil }
        if parts.count == 2 {
            var scale = unit
            for digit in parts[1].utf8 {
                guard scale % 10 == 0 else { return nil }
                scale /= 10
                (total, overflow) = total.addingReportingOverflow(scale * Int64(digit - 48))
                guard !overflow else { return nil }
            }
        }
        return .microseconds(total)
    }

    /// The shortest exact form with one unit: `90s`, `2m`, `7d`, `1500ms`; below a millisecond `0.25ms`.
    package var text: String {
        let total = microseconds
        if total == 0 { return "0s" }
        for suffix in ["d", "h", "m", "s", "ms"] {
            let unit = Self.units.first { $0.suffix == suffix }!.microseconds
            if total % unit == 0 { return "\(total / unit)\(suffix)" }
        }
        let fraction = String(1000 + total % 1000).dropFirst()
        return "\(total / 1000).\(fraction)ms"
    }
}

extension Duration {
    /// Whole microseconds, cut off, saturated at the ends of `Int64`.
    package var microseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        return product.addingSaturated(attoseconds / 1_000_000_000_000)
    }

    package var milliseconds: Int64 { microseconds / 1000 }

    package var seconds: Double { Double(microseconds) / 1_000_000 }
}

extension FixedWidthInteger {
    func addingSaturated(_ other: Self) -> Self {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }
}
