package import Primitives

/// A URL, or a path below an endpoint's URL, with `$env.NAME` in it.
///
/// Up to the end of the host a variable is put in as it is: `${ $env.INVENTORY }/items` with a whole base URL in the
/// variable is the common case. Behind it a value is percent-encoded as one path segment or one query value.
package struct URLTemplate: Sendable, Hashable {
    package let template: Template
    /// No scheme and no host: they come from an endpoint.
    package let isPath: Bool

    package init(_ template: Template, isPath: Bool) {
        self.template = template
        self.isPath = isPath
    }

    /// The URL's text, of a template that is made of text and variables.
    package func resolve(environment: [String: String]) throws(ExpressionError) -> String {
        try resolve { (expression) throws(ExpressionError) in
            guard let path = expression.path else { preconditionFailure("\(expression) is not a plain path") }
            return try path.resolve(in: .null, environment: environment)
        }
    }

    /// The URL's text.
    ///
    /// - Parameter value: of each expression.
    package func resolve(
        _ value: (Expression) throws(ExpressionError) -> JSON
    ) throws(ExpressionError) -> String {
        var text = ""
        for part in template.parts {
            switch part {
            case .text(let literal): text += literal
            case .expression(let expression):
                let value = try value(expression)
                let isAddress = !isPath && !Self.hasCompleteHost(text)
                if isAddress {
                    // Scheme and host never come from a message.
                    guard expression.path?.root == .environment, let address = value.string else {
                        throw .failed(message: "\(expression) cannot give a URL's scheme or host; expected $env.NAME")
                    }
                    text += address
                } else {
                    text += try Self.encoded(value, of: expression)
                }
            }
        }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw .failed(
                message: "the URL holds a space, a control character or one beyond ASCII; expected them percent-encoded"
            )
        }
        if !isPath {
            guard Self.hasHost(text) else {
                throw .failed(
                    message:
                        "the URL '\(Self.withoutCredentials(text))' has no host; expected http:// or https:// and a host"
                )
            }
        }
        return text
    }

    /// Whether the text begins with a scheme that is supported and a host.
    package static func hasHost(_ text: String) -> Bool {
        guard let scheme = schemes.first(where: { text.hasPrefix($0) }) else { return false }
        guard let first = text.dropFirst(scheme.count).first else { return false }
        return !"/?#:@".contains(first)
    }

    private static let schemes = ["http://", "https://"]

    /// Whether what follows belongs to the path or the query.
    package static func hasCompleteHost(_ text: String) -> Bool {
        guard let scheme = schemes.first(where: { text.hasPrefix($0) }) else { return false }
        return text.dropFirst(scheme.count).contains { $0 == "/" || $0 == "?" }
    }

    private static func withoutCredentials(_ text: String) -> String {
        text.contains("@") ? "…" : text
    }

    /// RFC 3986, section 2.3: everything but unreserved characters is encoded.
    static func encoded(_ value: JSON, of expression: Expression) throws(ExpressionError) -> String {
        let text: String
        switch value {
        case .string(let string): text = string
        case .number(let number): text = number.digits
        case .bool(let bool): text = bool ? "true" : "false"
        case .null, .array, .object:
            throw .failed(message: "\(expression) is \(value.kind) in a URL; expected text, a number or a boolean")
        }
        guard text != "", text != ".", text != ".." else {
            throw .failed(message: "\(expression) is '\(text)' in a URL; expected one path segment or query value")
        }
        var encoded: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.append(byte)
            default:
                let digits = Array("0123456789ABCDEF".utf8)
                encoded += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }
}
