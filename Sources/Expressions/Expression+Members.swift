/// A name on a path into the input, with its place in the expression's source.
package struct PathMember: Sendable, Hashable {
    package let name: String
    /// In UTF-8 bytes.
    package let offset: Int
}

extension Expression {
    /// The members of the input that the expression reads for certain: `.payload` and `.key` of
    /// `.payload.total > 0 and .key != null`. Each place once.
    package var inputMembers: [PathMember] {
        var seen: Set<PathMember> = []
        return inputPaths.compactMap { seen.insert($0[0]).inserted ? $0[0] : nil }
    }

    /// The paths into the input that the expression reads for certain, each as far as its members are named:
    /// `.steps.charge` of `.steps.charge[0].id`. None is empty; of a very long one the beginning.
    ///
    /// What may see another input is not among them: the arguments of `map`, what stands behind `.items[] |`.
    package var inputPaths: [[PathMember]] {
        guard let tokens = try? JQLexer.tokens(of: source), let syntax = JQParser.syntax(of: tokens) else { return [] }
        return PathFinder.paths(of: syntax)
    }
}
