internal import Delivery
internal import Expressions
internal import Primitives

enum EndpointDecoder {
    static func endpoint(_ document: Node.Mapping, _ report: Report) -> EndpointDefinition? {
        let fields = Fields(
            document, of: "an endpoint",
            known: ["endpoint", "url", "headers", "auth", "signing", "tls", "concurrency", "rate", "breaker"], report)
        let name = fields["endpoint"]?.name("the name of an endpoint", report)
        let url = fields.required("url", expected: "http:// or https:// and a host").flatMap { self.url($0, report) }
        var headers: [EndpointDefinition.Header] = []
        var authentication: EndpointDefinition.Authentication?
        var signingSecret: SecretReference?
        var tls = EndpointDefinition.TLS()
        fields.read("headers", into: &headers, self.headers)
        fields.read("auth", into: &authentication, self.authentication)
        fields.read("signing", into: &signingSecret, self.signingSecret)
        fields.read("tls", into: &tls, self.tls)
        var concurrency: Int?
        var rate: Rate?
        var breaker: CircuitBreaker.Policy?
        fields.read("concurrency", into: &concurrency) { $0.integer("concurrency", in: 1...10_000, $1) }
        fields.read("rate", into: &rate) { $0.rate("rate", $1) }
        fields.read("breaker", into: &breaker, self.breaker)
        guard let name, let url else { return nil }
        return EndpointDefinition(
            name: name, url: url, headers: headers, authentication: authentication, signingSecret: signingSecret,
            tls: tls, concurrency: concurrency, rate: rate, breaker: breaker, content: Node.mapping(document).content)
    }

    private static func url(_ node: Node, _ report: Report) -> URLTemplate? {
        guard let template = node.template("the URL of an endpoint", report) else { return nil }
        if template.parts.contains(where: { if case .text(let text) = $0 { text.contains("?") } else { false } }) {
            report.error(
                at: node.position, "the URL of an endpoint has a query",
                expected: "the query in the path of each target")
            return nil
        }
        return URLDecoder.absolute(template, at: node.position, report)
    }

    // MARK: - Headers

    private static func headers(_ node: Node, _ report: Report) -> [EndpointDefinition.Header]? {
        HeaderDecoder.headers(node, report) { entry in
            guard let value = entry.value.template("the header \(entry.name)", report) else { return nil }
            for expression in value.expressions where expression.path?.root != .environment {
                report.error(
                    at: entry.value.position, "\(expression) stands in a header of an endpoint",
                    expected: "${ $env.NAME } only")
                return nil
            }
            return value
        }?.map { EndpointDefinition.Header(name: $0.name, value: $0.value) }
    }

    // MARK: - Credentials

    private static func authentication(_ node: Node, _ report: Report) -> EndpointDefinition.Authentication? {
        let kinds = ["bearer", "basic", "header"]
        guard let fields = Fields(node, of: "auth", known: kinds, later: ["aws", "gcp"], report) else { return nil }
        let given = fields.mapping.entries.filter { kinds.contains($0.name) }
        guard let entry = given.first, given.count == 1 else {
            if given.count > 1 || fields.mapping.entries.isEmpty {
                report.error(
                    at: node.position,
                    "auth has \(given.count == 0 ? "nothing" : given.map(\.name).joined(separator: " and "))",
                    expected: "exactly one of bearer, basic, header")
            }
            return nil
        }
        switch entry.name {
        case "bearer": return entry.value.secret("the token of auth", report).map { .bearer($0) }
        case "basic": return basic(entry.value, report)
        default: return header(entry.value, report)
        }
    }

    private static func basic(_ node: Node, _ report: Report) -> EndpointDefinition.Authentication? {
        guard let fields = Fields(node, of: "basic", known: ["username", "password"], report) else { return nil }
        let username = fields.required("username", expected: "a text").flatMap { node -> String? in
            guard let text = node.text("the username", report) else { return nil }
            // RFC 7617, section 2: the first colon ends it.
            guard !text.contains(":"), text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
                report.error(
                    at: node.position, "a username with a colon or a control character", expected: "one without")
                return nil
            }
            return text
        }
        let password = fields.required("password", expected: "{ secret: NAME }")?.secret("the password", report)
        guard let username, let password else { return nil }
        return .basic(username: username, password: password)
    }

    private static func header(_ node: Node, _ report: Report) -> EndpointDefinition.Authentication? {
        guard let fields = Fields(node, of: "header", known: ["name", "value"], report) else { return nil }
        let name = fields.required("name", expected: "X-Api-Key")
        let text = name.flatMap { node in
            node.text("the name of a header", report).flatMap {
                HeaderDecoder.isFree($0, at: node.position, report) ? $0 : nil
            }
        }
        let value = fields.required("value", expected: "{ secret: NAME }")?.secret("the value of the header", report)
        guard let text, let value else { return nil }
        return .header(name: text, value: value)
    }

    private static func signingSecret(_ node: Node, _ report: Report) -> SecretReference? {
        guard let fields = Fields(node, of: "signing", known: ["standard_webhooks"], report),
            let secret = fields.required("standard_webhooks", expected: "{ secret: NAME }")
        else { return nil }
        return secret.secret("the signing secret", report)
    }

    // MARK: - Circuit breaker

    private static func breaker(_ node: Node, _ report: Report) -> CircuitBreaker.Policy? {
        guard let fields = Fields(node, of: "breaker", known: ["failures", "within", "open_for"], report) else {
            return nil
        }
        var policy = CircuitBreaker.Policy()
        fields.read("failures", into: &policy.failures) { $0.integer("failures", in: 1...10_000, $1) }
        fields.read("within", into: &policy.within) { $0.duration("within", longest: .seconds(3600), $1) }
        fields.read("open_for", into: &policy.openFor) {
            $0.duration("open_for", shortest: .milliseconds(100), longest: .seconds(86_400), $1)
        }
        return policy
    }

    // MARK: - TLS

    private static func tls(_ node: Node, _ report: Report) -> EndpointDefinition.TLS? {
        guard let fields = Fields(node, of: "tls", known: ["ca", "cert", "key", "verify"], report) else { return nil }
        var tls = EndpointDefinition.TLS()
        fields.read("ca", into: &tls.ca) { $0.file("ca", $1) }
        fields.read("cert", into: &tls.cert) { $0.file("cert", $1) }
        fields.read("key", into: &tls.key) { $0.file("key", $1) }
        fields.read("verify", into: &tls.verify) { $0.bool("verify", $1) }
        if tls.key != nil, fields["cert"] == nil {
            report.error(at: node.position, "tls has a key and no cert", expected: "both, or neither")
        } else if tls.cert != nil, fields["key"] == nil {
            report.error(
                at: node.position, "tls has a cert and no key", expected: "both, or neither",
                suggestion: "one file that holds both can be named twice")
        }
        return tls
    }
}

extension Node {
    /// The path of a file that is read where the worker runs: a checker elsewhere does not look for it.
    fileprivate func file(_ what: String, _ report: Report) -> String? {
        guard let path = text(what, report) else { return nil }
        guard !path.isEmpty, !path.utf8.contains(0) else {
            report.error(at: position, "\(called) stands for \(what)", expected: "the path of a PEM file")
            return nil
        }
        return path
    }
}
