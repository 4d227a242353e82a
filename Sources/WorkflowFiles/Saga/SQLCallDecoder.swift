internal import Sagas

/// Reads `sql:` with its `args:`, of a saga's call or of a subscription's target.
struct SQLCallDecoder {
    let site: Site
    private var report: Report { site.report }

    /// - Parameters:
    ///   - node: of `sql:`.
    ///   - list: of `args:`, where it stands.
    func call(_ node: Node, arguments list: Node?) -> SQLCall? {
        let statement = self.statement(node)
        let nodes = list.map { $0.list("args", report) } ?? []
        let arguments = nodes?.map { site.value($0, "an argument") }
        guard let statement, let arguments else { return nil }
        guard statement.parameterCount == arguments.count else {
            let given = arguments.count == 1 ? "1 argument" : "\(arguments.count) arguments"
            let wanted =
                statement.parameterCount == 0 ? "no parameters" : "parameters up to $\(statement.parameterCount)"
            report.error(
                at: list?.position ?? node.position, "\(given) for a statement with \(wanted)",
                expected: "as many args as parameters")
            return nil
        }
        let values = arguments.compactMap(\.self)
        return values.count == arguments.count ? SQLCall(statement: statement.text, arguments: values) : nil
    }

    private func statement(_ node: Node) -> SQLStatement? {
        guard let scalar = node.scalarText("sql", report) else { return nil }
        guard scalar.text.range(ofText: "${") == nil else {
            report.error(
                at: node.position, "an expression stands in the text of sql", expected: "$1, $2, … for values",
                suggestion: "use args: sql: select f($1), args: [ \"${ .input.id }\" ]")
            return nil
        }
        do throws(SQLStatement.Problem) {
            return try SQLStatement(scalar.text)
        } catch {
            report.error(at: scalar.position(ofByte: error.offset), error.found, expected: error.expected)
            return nil
        }
    }
}
