internal import Expressions
internal import Primitives

/// Reads URLs of endpoints and targets. Scheme and host are literal or `$env.NAME`.
enum URLDecoder {
    /// Which expressions may stand in a URL.
    enum Allowed {
        /// `$env.NAME` and no others: outside sagas.
        case variables
        /// Behind the host any: each becomes one path segment or one query value.
        case anyBehindHost
    }

    private static let brokerSchemes = ["amqp", "amqps", "kafka", "sqs", "sns", "pubsub", "redis", "rediss"]

    /// - Parameter source: the URL's own text, which may be a part of the scalar's.
    static func absolute(
        _ source: Template, allowed: Allowed = .variables, at position: Position, _ report: Report
    ) -> URLTemplate? {
        guard isPlain(source, allowed, isPath: false, at: position, report) else { return nil }
        guard !source.parts.isEmpty else {
            report.error(at: position, "the URL is empty", expected: "http:// or https:// and a host")
            return nil
        }
        if case .text(let start) = source.parts.first, !checkAddress(start, source, at: position, report) { return nil }
        return URLTemplate(source, isPath: false)
    }

    static func path(
        _ source: Template, allowed: Allowed = .variables, at position: Position, _ report: Report
    ) -> URLTemplate? {
        guard isPlain(source, allowed, isPath: true, at: position, report) else { return nil }
        let isPath =
            switch source.parts.first {
            case nil: true
            case .text(let start): start.hasPrefix("/") && !start.hasPrefix("//") || start.hasPrefix("?")
            case .expression: false
            }
        guard isPath else {
            report.error(
                at: position, "the URL '\(source.source)' stands beside an endpoint, which has the address",
                expected: "a path that begins with '/'")
            return nil
        }
        return URLTemplate(source, isPath: true)
    }

    /// The literal beginning of a URL.
    private static func checkAddress(
        _ start: String, _ source: Template, at position: Position, _ report: Report
    ) -> Bool {
        if URLTemplate.hasHost(start) {
            let authority = start[start.range(ofText: "://")!.upperBound...].prefix { !"/?".contains($0) }
            // Where a variable follows the port is not all there yet.
            let isWhole = source.parts.count == 1 || start.dropFirst(8).contains { "/?".contains($0) }
            guard !isWhole || hasGoodPort(authority) else {
                report.error(
                    at: position, "the URL '\(source.source)' has a port that is none",
                    expected: "a number from 1 to 65535")
                return false
            }
            return true
        }
        // `https://${ $env.HOST }/`
        if start == "http://" || start == "https://", source.parts.count > 1 { return true }
        if let scheme = start.range(ofText: "://").map({ start[..<$0.lowerBound] }) {
            if brokerSchemes.contains(String(scheme)) {
                report.notYet("the scheme '\(scheme)://'", at: position)
            } else {
                report.error(at: position, "the URL '\(source.source)'", expected: "http:// or https:// and a host")
            }
        } else {
            report.error(
                at: position, "'\(source.source)' has no scheme and host", expected: "http:// or https:// and a host",
                suggestion: "use ${ $env.NAME } for a base URL, or name an endpoint")
        }
        return false
    }

    /// Of `host`, `host:port` or `[address]:port`.
    private static func hasGoodPort(_ authority: Substring) -> Bool {
        let rest = authority.first == "[" ? authority.drop { $0 != "]" }.dropFirst() : authority.drop { $0 != ":" }
        guard rest.first == ":" else { return rest.isEmpty }
        let digits = rest.dropFirst()
        return digits.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            && UInt16(digits).map { $0 > 0 } ?? false
    }

    private static func isPlain(
        _ source: Template, _ allowed: Allowed, isPath: Bool, at position: Position, _ report: Report
    ) -> Bool {
        guard !holdsCredentials(source.source) else {
            report.error(
                at: position, "the URL holds credentials", expected: "an endpoint document with auth: and a secret")
            return false
        }
        guard checkExpressions(source, allowed, isPath: isPath, at: position, report) else { return false }
        for case .text(let text) in source.parts {
            if let scalar = text.unicodeScalars.first(where: { !isAllowed($0) }) {
                let code = String(scalar.value, radix: 16, uppercase: true)
                let name = "U+\(String(repeating: "0", count: max(0, 4 - code.count)))\(code)"
                let isBrace = scalar == "{" || scalar == "}"
                report.error(
                    at: position,
                    "the URL holds the character \(scalar.isASCII && scalar.value > 0x20 ? "'\(scalar)'" : name)",
                    expected: "it percent-encoded", suggestion: isBrace ? "write ${ $env.NAME } for a variable" : nil)
                return false
            }
            if text.contains("#") {
                report.error(at: position, "the URL has a fragment, which is never sent", expected: "a URL without '#'")
                return false
            }
        }
        return true
    }
}

extension URLDecoder {
    private static func checkExpressions(
        _ source: Template, _ allowed: Allowed, isPath: Bool, at position: Position, _ report: Report
    ) -> Bool {
        // What the URL will look like, with a letter for each value.
        var text = isPath ? "http://host/" : ""
        for part in source.parts {
            switch part {
            case .text(let literal): text += literal
            case .expression(let expression):
                let isVariable = expression.path?.root == .environment
                switch allowed {
                case .variables where !isVariable:
                    report.error(at: position, "\(expression) stands in a URL", expected: "${ $env.NAME } only")
                    return false
                case .anyBehindHost where !isVariable && !URLTemplate.hasCompleteHost(text):
                    report.error(
                        at: position, "\(expression) stands where the scheme and host of a URL are",
                        expected: "text, ${ $env.NAME } or an endpoint up to the end of the host")
                    return false
                case .variables, .anyBehindHost: text += text.isEmpty ? "http://x" : "x"
                }
            }
        }
        return true
    }

    /// Of RFC 3986, but for `#`: that one has a message of its own.
    private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value > 0x20 && scalar.value < 0x7F && !"\"<>\\^`{|}".unicodeScalars.contains(scalar)
    }

    /// A user's name before the host, with or without a scheme: such a text is not repeated in a message.
    static func holdsCredentials(_ url: String) -> Bool {
        let authority = url.range(ofText: "://").map { url[$0.upperBound...] } ?? url[...]
        return authority.prefix { !"/?#".contains($0) }.contains("@")
    }
}

extension String {
    func range(ofText text: String) -> Range<Index>? {
        indices.first { self[$0...].hasPrefix(text) }.map { $0..<index($0, offsetBy: text.count) }
    }
}
