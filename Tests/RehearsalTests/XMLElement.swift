/// Reads the part of XML 1.0 that a report consists of, and refuses what is not well-formed: elements, attributes, text,
/// the predefined entities and references to characters.
struct XMLElement {
    struct Malformed: Error {
        let message: String
    }

    var name = ""
    var attributes: [String: String] = [:]
    var children: [XMLElement] = []
    /// Of the element itself.
    var text = ""

    init(parsing text: String) throws {
        var reader = Reader(rest: text[...])
        try reader.take("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
        reader.skipSpace()
        self = try reader.element()
        reader.skipSpace()
        guard reader.rest.isEmpty else { throw Malformed(message: "text behind the root") }
    }

    fileprivate init() {}

    private struct Reader {
        var rest: Substring

        mutating func skipSpace() { rest = rest.drop { $0 == " " || $0 == "\n" } }

        mutating func take(_ text: String) throws {
            guard rest.hasPrefix(text) else { throw Malformed(message: "expected \(text) at \(rest.prefix(40))") }
            rest = rest.dropFirst(text.count)
        }

        mutating func element() throws -> XMLElement {
            var element = XMLElement()
            try take("<")
            element.name = try name()
            while true {
                skipSpace()
                if rest.hasPrefix("/>") {
                    try take("/>")
                    return element
                }
                if rest.hasPrefix(">") { break }
                let attribute = try name()
                try take("=\"")
                guard element.attributes.updateValue(try text(until: "\""), forKey: attribute) == nil else {
                    throw Malformed(message: "\(attribute) twice")
                }
                try take("\"")
            }
            try take(">")
            while !rest.hasPrefix("</") {
                if rest.hasPrefix("<") {
                    element.children.append(try self.element())
                } else {
                    element.text += try text(until: "<")
                }
            }
            try take("</\(element.name)>")
            return element
        }

        private mutating func name() throws -> String {
            let name = rest.prefix { $0.isLetter }
            guard !name.isEmpty else { throw Malformed(message: "expected a name at \(rest.prefix(40))") }
            rest = rest.dropFirst(name.count)
            return String(name)
        }

        private mutating func text(until end: Character) throws -> String {
            var text = ""
            while let character = rest.first, character != end {
                guard character != "<", character.unicodeScalars.allSatisfy({ $0.value >= 0x20 || $0 == "\n" }) else {
                    throw Malformed(message: "'\(character)' in a text")
                }
                if character == "&" {
                    text += try reference()
                } else {
                    text.append(rest.removeFirst())
                }
            }
            guard !rest.isEmpty else { throw Malformed(message: "expected \(end) before the end") }
            return text
        }

        private mutating func reference() throws -> String {
            let reference = rest.prefix { $0 != ";" }
            rest = rest.dropFirst(reference.count)
            try take(";")
            let known = ["&amp": "&", "&lt": "<", "&gt": ">", "&quot": "\"", "&#10": "\n", "&#9": "\t", "&#13": "\r"]
            guard let text = known[String(reference)] else { throw Malformed(message: "\(reference);") }
            return text
        }
    }
}
