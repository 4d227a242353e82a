/// Two lists side by side: a longest common subsequence, and what is only in one of them around it.
enum Alignment {
    enum Pair: Hashable {
        /// The same in both, by their places.
        case both(expected: Int, found: Int)
        case expected(Int)
        case found(Int)
    }

    /// The table of what is left between the common ends has no more cells than this; beyond it nothing there is brought
    /// into line.
    private static let cellLimit = 4_000_000

    /// What was expected and is not there stands before what is there instead.
    static func pairs(expected: Int, found: Int, _ isSame: (Int, Int) -> Bool) -> [Pair] {
        let shorter = min(expected, found)
        let head = (0..<shorter).first { !isSame($0, $0) } ?? shorter
        let tail = (0..<shorter - head).first { !isSame(expected - 1 - $0, found - 1 - $0) } ?? shorter - head
        return (0..<head).map { .both(expected: $0, found: $0) }
            + middle(head..<expected - tail, head..<found - tail, isSame)
            + (0..<tail).reversed().map { .both(expected: expected - 1 - $0, found: found - 1 - $0) }
    }

    private static func middle(_ expected: Range<Int>, _ found: Range<Int>, _ isSame: (Int, Int) -> Bool) -> [Pair] {
        guard !expected.isEmpty, !found.isEmpty, expected.count * found.count <= cellLimit else {
            return expected.map(Pair.expected) + found.map(Pair.found)
        }
        // length[i][j] of what is common to the rests from i and from j on.
        var length = Array(repeating: Array(repeating: 0, count: found.count + 1), count: expected.count + 1)
        for i in (0..<expected.count).reversed() {
            for j in (0..<found.count).reversed() {
                length[i][j] =
                    isSame(expected.lowerBound + i, found.lowerBound + j)
                    ? length[i + 1][j + 1] + 1 : max(length[i + 1][j], length[i][j + 1])
            }
        }
        var pairs: [Pair] = []
        var (i, j) = (0, 0)
        while i < expected.count || j < found.count {
            let places = (expected: expected.lowerBound + i, found: found.lowerBound + j)
            if i < expected.count, j < found.count, isSame(places.expected, places.found) {
                pairs.append(.both(expected: places.expected, found: places.found))
                (i, j) = (i + 1, j + 1)
            } else if j == found.count || i < expected.count && length[i + 1][j] >= length[i][j + 1] {
                pairs.append(.expected(places.expected))
                i += 1
            } else {
                pairs.append(.found(places.found))
                j += 1
            }
        }
        return pairs
    }
}
