internal import Delivery
internal import Expressions
internal import Primitives
internal import Sagas

/// Reads `call:`, of a step or of a compensation.
struct CallDecoder {
    let site: Site
    private var report: Report { site.report }

    private static let optionsOfHTTP = ["endpoint", "headers", "body", "async"]
    private static let optionsOfSQL = ["args"]
    private static let later = HTTPTargetDecoder.brokers + ["reply"]

    init(_ site: Site) {
        self.site = site
    }

    func call(_ node: Node) -> Call? {
        let known = ["http", "sql"] + Self.optionsOfHTTP + Self.optionsOfSQL
        guard let fields = Fields(node, of: "call", known: known, later: Self.later, report) else { return nil }
        switch (fields["http"], fields["sql"]) {
        case (let http?, nil):
            refuse(Self.optionsOfSQL, of: fields, beside: "http")
            return self.http(http, fields).map(Call.http)
        case (nil, let sql?):
            refuse(Self.optionsOfHTTP, of: fields, beside: "sql")
            return self.sql(sql, fields).map(Call.sql)
        case (_?, let sql?):
            report.error(at: sql.position, "a call with 'http' and 'sql'", expected: "exactly one of them")
            return nil
        case (nil, nil):
            let isRefused = fields.mapping.entries.contains { HTTPTargetDecoder.brokers.contains($0.name) }
            if !isRefused, !fields.isMisspelt(["http", "sql"]) {
                report.error(
                    at: node.position, "a call without a target", expected: "http: POST https://…, or sql: select …")
            }
            return nil
        }
    }

    private func refuse(_ options: [String], of fields: Fields, beside target: String) {
        for entry in fields.mapping.entries where options.contains(entry.name) {
            report.error(
                at: entry.namePosition, "'\(entry.name)' has no meaning beside '\(target)'",
                expected: "it beside \(target == "sql" ? "http" : "sql")")
        }
    }

    // MARK: - HTTP

    private func http(_ node: Node, _ fields: Fields) -> HTTPCall? {
        let endpointNode = fields["endpoint"]
        let endpoint = endpointNode?.endpointName(report)
        let target = site.template(node, "http").flatMap {
            HTTPTargetDecoder.target($0, node, hasEndpoint: endpointNode != nil, allowed: .anyBehindHost, report)
        }
        let headers = fields["headers"].map { site.headers($0) }
        let body = fields["body"].map { site.value($0, "body") }
        let isAsync = fields["async"].map { $0.bool("async", report) }
        guard let target else { return nil }
        var call = HTTPCall(method: target.method, url: target.url)
        call.endpoint = endpoint
        call.headers = (headers ?? nil) ?? []
        call.body = body ?? nil
        call.isAsync = (isAsync ?? nil) ?? false
        return call
    }

    // MARK: - SQL

    private func sql(_ node: Node, _ fields: Fields) -> SQLCall? {
        let statement = self.statement(node)
        let list = fields["args"]
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

extension Site {
    /// In the order of `Definition.content`.
    func headers(_ node: Node) -> [HTTPCall.Header]? {
        HeaderDecoder.headers(node, report) { template($0.value, "the header \($0.name)") }?
            .map { HTTPCall.Header(name: $0.name, value: $0.value) }
            .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }
}
