extension Duration {
    private static let words: [Substring: Int64] = {
        let units: [(microseconds: Int64, names: String)] = [
            (1000, "ms msec msecs millis millisecond milliseconds"), (1_000_000, "s sec secs second seconds"),
            (60_000_000, "m min mins minute minutes"), (3_600_000_000, "h hr hrs hour hours"),
            (86_400_000_000, "d day days"), (604_800_000_000, "w week weeks"),
        ]
        let pairs = units.flatMap { unit in unit.names.split(separator: " ").map { ($0, unit.microseconds) } }
        return Dictionary(uniqueKeysWithValues: pairs)
    }()

    /// The duration that was meant by a text which is none: `5s` by `5 s`, `4h` by `4hours`, `90m` by `1h30m`, `7d` by `1w`.
    package static func meant(by text: String) -> String? {
        guard text.utf8.count <= 100 else { return nil }
        var rest = text.lowercased().filter { $0 != " " }[...]
        var total = Duration.zero
        repeat {
            let number = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest[number.endIndex...]
            let word = rest.prefix { $0.isLetter }
            rest = rest[word.endIndex...]
            guard let unit = words[word], let part = length(String(number), of: unit) else { return nil }
            total += part
        } while !rest.isEmpty
        return Duration(text: total.text) == nil ? nil : total.text
    }
}
