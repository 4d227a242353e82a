/// What stands between `${` and its closing brace, checked but not yet compiled.
package struct Expression: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// Resolved by our own code, digits kept.
        case path(PlainPath)
        /// Everything else: run by libjq in a process of its own.
        case jq
    }

    /// The text without the braces and without space around it.
    package let source: String
    package let kind: Kind

    /// - Throws: `ExpressionError.syntax` for what the lexer refuses: unbalanced brackets, unfinished strings, names that
    ///   reach out of the expression (`input`, `env`, `debug`, …). Whether libjq compiles it is told by `Evaluator.check`.
    package init(_ source: String) throws(ExpressionError) {
        let tokens = try JQLexer.tokens(of: source)
        if let offset = source.utf8.enumerated().first(where: { $0.element == 0 })?.offset {
            throw .syntax(message: "the expression holds a NUL character", offset: offset)
        }
        guard !tokens.isEmpty else { throw .syntax(message: "the expression is empty", offset: 0) }
        try ForbiddenNames.check(tokens)
        self.source = source
        kind = PlainPath(tokens).map(Kind.path) ?? .jq
    }

    package var path: PlainPath? {
        if case .path(let path) = kind { path } else { nil }
    }
}

extension Expression: CustomStringConvertible {
    package var description: String { "${ \(source) }" }
}
