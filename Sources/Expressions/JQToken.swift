/// A token of jq's grammar (jq 1.6, `lexer.l`).
struct JQToken: Hashable {
    enum Kind: Hashable {
        /// `.name`
        case field(String)
        /// A quoted string without interpolation, unescaped.
        case string(String)
        /// A string with `\( … )` in it; the tokens of the interpolations follow as tokens of their own.
        case interpolated
        /// `name` or `module::name`, keywords too.
        case identifier(String)
        /// `$name`
        case variable(String)
        case number(String)
        /// `@base64`
        case format(String)
        /// Brackets and operators.
        case symbol(String)
    }

    let kind: Kind
    /// Where it begins, in UTF-8 bytes.
    let offset: Int
}
