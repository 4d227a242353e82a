/// Where the characters of a text stand in a file that does not have them side by side: on further lines, with escapes.
///
/// Whatever the style, what is not space stands in the file in the order of the text.
struct TextLayout: Sendable {
    struct Place: Sendable {
        var offset: Int
        var position: Position
    }

    private enum Style {
        case plain
        case singleQuoted
        case doubleQuoted
        case block
    }

    /// Where the text begins.
    let start: Place
    private let bytes: [UInt8]
    private let end: Int
    private let style: Style

    /// - Parameters:
    ///   - bytes: the file.
    ///   - range: of the whole value, quotes or `|` included. With an anchor or a tag before it there is no layout.
    ///   - position: of the value.
    init?(_ range: Range<Int>, of bytes: [UInt8], at position: Position) {
        guard let first = bytes[range].first else { return nil }
        self.bytes = bytes
        end = range.upperBound
        var start = Place(offset: range.lowerBound, position: position)
        switch first {
        case UInt8(ascii: "&"), UInt8(ascii: "!"): return nil
        case UInt8(ascii: "'"), UInt8(ascii: "\""):
            style = first == UInt8(ascii: "'") ? .singleQuoted : .doubleQuoted
            start = Place(
                offset: start.offset + 1, position: Position(line: position.line, column: position.column + 1))
        case UInt8(ascii: "|"), UInt8(ascii: ">"):
            style = .block
            let headEnd = bytes[range].firstIndex(of: 0x0A).map { $0 + 1 } ?? end
            start = Place(offset: headEnd, position: Position(line: position.line + 1, column: 1))
        default: style = .plain
        }
        self.start = start
    }

    /// The places of bytes of a text that begins at a place, in rising order.
    func places(ofBytes offsets: [Int], of text: String, from start: Place) -> [Place] {
        var place = start
        var rest = text.utf8[...]
        var walked = 0
        // How many visible bytes of the text stand before the one in question, and have not been passed in the file.
        var ahead = 0
        return offsets.map { offset in
            let next = rest.prefix(offset - walked)
            rest = rest[next.endIndex...]
            walked = offset
            ahead += next.count { $0 > 0x20 }
            while place.offset < end {
                let unit = unit(at: place.offset)
                guard unit.visible <= ahead else { break }
                ahead -= unit.visible
                for byte in bytes[place.offset..<min(place.offset + unit.length, end)] { place.position.pass(byte) }
                place.offset += unit.length
            }
            return place
        }
    }

    /// What begins at an offset, and how many bytes beyond space it makes in the text.
    private func unit(at offset: Int) -> (length: Int, visible: Int) {
        let byte = bytes[offset]
        let next = offset + 1 < end ? bytes[offset + 1] : 0
        switch (style, byte) {
        case (.singleQuoted, UInt8(ascii: "'")) where next == byte: return (2, 1)
        case (.doubleQuoted, UInt8(ascii: "\\")):
            switch next {
            case UInt8(ascii: "x"): return character(at: offset, digits: 2)
            case UInt8(ascii: "u"): return character(at: offset, digits: 4)
            case UInt8(ascii: "U"): return character(at: offset, digits: 8)
            case UInt8(ascii: "N"), UInt8(ascii: "_"): return (2, 2)
            case UInt8(ascii: "L"), UInt8(ascii: "P"): return (2, 3)
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return (2, 1)
            default: return (2, 0)
            }
        default: return (1, byte > 0x20 ? 1 : 0)
        }
    }

    /// `\u00e4`; of a pair of surrogates each half counts for half of the four bytes.
    private func character(at offset: Int, digits: Int) -> (length: Int, visible: Int) {
        let text = bytes[min(offset + 2, end)..<min(offset + 2 + digits, end)]
        let code = UInt32(String(decoding: text, as: UTF8.self), radix: 16) ?? 0
        let visible =
            switch code {
            case 0...0x20: 0
            case 0x21..<0x80: 1
            case 0x80..<0x800, 0xD800..<0xE000: 2
            case 0x800..<0x10000: 3
            default: 4
            }
        return (2 + digits, visible)
    }
}

extension Position {
    /// Goes on by a byte of UTF-8.
    mutating func pass(_ byte: UInt8) {
        if byte == 0x0A {
            self = Position(line: line + 1, column: 1)
        } else if byte & 0xC0 != 0x80 {
            column += 1
        }
    }
}
