/// A jq expression as far as it matters which input its parts see (jq 1.6, `parser.y`).
indirect enum JQSyntax {
    /// `.`
    case input
    /// `.a.b`, `.steps["a"]`: named members of what the first gives.
    case members(JQSyntax, [PathMember])
    /// All see the same input; what comes of them is something new: `.a + .b`, `[.a]`, `{a: .b}`, `"x\(.a)"`, `.a[.b]`.
    case parts([JQSyntax])
    /// Each sees what the one before gives.
    case pipe([JQSyntax])
    /// The first list is asked, one of the second given.
    case choice([JQSyntax], of: [JQSyntax])
    /// `source as $name | body`; without a name the variables are made of parts of the source.
    case binding(JQSyntax, name: String?, others: [String], body: JQSyntax)
    case variable(String)
    /// `def name(parameters): body; rest`
    case definition(Function, rest: JQSyntax)
    case call(String, [JQSyntax])

    struct Function {
        let name: String
        /// As they are written, with `$` or without.
        let parameters: [String]
        let body: JQSyntax
    }

    static var nothing: JQSyntax { .parts([]) }
}
