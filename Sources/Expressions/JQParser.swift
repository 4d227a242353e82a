/// Reads the tokens of a jq expression. What jq would refuse may pass; what is not understood gives nil, never a guess.
struct JQParser {
    /// Of terms inside terms, and of brackets behind one: a hostile expression must not take the stack.
    private static let depthLimit = 200
    private static let keywords: Set<String> = [
        "def", "reduce", "foreach", "if", "then", "else", "elif", "end", "as", "try", "catch", "label", "import",
        "include", "and", "or", "__loc__",
    ]
    private static let operators: Set<String> = ["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "?//"]
    private static let updates: Set<String> = ["+=", "-=", "*=", "/=", "%=", "//="]

    private struct NotUnderstood: Error {}

    private var rest: ArraySlice<JQToken>
    private var depth = 0

    static func syntax(of tokens: [JQToken]) -> JQSyntax? {
        var parser = JQParser(rest: tokens[...])
        guard let syntax = try? parser.pipe(), parser.rest.isEmpty else { return nil }
        return syntax
    }

    private init(rest: ArraySlice<JQToken>) {
        self.rest = rest
    }

    // MARK: - Tokens

    private var next: JQToken.Kind? { rest.first?.kind }

    private mutating func take(_ symbol: String) -> Bool {
        guard next == .symbol(symbol) else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func takeWord(_ word: String) -> Bool {
        guard next == .identifier(word) else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func expect(_ symbol: String) throws(NotUnderstood) {
        guard take(symbol) else { throw NotUnderstood() }
    }

    private mutating func expectWord(_ word: String) throws(NotUnderstood) {
        guard takeWord(word) else { throw NotUnderstood() }
    }

    private mutating func pop() throws(NotUnderstood) -> JQToken {
        guard let token = rest.popFirst() else { throw NotUnderstood() }
        return token
    }

    private mutating func goDeeper() throws(NotUnderstood) {
        guard depth < Self.depthLimit else { throw NotUnderstood() }
        depth += 1
    }

    // MARK: - Operators

    /// A whole expression.
    ///
    /// - Parameter endsAtComma: the value of a member of an object.
    private mutating func pipe(endsAtComma: Bool = false) throws(NotUnderstood) -> JQSyntax {
        try goDeeper()
        defer { depth -= 1 }
        var stages = [try alternatives(endsAtComma)]
        while take("|") { stages.append(try alternatives(endsAtComma)) }
        return stages.count == 1 ? stages[0] : .pipe(stages)
    }

    /// What binds closer than `|`. Which operator binds closer than which does not matter, but for those that assign.
    private mutating func alternatives(_ endsAtComma: Bool) throws(NotUnderstood) -> JQSyntax {
        var all: [JQSyntax] = []
        repeat { all.append(try assignment(endsAtComma)) } while take("//") || !endsAtComma && take(",")
        return all.count == 1 ? all[0] : .parts(all)
    }

    private mutating func assignment(_ endsAtComma: Bool) throws(NotUnderstood) -> JQSyntax {
        let target = try operation(endsAtComma)
        // What is set need not be there before, and what is put there sees the whole input.
        if take("=") { return .parts([try operation(endsAtComma)]) }
        if take("|=") { return .parts([.pipe([target, try operation(endsAtComma)])]) }
        guard case .symbol(let symbol)? = next, Self.updates.contains(symbol) else { return target }
        rest.removeFirst()
        return .parts([target, try operation(endsAtComma)])
    }

    private mutating func operation(_ endsAtComma: Bool) throws(NotUnderstood) -> JQSyntax {
        var operands = [try operand(endsAtComma)]
        while takeOperator() { operands.append(try operand(endsAtComma)) }
        return operands.count == 1 ? operands[0] : .parts(operands)
    }

    private mutating func takeOperator() -> Bool {
        switch next {
        case .symbol(let symbol) where Self.operators.contains(symbol): break
        case .identifier("and"), .identifier("or"): break
        default: return false
        }
        rest.removeFirst()
        return true
    }

    /// A term, or what begins with a word and goes on as far as it can.
    private mutating func operand(_ endsAtComma: Bool) throws(NotUnderstood) -> JQSyntax {
        if take("-") {
            while take("-") {}
            return .parts([try term()])
        }
        if takeWord("def") { return try definition(endsAtComma) }
        if takeWord("label") {
            guard case .variable = try pop().kind else { throw NotUnderstood() }
            try expect("|")
            return try pipe(endsAtComma: endsAtComma)
        }
        let term = try term()
        guard takeWord("as") else { return term }
        let names = try patterns()
        try expect("|")
        return .binding(term, name: names.whole, others: names.parts, body: try pipe(endsAtComma: endsAtComma))
    }

    private mutating func definition(_ endsAtComma: Bool) throws(NotUnderstood) -> JQSyntax {
        guard case .identifier(let name) = try pop().kind else { throw NotUnderstood() }
        var parameters: [String] = []
        if take("(") {
            repeat {
                switch try pop().kind {
                case .identifier(let name): parameters.append(name)
                case .variable(let name): parameters.append("$" + name)
                default: throw NotUnderstood()
                }
            } while take(";")
            try expect(")")
        }
        try expect(":")
        let body = try pipe()
        try expect(";")
        let function = JQSyntax.Function(name: name, parameters: parameters, body: body)
        return .definition(function, rest: try pipe(endsAtComma: endsAtComma))
    }

    /// `$name`, or `[$a, {b: $c}]`, or several such with `?//` between: their names.
    private mutating func patterns() throws(NotUnderstood) -> (whole: String?, parts: [String]) {
        var names: [String] = []
        var isWhole = false
        var count = 0
        repeat {
            count += 1
            var open = 0
            isWhole = false
            repeat {
                switch try pop().kind {
                case .variable(let name):
                    names.append(name)
                    isWhole = open == 0
                case .symbol("["), .symbol("{"), .symbol("("): open += 1
                case .symbol("]"), .symbol("}"), .symbol(")"): open -= 1
                default: if open == 0 { throw NotUnderstood() }
                }
            } while open > 0
        } while take("?//")
        return isWhole && count == 1 ? (names.first, []) : (nil, names)
    }

    // MARK: - Terms

    private mutating func term() throws(NotUnderstood) -> JQSyntax {
        try goDeeper()
        defer { depth -= 1 }
        var term = try beginning()
        var members: [PathMember] = []
        func soFar() -> JQSyntax { members.isEmpty ? term : .members(term, members) }
        var brackets = 0
        while let token = rest.first {
            switch token.kind {
            case .field(let name):
                rest.removeFirst()
                members.append(PathMember(name: name, offset: token.offset))
            case .symbol("."):
                rest.removeFirst()
                switch next {
                case .string(let name):
                    rest.removeFirst()
                    members.append(PathMember(name: name, offset: token.offset))
                case .interpolated:
                    term = .parts([soFar(), try string()])
                    members = []
                case .symbol("["): break
                default: throw NotUnderstood()
                }
            case .symbol("["):
                if let name = literalIndex() {
                    members.append(PathMember(name: name, offset: token.offset))
                } else {
                    brackets += 1
                    guard brackets <= Self.depthLimit else { throw NotUnderstood() }
                    term = .parts([soFar()] + (try index()))
                    members = []
                }
            case .symbol("?"): rest.removeFirst()
            default: return soFar()
            }
        }
        return soFar()
    }

    /// `["name"]`
    private mutating func literalIndex() -> String? {
        var inside = rest.dropFirst()
        guard case .string(let name)? = inside.popFirst()?.kind, inside.popFirst()?.kind == .symbol("]") else {
            return nil
        }
        rest = inside
        return name
    }

    /// `[]`, `[e]`, `[from:to]`: what stands in it sees the term's input, not its value.
    private mutating func index() throws(NotUnderstood) -> [JQSyntax] {
        try expect("[")
        var bounds: [JQSyntax] = []
        while !take("]") {
            if !take(":") { bounds.append(try pipe()) }
        }
        return bounds
    }

    private mutating func beginning() throws(NotUnderstood) -> JQSyntax {
        switch next {
        case .string, .interpolated: return try string()
        default: break
        }
        let token = try pop()
        switch token.kind {
        case .field(let name): return .members(.input, [PathMember(name: name, offset: token.offset)])
        case .symbol("."):
            switch next {
            case .string(let name):
                rest.removeFirst()
                return .members(.input, [PathMember(name: name, offset: token.offset)])
            case .interpolated: return try string()
            default: return .input
            }
        case .symbol(".."), .number: return .nothing
        case .format:
            switch next {
            case .string, .interpolated: return try string()
            default: return .nothing
            }
        case .variable(let name): return .variable(name)
        case .symbol("("):
            let inside = try pipe()
            try expect(")")
            return inside
        case .symbol("["):
            if take("]") { return .nothing }
            let inside = try pipe()
            try expect("]")
            return .parts([inside])
        case .symbol("{"): return try object()
        case .identifier(let word): return try begun(by: word)
        case .symbol, .string, .interpolated: throw NotUnderstood()
        }
    }

    private mutating func string() throws(NotUnderstood) -> JQSyntax {
        guard case .interpolated = try pop().kind else { return .nothing }
        var parts: [JQSyntax] = []
        while take("(") {
            parts.append(try pipe())
            try expect(")")
        }
        return .parts(parts)
    }

    /// `{a: .b, "c": 1, (.d): 2, e, $f}`
    private mutating func object() throws(NotUnderstood) -> JQSyntax {
        if take("}") { return .nothing }
        var parts: [JQSyntax] = []
        repeat {
            let key = try key()
            parts.append(key.computed)
            if take(":") {
                parts.append(try pipe(endsAtComma: true))
            } else if let name = key.name {
                parts.append(.members(.input, [name]))
            }
        } while take(",")
        try expect("}")
        return .parts(parts)
    }

    /// What is evaluated for it, and the member that `{name}` takes of the input.
    private mutating func key() throws(NotUnderstood) -> (computed: JQSyntax, name: PathMember?) {
        if next == .interpolated { return (try string(), nil) }
        let token = try pop()
        switch token.kind {
        case .identifier(let name), .string(let name): return (.nothing, PathMember(name: name, offset: token.offset))
        case .variable, .number: return (.nothing, nil)
        case .format: return (try string(), nil)
        case .symbol("("):
            let inside = try pipe()
            try expect(")")
            return (inside, nil)
        case .symbol, .field, .interpolated: throw NotUnderstood()
        }
    }

    // MARK: - Words

    private mutating func begun(by word: String) throws(NotUnderstood) -> JQSyntax {
        switch word {
        case "if": return try choice()
        case "try":
            let attempt = try term()
            // What fails gives nothing; what catches it sees the error.
            return takeWord("catch") ? .parts([attempt, .pipe([.nothing, try term()])]) : attempt
        case "reduce", "foreach": return try fold()
        case "break":
            guard case .variable = try pop().kind else { throw NotUnderstood() }
            return .nothing
        case _ where Self.keywords.contains(word): throw NotUnderstood()
        default:
            var arguments: [JQSyntax] = []
            if take("(") {
                repeat { arguments.append(try pipe()) } while take(";")
                try expect(")")
            }
            return .call(word, arguments)
        }
    }

    private mutating func choice() throws(NotUnderstood) -> JQSyntax {
        var conditions: [JQSyntax] = []
        var branches: [JQSyntax] = []
        repeat {
            conditions.append(try pipe())
            try expectWord("then")
            branches.append(try pipe())
        } while takeWord("elif")
        branches.append(takeWord("else") ? try pipe() : .input)
        try expectWord("end")
        return .choice(conditions, of: branches)
    }

    /// `reduce source as $name (first; update)`, `foreach … (first; update; extract)`
    private mutating func fold() throws(NotUnderstood) -> JQSyntax {
        let source = try term()
        try expectWord("as")
        let names = try patterns()
        try expect("(")
        let first = try pipe()
        var updates: [JQSyntax] = []
        while take(";") { updates.append(try pipe()) }
        try expect(")")
        // An update sees what has come together so far.
        let body = JQSyntax.pipe([.nothing, .parts(updates)])
        return .parts([first, .binding(source, name: names.whole, others: names.parts, body: body)])
    }
}
