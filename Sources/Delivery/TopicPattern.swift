/// Which topics a subscription wants: dotted parts, `*` for exactly one part, `#` at the end for all that follow
/// (none included), as in AMQP's topic exchanges.
package struct TopicPattern: Sendable, Hashable, CustomStringConvertible {
    package let text: String
    private let parts: [Substring]

    /// Nil unless every part is `*`, a name of `[a-z0-9-]`, or a final `#`; the pattern begins with a letter or a wildcard.
    package init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            let isName = !part.isEmpty && part.utf8.allSatisfy(Self.isNameByte)
            guard isName || part == "*" || (part == "#" && index == parts.count - 1) else { return nil }
        }
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first),
            first != UInt8(ascii: "-"), text.utf8.count <= 255
        else { return nil }
        self.text = text
        self.parts = parts
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
        default: false
        }
    }

    package var isExact: Bool { !parts.contains("*") && !parts.contains("#") }

    package func matches(_ topic: String) -> Bool {
        let topicParts = topic.split(separator: ".", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if part == "#" { return topicParts.count >= index }
            guard index < topicParts.count, part == "*" || part == topicParts[index] else { return false }
        }
        return parts.count == topicParts.count
    }

    /// The same rule as an anchored regular expression for PostgreSQL, without the anchors: the store joins several by `|`.
    package var regularExpression: String {
        var expression = ""
        for (index, part) in parts.enumerated() {
            if part == "#" {
                expression += index == 0 ? ".*" : "(\\..*)?"
                break
            }
            if index > 0 { expression += "\\." }
            expression += part == "*" ? "[^.]+" : String(part)
        }
        return expression
    }

    package var description: String { text }
}
