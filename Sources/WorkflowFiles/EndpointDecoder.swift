internal import Expressions
internal import Primitives

enum EndpointDecoder {
    static func endpoint(_ document: Node.Mapping, _ report: Report) -> EndpointDefinition? {
        let fields = Fields(
            document, of: "an endpoint", known: ["endpoint", "url", "headers", "auth", "signing", "tls"],
            later: ["concurrency", "rate", "breaker"], report)
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
        guard let name, let url else { return nil }
        return EndpointDefinition(
            name: name, url: url, headers: headers, authentication: authentication, signingSecret: signingSecret,
            tls: tls, content: Node.mapping(document).content)
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

    /// What the engine or the HTTP client sets itself, or what would break the framing of a request.
    private static let reservedHeaders: Set<String> = [
        "connection", "content-length", "content-type", "expect", "host", "idempotency-key", "keep-alive", "te",
        "trailer",
        "transfer-encoding", "traceparent", "upgrade", "user-agent",
    ]

    /// What carries credentials by its name.
    private static let credentialHeaders: Set<String> = [
        "api-key", "authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token",
    ]

    private static func headers(_ node: Node, _ report: Report) -> [EndpointDefinition.Header]? {
        guard case .mapping(let mapping) = node else {
            report.error(
                at: node.position, "\(node.called) stands for headers", expected: "a mapping of names to texts")
            return nil
        }
        var seen: Set<String> = []
        return mapping.entries.compactMap { entry in
            guard checkHeader(entry.name, at: entry.namePosition, report) else { return nil }
            guard !credentialHeaders.contains(entry.name.lowercased()) else {
                report.error(
                    at: entry.namePosition, "credentials stand in headers",
                    expected: "auth: with bearer, basic or header, and { secret: NAME }")
                return nil
            }
            guard let value = entry.value.template("the header \(entry.name)", report) else { return nil }
            guard seen.insert(entry.name.lowercased()).inserted else {
                report.error(
                    at: entry.namePosition, "the header '\(entry.name)' stands twice; names of headers ignore case",
                    expected: "each header once")
                return nil
            }
            return checkHeaderValue(value, entry, report)
                ? EndpointDefinition.Header(name: entry.name, value: value) : nil
        }
    }

    /// A token of RFC 9110, section 5.6.2, that is free to be set.
    private static func checkHeader(_ name: String, at position: Position, _ report: Report) -> Bool {
        let isToken =
            !name.isEmpty
            && name.utf8.allSatisfy { byte in
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
        guard isToken else {
            report.error(
                at: position, "'\(name)' is no name of a header", expected: "letters, digits and '-'")
            return false
        }
        let lower = name.lowercased()
        let prefixes = ["outrider-", "ce-", "webhook-"]
        guard !reservedHeaders.contains(lower), !prefixes.contains(where: lower.hasPrefix) else {
            report.error(
                at: position, "the header '\(name)' is set by Outrider itself", expected: "another header")
            return false
        }
        return true
    }

    private static func checkHeaderValue(_ value: Template, _ entry: Node.Entry, _ report: Report) -> Bool {
        guard !value.source.trimmed.isEmpty else {
            report.error(at: entry.value.position, "the header '\(entry.name)' is empty", expected: "a text")
            return false
        }
        for part in value.parts {
            switch part {
            case .text(let text):
                guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F || $0 == "\t" }) else {
                    report.error(
                        at: entry.value.position, "the header '\(entry.name)' holds a line end or a control character",
                        expected: "one line of text")
                    return false
                }
            case .expression(let expression):
                guard expression.path?.root == .environment else {
                    report.error(
                        at: entry.value.position, "\(expression) stands in a header of an endpoint",
                        expected: "${ $env.NAME } only")
                    return false
                }
            }
        }
        return true
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
            node.text("the name of a header", report).flatMap { checkHeader($0, at: node.position, report) ? $0 : nil }
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
