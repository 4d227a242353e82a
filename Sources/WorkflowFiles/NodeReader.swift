internal import Primitives

/// Turns the text of a file into one node tree a document, by YAML 1.2 with limits. JSON is a part of YAML.
///
/// Trees are built from libyaml's events, not by its loader: that one has no positions of keys and expands nothing with
/// a limit.
package struct NodeReader {
    /// Larger files are refused before they are read.
    static let sizeLimit = 1 << 20
    static let depthLimit = 64
    /// Of one document, aliases expanded: ten lines of YAML can stand for billions of values.
    static let nodeLimit = 100_000
    /// In bytes, of one document, aliases expanded: each expansion is read again.
    static let textLimit = 4 << 20

    private struct Anchored {
        let node: Node
        let count: Int
        /// Bytes of text.
        let length: Int
        /// Levels of nesting, itself included.
        let height: Int
    }

    private let report: Report
    private let bytes: [UInt8]
    private let expected: String
    private let events: YAMLEvents
    private var anchors: [String: Anchored] = [:]
    private var openAnchors: Set<String> = []
    private var nodeCount = 0
    private var textLength = 0
    /// The deepest level since the last look at it: what an anchored value reaches down to.
    private var deepest = 0
    private var isGarbled = false
    private var isAnythingRead = false
    /// Offsets of the lines.
    private lazy var lineStarts = [0] + bytes.indices.filter { bytes[$0] == 0x0A }.map { $0 + 1 }
    private var walked = (bytes: 0, scalars: 0)

    /// The documents of a file that could be read; the empty ones left out.
    ///
    /// - Parameter expected: what a file of this kind ought to have at the least.
    package static func documents(ofFile path: String, expected: String, _ report: Report) -> [Node] {
        switch SourceFile.read(path, limit: sizeLimit) {
        case .success(let bytes): return documents(of: bytes, expected: expected, report)
        case .failure(let failure):
            report.error(at: .wholeFile, failure.message)
            return []
        }
    }

    static func documents(of bytes: [UInt8], expected: String, _ report: Report) -> [Node] {
        guard bytes.count <= sizeLimit else {
            report.error(
                at: .wholeFile, "the file has \(bytes.count) bytes", expected: "at most \(sizeLimit)")
            return []
        }
        let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let text = bytes.starts(with: byteOrderMark) ? Array(bytes.dropFirst(3)) : bytes
        if let offset = UTF8Check.firstInvalidByte(in: text) {
            let hexadecimal = String(text[offset], radix: 16, uppercase: true)
            report.error(
                at: Position(ofByte: offset, in: text), "the byte 0x\(hexadecimal) is not UTF-8",
                expected: "a text in UTF-8")
            return []
        }
        var reader = NodeReader(text, expected: expected, report)
        return reader.run()
    }

    private init(_ bytes: [UInt8], expected: String, _ report: Report) {
        self.bytes = bytes
        self.expected = expected
        self.report = report
        events = YAMLEvents(bytes)
    }

    private mutating func run() -> [Node] {
        var documents: [Node] = []
        do {
            while true {
                let event = try events.next()
                switch event.kind {
                case .streamEnd:
                    if !isAnythingRead, report.diagnostics.isEmpty {
                        report.error(
                            at: Position(line: 1, column: 1), "the file declares nothing",
                            expected: expected,
                            suggestion: "remove the file, or give it another ending")
                    }
                    return documents
                case .documentStart:
                    anchors = [:]
                    nodeCount = 0
                    textLength = 0
                    isGarbled = false
                case .documentEnd, .other: break
                default:
                    let node = try node(event, depth: 1)
                    if node.isEmpty { continue }
                    isAnythingRead = true
                    if !isGarbled { documents.append(node) }
                }
            }
        } catch let error as YAMLError {
            // After a slip in this document libyaml only tells what follows from it.
            if !isGarbled {
                report.add(ExpressionSlip.explain(error, in: bytes) ?? YAMLProblem.finding(error, in: bytes))
            }
        } catch let finding as Finding {
            report.add(finding)
        } catch {
            preconditionFailure("the reader throws its own errors only: \(error)")
        }
        return documents
    }

    // MARK: - Nodes

    private mutating func node(_ event: YAMLEvent, depth: Int) throws -> Node {
        try checkDepth(depth, at: event.start)
        try count(1, at: event.start)
        let before = (nodes: nodeCount - 1, text: textLength)
        let deepestBefore = deepest
        deepest = depth
        if let anchor = event.anchor { openAnchors.insert(anchor) }
        let node: Node
        switch event.kind {
        case .scalar(let text, let tag, let isPlain, let isBlock):
            try count(text: text.utf8.count, at: event.start)
            node = .scalar(scalar(event, text: text, tag: tag, isPlain: isPlain, isBlock: isBlock))
        case .sequenceStart(let tag):
            checkTag(tag, "seq", at: event.start)
            node = .sequence(try elements(depth: depth), event.start)
        case .mappingStart(let tag):
            checkTag(tag, "map", at: event.start)
            node = .mapping(Node.Mapping(entries: try entries(depth: depth), position: event.start))
        case .alias(let name): node = try alias(name, depth: depth, at: event.start)
        case .sequenceEnd, .mappingEnd, .documentStart, .documentEnd, .streamEnd, .other:
            preconditionFailure("libyaml gives a value where a value stands")
        }
        if let anchor = event.anchor {
            openAnchors.remove(anchor)
            anchors[anchor] = Anchored(
                node: node, count: nodeCount - before.nodes, length: textLength - before.text,
                height: deepest - depth + 1)
        }
        deepest = max(deepest, deepestBefore)
        return node
    }

    private func checkDepth(_ depth: Int, at position: Position) throws {
        guard depth <= Self.depthLimit else {
            throw Finding(
                position, "more than \(Self.depthLimit) levels of nesting, aliases expanded",
                expected: "at most \(Self.depthLimit)")
        }
    }

    private mutating func count(_ nodes: Int, at position: Position) throws {
        nodeCount += nodes
        guard nodeCount <= Self.nodeLimit else {
            throw Finding(
                position, "the document has more than \(Self.nodeLimit) values, aliases expanded",
                expected: "at most \(Self.nodeLimit)")
        }
    }

    private mutating func count(text: Int, at position: Position) throws {
        textLength += text
        guard textLength <= Self.textLimit else {
            throw Finding(
                position, "the document has more than \(Self.textLimit) bytes of text, aliases expanded",
                expected: "at most \(Self.textLimit)")
        }
    }

    private mutating func alias(_ name: String, depth: Int, at position: Position) throws -> Node {
        guard let anchored = anchors[name] else {
            throw openAnchors.contains(name)
                ? Finding(position, "the alias '*\(name)' stands inside the value that it names")
                : Finding(
                    position, "the alias '*\(name)' has no anchor before it",
                    expected: "'&\(name)' at an earlier value",
                    suggestion: "quote the text if it is no alias: \"*\(name)\"")
        }
        try count(anchored.count - 1, at: position)
        try count(text: anchored.length, at: position)
        deepest = depth + anchored.height - 1
        try checkDepth(deepest, at: position)
        return anchored.node
    }

    private mutating func elements(depth: Int) throws -> [Node] {
        var nodes: [Node] = []
        while true {
            let event = try events.next()
            if case .sequenceEnd = event.kind { return nodes }
            nodes.append(try node(event, depth: depth + 1))
        }
    }

    private mutating func entries(depth: Int) throws -> [Node.Entry] {
        var entries: [Node.Entry] = []
        var places: [String: Position] = [:]
        while true {
            let event = try events.next()
            if case .mappingEnd = event.kind { return entries }
            let key = try node(event, depth: depth + 1)
            let value = try node(try events.next(), depth: depth + 1)
            // The rest of a document follows from the slip in it; messages about it would mislead.
            if isGarbled { continue }
            guard case .scalar(let scalar) = key else {
                report.error(at: event.start, "\(key.called) stands as a key", expected: "a text")
                continue
            }
            if let slip = ExpressionSlip.explain(key: scalar, in: bytes, line: lineStart(scalar.position)) {
                report.add(slip)
                isGarbled = true
            } else if let first = places[scalar.text] {
                report.error(
                    at: scalar.position, "the key '\(scalar.text)' stands twice; first at line \(first.line)",
                    expected: "each key once")
            } else if scalar.text == "<<", !scalar.isQuoted {
                report.error(
                    at: scalar.position, "'<<' merges nothing in YAML 1.2", expected: "the keys themselves",
                    suggestion: "an alias can stand for a whole value: key: *name")
            } else {
                places[scalar.text] = scalar.position
                entries.append(Node.Entry(name: scalar.text, namePosition: scalar.position, value: value))
            }
        }
    }

    /// libyaml also ends lines at characters that nobody means so (U+2028): then this is the last line.
    private mutating func lineStart(_ position: Position) -> Int {
        lineStarts[min(position.line, lineStarts.count) - 1]
    }

    // MARK: - Scalars

    private mutating func scalar(_ event: YAMLEvent, text: String, tag: String?, isPlain: Bool, isBlock: Bool)
        -> Node.Scalar
    {
        let isOneLine = event.start.line == event.end.line
        let width = event.end.column - event.start.column
        // A quoted text with escapes has lost its columns.
        let isVerbatim = !isBlock && isOneLine && width == text.unicodeScalars.count + (isPlain ? 0 : 2)
        return Node.Scalar(
            value: value(of: text, tag: tag, isPlain: isPlain, at: event.start), text: text, isQuoted: !isPlain,
            position: event.start, isVerbatim: isVerbatim,
            isCutByComment: isPlain && text.contains("${") && isComment(at: event.endIndex))
    }

    private func value(of text: String, tag: String?, isPlain: Bool, at position: Position) -> JSON {
        guard let tag else { return isPlain ? CoreSchema.value(of: text) : .string(text) }
        let value = CoreSchema.value(of: text)
        switch (tag, value) {
        case ("!", _), ("tag:yaml.org,2002:str", _): return .string(text)
        case ("tag:yaml.org,2002:null", .null), ("tag:yaml.org,2002:bool", .bool), ("tag:yaml.org,2002:float", .number):
            return value
        case ("tag:yaml.org,2002:int", .number(let number))
        where number.digits.utf8.allSatisfy({ $0 < 0x3A && $0 != 0x2E }):
            return value
        case ("tag:yaml.org,2002:null", _), ("tag:yaml.org,2002:bool", _), ("tag:yaml.org,2002:float", _),
            ("tag:yaml.org,2002:int", _):
            report.error(at: position, "'\(text)' is not what its tag !!\(tag.dropFirst(18)) says")
        default: refuse(tag, at: position)
        }
        return value
    }

    private func checkTag(_ tag: String?, _ expected: String, at position: Position) {
        if let tag, tag != "!", tag != "tag:yaml.org,2002:\(expected)" { refuse(tag, at: position) }
    }

    private func refuse(_ tag: String, at position: Position) {
        report.error(
            at: position, "the tag '\(tag)' has no meaning here", expected: "no tag, or one of YAML's core schema",
            suggestion: "quote the text if the '!' belongs to it")
    }

    /// Whether spaces and `#` follow a place in Unicode scalars. Places come in rising order, so the text is walked once.
    private mutating func isComment(at index: Int) -> Bool {
        while walked.scalars < index, walked.bytes < bytes.count {
            repeat { walked.bytes += 1 } while walked.bytes < bytes.count && bytes[walked.bytes] & 0xC0 == 0x80
            walked.scalars += 1
        }
        return bytes[walked.bytes...].first { $0 != 0x20 && $0 != 0x09 } == UInt8(ascii: "#")
    }
}

extension Node {
    /// A document of comments only.
    fileprivate var isEmpty: Bool {
        if case .scalar(let scalar) = self { scalar.value == .null && scalar.text.isEmpty } else { false }
    }
}
