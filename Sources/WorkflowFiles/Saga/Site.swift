internal import Expressions
internal import Primitives
internal import Sagas

/// A part of a saga's document, or a schedule's, in which all expressions see the same. What they see is checked when all steps are known.
struct Site {
    enum Part {
        /// The saga's `key:`.
        case key
        /// What a step sends, computes or waits for.
        case forward
        /// A step's `output:`.
        case output
        case compensation
        /// The saga's `output:`.
        case result
        /// `on_completed:` and its like.
        case hook
        /// What a schedule publishes or starts: it belongs to no saga.
        case schedule
    }

    /// An expression where it stands.
    struct Use {
        let located: LocatedExpression
        let part: Part
    }

    /// What has been read of a step, or of a saga outside of its steps.
    final class Uses {
        fileprivate(set) var all: [Use] = []
    }

    let part: Part
    let uses: Uses
    let report: Report

    /// Another part of the same step.
    func part(_ part: Part) -> Site { Site(part: part, uses: uses, report: report) }

    // MARK: - Values

    func template(_ node: Node, _ what: String) -> Template? {
        guard let template = node.template(what, report), case .scalar(let scalar) = node else { return nil }
        uses.all += scalar.located(template).map { Use(located: $0, part: part) }
        return template
    }

    /// A value that is one expression and nothing else.
    func expression(_ node: Node, _ what: String) -> Expression? {
        guard let located = node.expression(what, report) else { return nil }
        uses.all.append(Use(located: located, part: part))
        return located.expression
    }

    /// Any value, with expressions in its texts.
    func value(_ node: Node, _ what: String) -> ValueTemplate? {
        switch node {
        case .scalar(let scalar):
            guard scalar.value.string != nil else { return .literal(scalar.value) }
            return template(node, what).map { $0.literal.map { .literal(.string($0)) } ?? .text($0) }
        case .sequence(let nodes, _):
            let elements = nodes.map { value($0, what) }
            return elements.contains { $0 == nil } ? nil : .array(elements.compactMap(\.self))
        case .mapping(let mapping): return object(mapping, what)
        }
    }

    /// Members come in the order of `Definition.content`, so that a definition is the same wherever it was read from.
    func object(_ mapping: Node.Mapping, _ what: String) -> ValueTemplate? {
        let members = mapping.entries.map { entry -> ValueTemplate.Member? in
            let value = value(entry.value, what)
            guard !entry.name.contains("${") else {
                report.error(
                    at: entry.namePosition, "an expression stands in the name of a member", expected: "a literal name",
                    suggestion: "make the whole object in one expression: '${ {(.input.name): 1} }'")
                return nil
            }
            return value.map { ValueTemplate.Member(name: entry.name, value: $0) }
        }
        guard !members.contains(where: { $0 == nil }) else { return nil }
        return .object(members.compactMap(\.self).sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) })
    }
}

extension Template {
    /// The text, when no expression is in it.
    fileprivate var literal: String? {
        guard expressions.isEmpty else { return nil }
        return parts.map { if case .text(let text) = $0 { text } else { "" } }.joined()
    }
}
