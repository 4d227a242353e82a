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
            fields.refuse(Self.optionsOfSQL, beside: "http", expected: "it beside sql")
            return self.http(http, fields).map(Call.http)
        case (nil, let sql?):
            fields.refuse(Self.optionsOfHTTP, beside: "sql", expected: "it beside http")
            return SQLCallDecoder(site: site).call(sql, arguments: fields["args"]).map(Call.sql)
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
}

extension Site {
    /// In the order of `Definition.content`.
    func headers(_ node: Node) -> [HTTPCall.Header]? {
        HeaderDecoder.headers(node, report) { template($0.value, "the header \($0.name)") }?
            .map { HTTPCall.Header(name: $0.name, value: $0.value) }
            .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }
}
