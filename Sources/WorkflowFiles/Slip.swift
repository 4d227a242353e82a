/// What stops YAML, and what to cover so that the text can be read on behind it.
struct Slip: Error {
    var finding: Finding
    /// Bytes of the text; empty when nobody can tell what was meant.
    var extent: [Range<Int>] = []
}
