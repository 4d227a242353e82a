package import Primitives

/// A text with `${ … }` in it; `$${` stands for a literal `${`.
package struct Template: Sendable, Hashable {
    package enum Part: Sendable, Hashable {
        case text(String)
        case expression(Expression)
    }

    /// As it was written.
    package let source: String
    /// Never two texts in a row, never an empty text.
    package let parts: [Part]
    /// Where the source of each expression begins in `source`, in UTF-8 bytes.
    package let expressionOffsets: [Int]

    /// - Throws: `ExpressionError.syntax` with an offset into `source`.
    package init(_ source: String) throws(ExpressionError) {
        self.source = source
        (parts, expressionOffsets) = try TemplateParser.parts(of: source)
    }

    package var expressions: [Expression] {
        parts.compactMap { part in
            if case .expression(let expression) = part { expression } else { nil }
        }
    }

    /// The one expression that the text consists of, space around it aside; it then yields a value, not a text.
    package var wholeExpression: Expression? {
        let significant = parts.filter { part in
            if case .text(let text) = part { !text.utf8.allSatisfy { $0 == 0x20 || $0 == 0x0A } } else { true }
        }
        guard significant.count == 1, case .expression(let expression) = significant[0] else { return nil }
        return expression
    }

    /// Every part is text or a plain path: no jq is needed.
    package var isPlain: Bool { expressions.allSatisfy { $0.path != nil } }

    /// The text, with the values of plain paths put in; a string as it is, any other value as JSON.
    ///
    /// - Precondition: `isPlain`; the checker sees to it.
    package func resolve(in input: JSON = .null, environment: [String: String]) throws(ExpressionError) -> String {
        var text = ""
        for part in parts {
            switch part {
            case .text(let literal): text += literal
            case .expression(let expression):
                guard let path = expression.path else { preconditionFailure("\(expression) is not a plain path") }
                let value = try path.resolve(in: input, environment: environment)
                text += value.string ?? value.text
            }
        }
        return text
    }
}
