/// The text of a file in which slips are covered with letters. Nothing moves: a place means the same in both.
struct CoveredText {
    let original: [UInt8]
    private(set) var bytes: [UInt8]
    /// Where the lines begin; libyaml also ends them at CR, U+0085, U+2028 and U+2029.
    let lineStarts: [Int]

    init(_ bytes: [UInt8]) {
        original = bytes
        self.bytes = bytes
        lineStarts = [0] + bytes.indices.compactMap { Self.lineEnd(at: $0, in: bytes) }
    }

    /// The same of a text with characters that YAML takes nowhere: libyaml looks ahead, and would refuse what stands before
    /// them too. Not even what was meant has them.
    ///
    /// - Parameter offsets: where those are.
    init(_ bytes: [UInt8], controlCharactersAt offsets: inout [Int]) {
        var bytes = bytes
        for index in bytes.indices {
            switch bytes[index] {
            case 0x09, 0x0A, 0x0D, 0x20..<0x7F: continue
            case 0..<0x80: bytes[index] = UInt8(ascii: "x")
            case _ where Self.isControl(at: index, in: bytes):
                bytes.replaceSubrange(index..<index + 2, with: "ä".utf8)
            default: continue
            }
            offsets.append(index)
        }
        self.init(bytes)
    }

    /// U+0080 to U+009F; U+0085 ends a line.
    private static func isControl(at index: Int, in bytes: [UInt8]) -> Bool {
        bytes[index] == 0xC2 && bytes[index + 1] < 0xA0 && bytes[index + 1] != 0x85
    }

    /// Spaces and line ends stay, and so do the bytes of other characters: a column is a character.
    mutating func cover(_ extent: [Range<Int>]) {
        for index in extent.joined() where (0x21..<0x7F).contains(bytes[index]) { bytes[index] = UInt8(ascii: "x") }
    }

    func isCovered(_ range: Range<Int>) -> Bool { bytes[range] != original[range] }

    func isCovered(_ position: Position) -> Bool {
        let offset = position.byte(in: original)
        return offset < bytes.count && bytes[offset] != original[offset]
    }

    /// The number of a line, from 0; of the last one for places behind it.
    func line(of position: Position) -> Int { min(position.line, lineStarts.count) - 1 }

    /// The first line from the given one on that begins a document: nothing that is open reaches beyond it.
    func documentStart(from line: Int) -> Int? {
        lineStarts[line...].firstIndex { start in
            let mark = bytes[start...].prefix(4)
            return mark.starts(with: "---".utf8) && (mark.count == 3 || mark.last.map { $0 <= 0x20 } == true)
        }
    }

    /// Where the next line begins, when this byte is the last one of a line.
    private static func lineEnd(at index: Int, in bytes: [UInt8]) -> Int? {
        let next = index + 1
        switch bytes[index] {
        case 0x0A: return next
        case 0x0D: return next < bytes.count && bytes[next] == 0x0A ? nil : next
        case 0x85: return index > 0 && bytes[index - 1] == 0xC2 ? next : nil
        case 0xA8, 0xA9: return index > 1 && bytes[index - 1] == 0x80 && bytes[index - 2] == 0xE2 ? next : nil
        default: return nil
        }
    }
}
