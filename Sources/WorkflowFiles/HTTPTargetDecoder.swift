internal import Delivery
internal import Expressions
internal import Primitives

/// Reads `http: METHOD URL`, or `METHOD /path` beside an endpoint.
enum HTTPTargetDecoder {
    /// Targets that the language has and this version does not.
    static let brokers = ["rabbitmq", "kafka", "sqs", "sns", "pubsub", "redis", "celery"]

    /// - Parameters:
    ///   - whole: method and URL.
    ///   - node: where it stands.
    static func target(
        _ whole: Template, _ node: Node, hasEndpoint: Bool, allowed: URLDecoder.Allowed, _ report: Report
    ) -> (method: HTTPMethod, url: URLTemplate)? {
        let trimmed = whole.source.trimmed
        let word = String(trimmed.prefix { $0 != " " && $0 != "\t" })
        let methods = HTTPMethod.allCases.map(\.rawValue)
        guard let method = HTTPMethod(rawValue: word) else {
            let meant = methods.first { $0 == word.uppercased() } ?? closest(to: word, among: methods)
            report.error(
                at: node.position, "\(node.called) stands for http",
                expected: "\(methods.joined(separator: ", ")) and a \(hasEndpoint ? "path" : "URL")",
                suggestion: meant.map { "did you mean \($0)?" }
                    ?? (trimmed.contains("@") ? nil : "write POST \(trimmed)"))
            return nil
        }
        let rest = trimmed.dropFirst(word.count).trimmed
        guard let source = try? Template(rest) else { return nil }
        let url =
            hasEndpoint
            ? URLDecoder.path(source, allowed: allowed, at: node.position, report)
            : URLDecoder.absolute(source, allowed: allowed, at: node.position, report)
        return url.map { (method, $0) }
    }
}

extension Node {
    /// The name of an endpoint document, which must be declared somewhere.
    func endpointName(_ report: Report) -> String? {
        guard let name = name("the name of an endpoint", report) else { return nil }
        report.refer(to: .endpoint(name), at: position)
        return name
    }
}
