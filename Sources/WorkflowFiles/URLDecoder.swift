internal import Expressions
internal import Primitives

/// Reads URLs of endpoints and targets. Scheme and host are literal or `$env.NAME`.
enum URLDecoder {
    private static let brokerSchemes = ["amqp", "amqps", "kafka", "sqs", "sns", "pubsub", "redis", "rediss"]

    /// - Parameter source: the URL's own text, which may be a part of the scalar's.
    static func absolute(_ source: Template, at position: Position, _ report: Report) -> URLTemplate? {
        guard isPlain(source, at: position, report) else { return nil }
        if case .text(let start) = source.parts.first, !checkAddress(start, source, at: position, report) { return nil }
        return URLTemplate(source, isPath: false)
    }

    static func path(_ source: Template, at position: Position, _ report: Report) -> URLTemplate? {
        guard isPlain(source, at: position, report) else { return nil }
        let isPath =
            switch source.parts.first {
            case nil: true
            case .text(let start): start.hasPrefix("/") && !start.hasPrefix("//") || start.hasPrefix("?")
            case .expression: false
            }
        guard isPath else {
            report.error(
                at: position, "'\(source.source)' stands beside an endpoint, which has the address",
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
            guard !authority.contains("@") else {
                report.error(
                    at: position, "the URL holds credentials", expected: "an endpoint document with auth: and a secret")
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

    /// Outside sagas a URL is made of text and variables.
    private static func isPlain(_ source: Template, at position: Position, _ report: Report) -> Bool {
        for expression in source.expressions where expression.path?.root != .environment {
            report.error(at: position, "\(expression) stands in a URL", expected: "${ $env.NAME } only")
            return false
        }
        for case .text(let text) in source.parts {
            if let scalar = text.unicodeScalars.first(where: { $0.value <= 0x20 || $0.value >= 0x7F }) {
                let code = String(scalar.value, radix: 16, uppercase: true)
                report.error(
                    at: position,
                    "the URL holds the character U+\(String(repeating: "0", count: max(0, 4 - code.count)))\(code)",
                    expected: "it percent-encoded")
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

extension String {
    func range(ofText text: String) -> Range<Index>? {
        indices.first { self[$0...].hasPrefix(text) }.map { $0..<index($0, offsetBy: text.count) }
    }
}
