internal import Expressions
internal import Primitives

/// Reads headers of requests and messages: their names, and the form of their values.
enum HeaderDecoder {
    /// What the engine or the HTTP client sets itself, or what would break the framing of a request.
    private static let reserved: Set<String> = [
        "connection", "content-length", "content-type", "expect", "host", "idempotency-key", "keep-alive", "te",
        "trailer", "transfer-encoding", "traceparent", "upgrade", "user-agent",
    ]
    private static let reservedPrefixes = ["outrider-", "ce-", "webhook-"]

    /// What carries credentials by its name.
    private static let credentials: Set<String> = [
        "api-key", "authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token",
    ]

    /// - Parameter value: reads the value of a header; nil after it has reported what is wrong.
    static func headers(
        _ node: Node, _ report: Report, value: (Node.Entry) -> Template?
    ) -> [(name: String, value: Template)]? {
        guard case .mapping(let mapping) = node else {
            report.error(
                at: node.position, "\(node.called) stands for headers", expected: "a mapping of names to texts")
            return nil
        }
        var seen: Set<String> = []
        return mapping.entries.compactMap { entry in
            guard isFree(entry.name, at: entry.namePosition, report) else { return nil }
            guard !credentials.contains(entry.name.lowercased()) else {
                report.error(
                    at: entry.namePosition, "credentials stand in headers",
                    expected: "auth: with bearer, basic or header, and { secret: NAME }")
                return nil
            }
            guard let value = value(entry) else { return nil }
            guard seen.insert(entry.name.lowercased()).inserted else {
                report.error(
                    at: entry.namePosition, "the header '\(entry.name)' stands twice; names of headers ignore case",
                    expected: "each header once")
                return nil
            }
            return isOneLine(value, entry, report) ? (entry.name, value) : nil
        }
    }

    /// A token of RFC 9110, section 5.6.2, that is free to be set.
    static func isFree(_ name: String, at position: Position, _ report: Report) -> Bool {
        let isToken =
            !name.isEmpty
            && name.utf8.allSatisfy { byte in
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
        guard isToken else {
            report.error(at: position, "'\(name)' is no name of a header", expected: "letters, digits and '-'")
            return false
        }
        let lower = name.lowercased()
        guard !reserved.contains(lower), !reservedPrefixes.contains(where: lower.hasPrefix) else {
            report.error(at: position, "the header '\(name)' is set by Outrider itself", expected: "another header")
            return false
        }
        return true
    }

    /// What an expression gives is checked when it has given it.
    private static func isOneLine(_ value: Template, _ entry: Node.Entry, _ report: Report) -> Bool {
        guard !value.source.trimmed.isEmpty else {
            report.error(at: entry.value.position, "the header '\(entry.name)' is empty", expected: "a text")
            return false
        }
        for case .text(let text) in value.parts
        where text.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\t" || $0.value == 0x7F }) {
            report.error(
                at: entry.value.position, "the header '\(entry.name)' holds a line end or a control character",
                expected: "one line of text")
            return false
        }
        return true
    }
}
