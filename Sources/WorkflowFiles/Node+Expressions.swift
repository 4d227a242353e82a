internal import Expressions
internal import Primitives

extension Node {
    /// A text with `${ … }` in it.
    func template(_ what: String, _ report: Report) -> Template? {
        guard let scalar = scalarText(what, report) else { return nil }
        return Self.template(scalar, report)
    }

    /// A value that is one expression and nothing else.
    func expression(_ what: String, _ report: Report) -> Expression? {
        guard case .scalar(let scalar) = self, scalar.value.string != nil else {
            report.error(at: position, "\(called) stands for \(what)", expected: "an expression: ${ … }")
            return nil
        }
        guard let template = Self.template(scalar, report) else { return nil }
        guard let expression = template.wholeExpression else {
            report.error(
                at: position, "\(called) stands for \(what)", expected: "one expression and nothing around it: ${ … }",
                suggestion: template.expressions.isEmpty ? "write ${ \(scalar.text) }" : nil)
            return nil
        }
        return expression
    }

    private static func template(_ scalar: Scalar, _ report: Report) -> Template? {
        do throws(ExpressionError) {
            let template = try Template(scalar.text)
            for expression in template.expressions where expression.path == nil {
                report.note(expression, at: scalar.position(of: expression))
            }
            return template
        } catch {
            if let slip = ExpressionSlip.explain(cut: scalar) {
                report.add(slip)
            } else if case .syntax(let message, let offset) = error {
                report.error(at: scalar.position(ofByte: offset), message)
            }
            return nil
        }
    }
}

extension Node.Scalar {
    /// Where the source of an expression that was found in this text has a byte.
    func position(of expression: Expression, byte: Int = 0) -> Position {
        let text = Array(self.text.utf8)
        let source = Array(expression.source.utf8)
        for start in text.indices where text[start...].starts(with: "${".utf8) {
            let inside = text[(start + 2)...].drop { $0 == 0x20 || (0x09...0x0D).contains($0) }
            if inside.starts(with: source) { return position(ofByte: inside.startIndex + byte) }
        }
        return position
    }
}
