internal import Primitives

/// Turns the text of a JSON file into one node tree a document. YAML takes most of JSON, but not all: no surrogates, and no
/// names of more than 1,024 characters.
struct JSONReader {
    private let report: Report
    private let bytes: [UInt8]
    /// Places come in rising order, so the text is walked once.
    private var walked = (offset: 0, position: Position(line: 1, column: 1))
    private var offsets: ArraySlice<Int> = []
    private var documentStart = 0

    /// The documents that could be read; between two of them stands a line `---`, as in YAML.
    static func documents(of bytes: [UInt8], _ report: Report) -> [Node] {
        var reader = JSONReader(bytes, report)
        return reader.run()
    }

    private init(_ bytes: [UInt8], _ report: Report) {
        self.bytes = bytes
        self.report = report
    }

    private mutating func run() -> [Node] {
        var documents: [Node] = []
        for range in documentRanges() where bytes[range].contains(where: { $0 > 0x20 }) {
            documentStart = range.lowerBound
            if let document = document(Array(bytes[range])) { documents.append(document) }
        }
        return documents
    }

    /// No line within a JSON text is `---`: a text in quotes has no line ends.
    private func documentRanges() -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var start = 0
        for line in bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
        where line.starts(with: "---".utf8) && line.dropFirst(3).allSatisfy({ $0 <= 0x20 }) {
            ranges.append(start..<line.startIndex)
            start = line.endIndex
        }
        return ranges + [start..<bytes.count]
    }

    private mutating func document(_ text: [UInt8]) -> Node? {
        do throws(JSONError) {
            let parsed = try PlacedJSON(parsing: text, depthLimit: NodeReader.depthLimit)
            guard parsed.offsets.count <= NodeReader.nodeLimit else {
                report.error(
                    at: position(ofByte: parsed.offsets[NodeReader.nodeLimit]),
                    "the document has more than \(NodeReader.nodeLimit) values",
                    expected: "at most \(NodeReader.nodeLimit)")
                return nil
            }
            offsets = parsed.offsets[...]
            return node(parsed.value)
        } catch {
            report.error(at: position(ofByte: error.offset), "this is not JSON: \(error.message)")
            return nil
        }
    }

    private mutating func node(_ value: JSON) -> Node {
        let offset = offsets.removeFirst()
        let position = position(ofByte: offset)
        switch value {
        case .array(let elements): return .sequence(elements.map { node($0) }, position)
        case .object(let object): return .mapping(Node.Mapping(entries: entries(object), position: position))
        case .string(let text):
            let inside = bytes[(documentStart + offset + 1)...]
            let isVerbatim =
                inside.starts(with: text.utf8) && inside.dropFirst(text.utf8.count).first == UInt8(ascii: "\"")
            return .scalar(
                Node.Scalar(
                    value: value, text: text, isQuoted: true, position: position, isVerbatim: isVerbatim,
                    layout: isVerbatim
                        ? nil : TextLayout(documentStart + offset..<bytes.count, of: bytes, at: position)))
        case .null, .bool, .number:
            // YAML gives the same number the same digits.
            return .scalar(
                Node.Scalar(
                    value: CoreSchema.value(of: value.text), text: value.text, isQuoted: false, position: position,
                    isVerbatim: true))
        }
    }

    private mutating func entries(_ object: JSONObject) -> [Node.Entry] {
        var entries: [Node.Entry] = []
        var places: [String: Position] = [:]
        for member in object.members {
            let position = position(ofByte: offsets.removeFirst())
            let value = node(member.value)
            if let first = places[member.name] {
                report.error(
                    at: position, "the key '\(member.name)' stands twice; first at line \(first.line)",
                    expected: "each key once")
                continue
            }
            places[member.name] = position
            entries.append(Node.Entry(name: member.name, namePosition: position, value: value))
        }
        return entries
    }

    /// - Parameter offset: in the document.
    private mutating func position(ofByte offset: Int) -> Position {
        for byte in bytes[walked.offset..<documentStart + offset] { walked.position.pass(byte) }
        walked.offset = documentStart + offset
        return walked.position
    }
}
