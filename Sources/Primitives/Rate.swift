/// So many in a length of time: `100/s`, `20/m`, `5/h`.
package struct Rate: Sendable, Hashable {
    package let count: Int
    package let period: Duration

    private static let periods: [(unit: String, length: Duration)] = [
        ("s", .seconds(1)), ("m", .seconds(60)), ("h", .seconds(3600)),
    ]

    /// Nil for anything else, and for counts that are not from 1 to 1,000,000.
    package init?(text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let first = parts[0].utf8.first,
            (UInt8(ascii: "1")...UInt8(ascii: "9")).contains(first),
            let count = Int(parts[0]), count <= 1_000_000,
            let period = Self.periods.first(where: { $0.unit == parts[1] })?.length
        else { return nil }
        self.count = count
        self.period = period
    }

    package var perSecond: Double { Double(count) / period.seconds }

    /// In millionths per second: whole, so that it can be divided among workers without losing any.
    package var millionths: Int64 { Int64(count) * 1_000_000_000_000 / period.microseconds }

    package var text: String {
        "\(count)/\(Self.periods.first { $0.length == period }?.unit ?? period.text)"
    }
}
