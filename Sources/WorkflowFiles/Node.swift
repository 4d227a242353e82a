package import Primitives

/// A value in a file, with its place. Scalars are already read by YAML's core schema.
package indirect enum Node: Sendable {
    case scalar(Scalar)
    case sequence([Node], Position)
    case mapping(Mapping)

    package struct Scalar: Sendable {
        /// A null, boolean, number or string.
        package let value: JSON
        /// As it stands in the file, quotes and escapes resolved.
        package let text: String
        let isQuoted: Bool
        let position: Position
        /// Whether the characters of `text` stand one by one at `position`, or behind the quote there.
        let isVerbatim: Bool
        /// Where its characters stand otherwise, if that is known.
        var layout: TextLayout?
        /// A space and `#` end it: what follows is a comment.
        var isCutByComment = false
    }

    package struct Mapping: Sendable {
        package var entries: [Entry]
        package let position: Position

        package subscript(name: String) -> Entry? { entries.first { $0.name == name } }
    }

    package struct Entry: Sendable {
        package let name: String
        package let namePosition: Position
        package let value: Node
    }

    package var position: Position {
        switch self {
        case .scalar(let scalar): scalar.position
        case .sequence(_, let position): position
        case .mapping(let mapping): mapping.position
        }
    }

    /// What a person would call it: `'5x'`, `the number 5`, `a list`.
    package var called: String {
        switch self {
        case .scalar(let scalar): scalar.called
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }

    /// The value in canonical form: members sorted by name.
    package var content: JSON {
        switch self {
        case .scalar(let scalar): scalar.value
        case .sequence(let nodes, _): .array(nodes.map(\.content))
        case .mapping(let mapping):
            .object(
                JSONObject(
                    mapping.entries.map { (name: $0.name, value: $0.value.content) }
                        .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }))
        }
    }
}

extension Node.Scalar {
    var called: String {
        switch value {
        case .string where text.contains(":") && URLDecoder.holdsCredentials(text): "a URL with credentials"
        case .null: "nothing"
        case .bool(let bool): bool ? "true" : "false"
        case .number: "the number \(text)"
        default: "'\(text.count > 60 ? text.prefix(57) + "…" : text[...])'"
        }
    }

    /// The place of a byte of `text`, as exact as the style allows.
    func position(ofByte offset: Int) -> Position { positions(ofBytes: [offset])[0] }

    /// The same of many, in rising order.
    func positions(ofBytes offsets: [Int]) -> [Position] {
        guard isVerbatim else {
            return layout.map { $0.places(ofBytes: offsets, of: text, from: $0.start).map(\.position) }
                ?? offsets.map { _ in position }
        }
        var rest = text.utf8[...]
        var column = position.column + (isQuoted ? 1 : 0)
        var walked = 0
        return offsets.map { offset in
            let next = rest.prefix(offset - walked)
            // Of each scalar the first byte counts.
            column += next.count { $0 & 0xC0 != 0x80 }
            rest = rest[next.endIndex...]
            walked = offset
            return Position(line: position.line, column: column)
        }
    }
}

extension Node {
    /// A value that does not stand in the file itself.
    ///
    /// - Parameter position: where the file speaks of it; content of the database comes from no file.
    init(_ content: JSON, at position: Position = .wholeFile) {
        switch content {
        case .array(let elements): self = .sequence(elements.map { Node($0, at: position) }, position)
        case .object(let object):
            let entries = object.members.map {
                Entry(name: $0.name, namePosition: position, value: Node($0.value, at: position))
            }
            self = .mapping(Mapping(entries: entries, position: position))
        case .null, .bool, .number, .string:
            let text = content.string ?? content.text
            let isQuoted = content.string != nil
            self = .scalar(
                Scalar(value: content, text: text, isQuoted: isQuoted, position: position, isVerbatim: false))
        }
    }
}
