package import Expressions
package import Primitives

/// A JSON value with `${ … }` in its texts: a text that is one expression yields its value, inside a text it is put in as
/// a string.
package indirect enum ValueTemplate: Sendable, Hashable {
    case literal(JSON)
    case text(Template)
    case array([ValueTemplate])
    /// Members in their order; names are literal.
    case object([Member])

    package struct Member: Sendable, Hashable {
        package var name: String
        package var value: ValueTemplate

        package init(name: String, value: ValueTemplate) {
            self.name = name
            self.value = value
        }
    }

    /// In the order in which they stand.
    package var expressions: [Expression] {
        switch self {
        case .literal: []
        case .text(let template): template.expressions
        case .array(let elements): elements.flatMap(\.expressions)
        case .object(let members): members.flatMap(\.value.expressions)
        }
    }

    /// - Parameter value: of each expression.
    package func resolve(_ value: (Expression) throws(ExpressionError) -> JSON) throws(ExpressionError) -> JSON {
        switch self {
        case .literal(let json): return json
        case .text(let template):
            if let whole = template.wholeExpression { return try value(whole) }
            return .string(try template.text(value))
        case .array(let elements):
            var values: [JSON] = []
            for element in elements { values.append(try element.resolve(value)) }
            return .array(values)
        case .object(let members):
            var values: [(name: String, value: JSON)] = []
            for member in members { values.append((member.name, try member.value.resolve(value))) }
            return .object(JSONObject(values))
        }
    }
}

extension Template {
    /// The text with the values put in: a string as it is, any other value as JSON.
    package func text(_ value: (Expression) throws(ExpressionError) -> JSON) throws(ExpressionError) -> String {
        var text = ""
        for part in parts {
            switch part {
            case .text(let literal): text += literal
            case .expression(let expression):
                let value = try value(expression)
                text += value.string ?? value.text
            }
        }
        return text
    }
}
