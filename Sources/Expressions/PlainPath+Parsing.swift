extension PlainPath {
    /// Nil when the tokens are any other jq.
    init?(_ tokens: [JQToken]) {
        var reader = PathReader(rest: tokens[...])
        guard let root = reader.root() else { return nil }
        var segments: [Segment] = []
        while !reader.isAtEnd {
            guard let segment = reader.segment(isFirst: segments.isEmpty && root == .input) else { return nil }
            segments.append(segment)
        }
        // `$env` as a whole would carry every exposed variable into a result; let jq see to it.
        if root == .environment {
            guard segments.count == 1, case .member = segments[0] else { return nil }
        }
        self.init(root: root, segments: segments)
    }
}

private struct PathReader {
    var rest: ArraySlice<JQToken>

    var isAtEnd: Bool { rest.isEmpty }

    /// `$env`, or nothing: a path into the input begins with its first segment. `.` alone is the input itself.
    mutating func root() -> PlainPath.Root? {
        switch rest.first?.kind {
        case .variable("env"):
            rest.removeFirst()
            return .environment
        case .symbol("."):
            if rest.count == 1 { rest.removeFirst() }
            return .input
        case .field: return .input
        default: return nil
        }
    }

    /// `.name`, `."name"`, `[0]`, `["name"]`; the first bracket of a path needs a dot before it.
    mutating func segment(isFirst: Bool) -> PlainPath.Segment? {
        let token = rest.removeFirst()
        switch token.kind {
        case .field(let name): return .member(name)
        case .symbol("."):
            switch rest.first?.kind {
            case .string(let name):
                rest.removeFirst()
                return .member(name)
            case .symbol("["):
                rest.removeFirst()
                return bracketed()
            default: return nil
            }
        case .symbol("[") where !isFirst: return bracketed()
        default: return nil
        }
    }

    private mutating func bracketed() -> PlainPath.Segment? {
        let isNegative = rest.first?.kind == .symbol("-")
        if isNegative { rest.removeFirst() }
        let inside = rest.popFirst()?.kind
        guard rest.popFirst()?.kind == .symbol("]") else { return nil }
        switch inside {
        case .string(let name) where !isNegative: return .member(name)
        // Nine digits: any index that an array can have, and never an overflow.
        case .number(let digits) where digits.utf8.count <= 9:
            return Int(digits).map { .index(isNegative ? -$0 : $0) }
        default: return nil
        }
    }
}
