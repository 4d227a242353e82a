internal import Expressions
internal import Primitives

extension Node {
    /// A text with `${ … }` in it.
    func template(_ what: String, _ report: Report) -> Template? {
        guard let scalar = scalarText(what, report) else { return nil }
        return Self.template(scalar, report)
    }

    /// A value that is one expression and nothing else.
    func expression(_ what: String, _ report: Report) -> LocatedExpression? {
        guard case .scalar(let scalar) = self, scalar.value.string != nil else {
            report.error(at: position, "\(called) stands for \(what)", expected: "an expression: ${ … }")
            return nil
        }
        guard let template = Self.template(scalar, report) else { return nil }
        guard template.wholeExpression != nil else {
            report.error(
                at: position, "\(called) stands for \(what)", expected: "one expression and nothing around it: ${ … }",
                suggestion: template.expressions.isEmpty ? Self.expressionMeant(by: scalar.text) : nil)
            return nil
        }
        return scalar.located(template).first
    }

    /// What to write if a text can be jq; of a word or a time nobody can tell what was meant.
    private static func expressionMeant(by text: String) -> String? {
        if text.hasPrefix("$${") { return "write \(text.dropFirst())" }
        let isLikely =
            ".$([{\"@-".contains(text.prefix(1)) || text.contains("(") || text.contains(" .")
            || ["if ", "not", "now"].contains { text.hasPrefix($0) }
        return isLikely ? "write ${ \(text) }" : nil
    }

    private static func template(_ scalar: Scalar, _ report: Report) -> Template? {
        do throws(ExpressionError) {
            let template = try Template(scalar.text)
            for located in scalar.located(template) where located.expression.path == nil {
                report.note(located.expression, at: located.position)
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

/// An expression, and where a file has it.
struct LocatedExpression {
    let expression: Expression
    /// Where its source begins, as exact as the style of the text allows.
    let position: Position
    /// Its characters stand side by side there.
    fileprivate let isExact: Bool
    fileprivate let layout: TextLayout?
    /// Where its source begins in the file, if there is a layout.
    fileprivate let place: TextLayout.Place?

    /// - Parameter offset: in the source, in UTF-8 bytes.
    func position(ofByte offset: Int) -> Position {
        if let layout, let place {
            return layout.places(ofBytes: [offset], of: expression.source, from: place)[0].position
        }
        guard isExact else { return position }
        let before = String(decoding: expression.source.utf8.prefix(offset), as: UTF8.self)
        return Position(line: position.line, column: position.column + before.unicodeScalars.count)
    }
}

extension Node.Scalar {
    /// The expressions of a template that was made of this text.
    func located(_ template: Template) -> [LocatedExpression] {
        let offsets = template.expressionOffsets
        guard !isVerbatim, let layout else {
            return zip(template.expressions, positions(ofBytes: offsets)).map {
                LocatedExpression(expression: $0, position: $1, isExact: isVerbatim, layout: nil, place: nil)
            }
        }
        return zip(template.expressions, layout.places(ofBytes: offsets, of: text, from: layout.start)).map {
            LocatedExpression(expression: $0, position: $1.position, isExact: false, layout: layout, place: $1)
        }
    }
}
