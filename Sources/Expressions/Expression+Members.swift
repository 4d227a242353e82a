/// A name on a path into the input, with its place in the expression's source.
package struct PathMember: Sendable, Hashable {
    package let name: String
    /// In UTF-8 bytes.
    package let offset: Int
}

extension Expression {
    /// The members of the input that the expression reads for certain: `.payload` and `.key` of
    /// `.payload.total > 0 and .key != null`.
    package var inputMembers: [PathMember] { inputPaths.map { $0[0] } }

    /// The paths into the input that the expression reads for certain, each as far as its members are named:
    /// `.steps.charge` of `.steps.charge[0].id`. None is empty.
    ///
    /// What stands behind a `|`, in the arguments of a call, or where a variable is bound, may see another input and is not
    /// among them.
    package var inputPaths: [[PathMember]] {
        guard let tokens = try? JQLexer.tokens(of: source) else { return [] }
        var paths: [[PathMember]] = []
        // Whether what stands in each open bracket sees the same input.
        var groups: [Bool] = []
        for (index, token) in tokens.enumerated() {
            let before = index > 0 ? tokens[index - 1].kind : nil
            let beginsTerm = Self.beginsTerm(after: before)
            switch token.kind {
            case .symbol("|"), .symbol("|="): return paths
            case .identifier(let name) where Self.rebinding.contains(name): return paths
            case .symbol("(") where before == .interpolated || before == .symbol(")"): groups.append(true)
            case .symbol(let bracket) where "([{".contains(bracket): groups.append(beginsTerm)
            case .symbol(let bracket) where ")]}".contains(bracket): _ = groups.popLast()
            case .field, .symbol("."):
                guard beginsTerm, groups.allSatisfy(\.self) else { break }
                let path = Self.path(tokens[index...])
                if !path.isEmpty { paths.append(path) }
            default: break
            }
        }
        return paths
    }

    /// The named members with which a term begins: `.a`, `."a"`, `.["a"]`, `["a"]`, with `?` or without.
    private static func path(_ tokens: ArraySlice<JQToken>) -> [PathMember] {
        var path: [PathMember] = []
        var rest = tokens
        while let token = rest.popFirst() {
            switch token.kind {
            case .field(let name): path.append(PathMember(name: name, offset: token.offset))
            case .symbol("."):
                switch rest.first?.kind {
                case .string(let name):
                    path.append(PathMember(name: name, offset: token.offset))
                    rest.removeFirst()
                case .symbol("["): break
                default: return path
                }
            case .symbol("["):
                guard case .string(let name)? = rest.popFirst()?.kind, rest.popFirst()?.kind == .symbol("]") else {
                    return path
                }
                path.append(PathMember(name: name, offset: token.offset))
            case .symbol("?"): break
            default: return path
            }
        }
        return path
    }

    private static let rebinding: Set<String> = ["as", "def", "reduce", "foreach", "label", "try", "catch"]
    private static let keywords: Set<String> = ["and", "or", "if", "then", "elif", "else"]
    private static let operators: Set<String> = [
        "(", "[", "{", ":", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "//", ",",
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
