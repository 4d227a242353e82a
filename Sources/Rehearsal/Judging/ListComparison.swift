/// Compares two lists whose elements have a name each, and shows the two side by side.
struct ListComparison {
    /// `call`, `message`.
    let noun: String
    /// What each element is called.
    let expectedNames: [String]
    let foundNames: [String]
    /// The whole of an element, for its line.
    let expectedLine: (Int) -> String
    let foundLine: (Int) -> String
    /// Whether two elements are the same but for what `mismatches` tells; the lists are brought into line by it.
    let isSame: (_ expected: Int, _ found: Int) -> Bool
    let mismatches: (_ expected: Int, _ found: Int) -> [String]

    /// Nil when the lists are as expected.
    func difference(_ subject: String) -> Difference? {
        let pairs = Alignment.pairs(expected: expectedNames.count, found: foundNames.count, isSame)
        var lines: [String] = []
        var summary: String?
        for (place, pair) in pairs.enumerated() {
            switch pair {
            case .both(let expected, let found):
                let wrong = mismatches(expected, found)
                guard !wrong.isEmpty else {
                    lines.append("  \(foundNames[found])")
                    continue
                }
                summary = summary ?? "\(noun) \(found + 1), \(foundNames[found]): \(wrong[0])"
                lines += ["- \(expectedLine(expected))", "+ \(foundLine(found))"] + wrong.map { "      \($0)" }
            case .expected(let expected):
                summary = summary ?? missing(expected, place, pairs)
                lines.append("- \(expectedLine(expected))")
            case .found(let found):
                summary = summary ?? "\(noun) \(found + 1) is \(foundNames[found]), which was not expected"
                lines.append("+ \(foundLine(found))")
            }
        }
        return summary.map { Difference(subject, $0, lines: lines) }
    }

    /// In words, with what came instead, if anything did.
    private func missing(_ expected: Int, _ place: Int, _ pairs: [Alignment.Pair]) -> String {
        let found = pairs[..<place].count { if case .expected = $0 { false } else { true } }
        guard found < foundNames.count else {
            return "\(noun) \(found + 1), \(expectedNames[expected]), is missing at the end"
        }
        return "\(noun) \(found + 1) is \(foundNames[found]); expected \(expectedNames[expected])"
    }
}
