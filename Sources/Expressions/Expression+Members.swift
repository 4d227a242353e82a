extension Expression {
    /// The members of the input that the expression reads for certain, with their place in its source: `.payload` and
    /// `.key` of `.payload.total > 0 and .key != null`.
    ///
    /// What stands behind a `|`, in the arguments of a call, or where a variable is bound, may see another input and is not
    /// among them.
    package var inputMembers: [(name: String, offset: Int)] {
        guard let tokens = try? JQLexer.tokens(of: source) else { return [] }
        var members: [(name: String, offset: Int)] = []
        // Whether each open bracket only groups.
        var groups: [Bool] = []
        for (index, token) in tokens.enumerated() {
            let before = index > 0 ? tokens[index - 1].kind : nil
            switch token.kind {
            case .symbol("|"), .symbol("|="): return members
            case .identifier(let name) where Self.rebinding.contains(name): return members
            case .symbol(let bracket) where "([{".contains(bracket):
                groups.append(bracket == "(" && Self.beginsTerm(after: before))
            case .symbol(let bracket) where ")]}".contains(bracket): _ = groups.popLast()
            case .field(let name) where groups.allSatisfy(\.self) && Self.beginsTerm(after: before):
                members.append((name, token.offset))
            default: break
            }
        }
        return members
    }

    private static let rebinding: Set<String> = ["as", "def", "reduce", "foreach", "label", "try", "catch"]
    private static let keywords: Set<String> = ["and", "or", "if", "then", "elif", "else"]
    private static let operators: Set<String> = [
        "(", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "//", ",",
    ]

    /// Whether a term can begin behind a token, rather than go on: `.b` begins one in `.a + .b` and not in `.a.b`.
    private static func beginsTerm(after token: JQToken.Kind?) -> Bool {
        switch token {
        case nil: true
        case .symbol(let symbol): operators.contains(symbol)
        case .identifier(let name): keywords.contains(name)
        case .field, .string, .interpolated, .variable, .number, .format: false
        }
    }
}
