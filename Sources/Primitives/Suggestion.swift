/// The candidate that was most likely meant by `word`, for "did you mean …?".
///
/// Distance is the optimal string alignment distance (Damerau-Levenshtein without repeated edits of one place): at most 2,
/// and less than half of the word, so that short words do not match everything.
package func closest(to word: String, among candidates: some Sequence<String>) -> String? {
    let limit = min(2, max(1, (word.count - 1) / 2))
    return
        candidates
        .map { (candidate: $0, distance: editDistance(word.lowercased(), $0.lowercased())) }
        .filter { $0.distance <= limit && $0.candidate != word }
        .min { ($0.distance, $0.candidate) < ($1.distance, $1.candidate) }?
        .candidate
}

func editDistance(_ left: String, _ right: String) -> Int {
    let a = Array(left)
    let b = Array(right)
    guard !a.isEmpty, !b.isEmpty, abs(a.count - b.count) <= 8 else { return max(a.count, b.count) }
    var beforeLast: [Int] = []
    var last = Array(0...b.count)
    for i in 1...a.count {
        var row = [i]
        for j in 1...b.count {
            var best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
            if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                best = min(best, beforeLast[j - 2] + 1)
            }
            row.append(best)
        }
        beforeLast = last
        last = row
    }
    return last[b.count]
}
