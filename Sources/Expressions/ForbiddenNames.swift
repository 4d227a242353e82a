/// What of jq reaches out of the expression: other inputs, the process's environment, its output, its files; and numbers that jq
/// would change.
enum ForbiddenNames {
    private static let calls: [String: String] = [
        "input": "an expression sees one input, '.'", "inputs": "an expression sees one input, '.'",
        "env": "use $env.NAME with a variable listed in OUTRIDER_EXPOSE_ENV",
        "debug": "an expression has no output but its value", "stderr": "an expression has no output but its value",
        "halt": "use error(…) to fail", "halt_error": "use error(…) to fail",
        "input_filename": "an expression sees one input, '.'", "input_line_number": "an expression sees one input, '.'",
        "modulemeta": "an expression cannot read modules", "get_search_list": "an expression cannot read modules",
        "import": "an expression cannot read modules", "include": "an expression cannot read modules",
    ]
    private static let variables: [String: String] = [
        "ENV": "use $env.NAME with a variable listed in OUTRIDER_EXPOSE_ENV",
        "__loc__": "an expression has no place that its value could depend on",
        "__prog_args": "use $env.NAME with a variable listed in OUTRIDER_EXPOSE_ENV",
    ]

    static func check(_ tokens: [JQToken]) throws(ExpressionError) {
        for (index, token) in tokens.enumerated() {
            switch token.kind {
            case .identifier(let name) where !isKey(at: index, in: tokens):
                if let reason = calls[name] {
                    throw .syntax(message: "'\(name)' is not available in expressions; \(reason)", offset: token.offset)
                }
                if name.contains("::") {
                    throw .syntax(
                        message: "'\(name)' names a module; an expression cannot read modules", offset: token.offset)
                }
            case .variable(let name):
                if let reason = variables[name] {
                    throw .syntax(
                        message: "'$\(name)' is not available in expressions; \(reason)", offset: token.offset)
                }
                if name.contains("::") {
                    throw .syntax(
                        message: "'$\(name)' names a module; an expression cannot read modules", offset: token.offset)
                }
            case .number(let digits) where InexactNumber.isInexact(digits):
                throw .syntax(
                    message:
                        "the integer \(digits) is beyond 2^53, and jq would change it; give it in the input, or in YAML outside of the expression",
                    offset: token.offset)
            default: break
            }
        }
    }

    /// In `{input: 1}` and `{input}` the word names a member and calls nothing.
    private static func isKey(at index: Int, in tokens: [JQToken]) -> Bool {
        guard index > 0 else { return false }
        switch tokens[index - 1].kind {
        case .symbol("{"): return true
        case .symbol(","): return innermostBracket(before: index, in: tokens) == "{"
        default: return false
        }
    }

    private static func innermostBracket(before index: Int, in tokens: [JQToken]) -> String? {
        var closed = 0
        for token in tokens[..<index].reversed() {
            switch token.kind {
            case .symbol(let bracket) where ")]}".contains(bracket): closed += 1
            case .symbol(let bracket) where "([{".contains(bracket):
                if closed == 0 { return bracket }
                closed -= 1
            default: break
            }
        }
        return nil
    }
}
