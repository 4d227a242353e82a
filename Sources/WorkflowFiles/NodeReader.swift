internal import Primitives

/// Turns the text of a file into one node tree a document, by YAML 1.2 with limits, or as JSON if its name says so.
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
    /// Reading begins again behind each slip, so a file that has nothing else would take for ever.
    static let slipLimit = 100
    /// In bytes of one file.
    static let repetitionLimit = 8 << 20

    private struct Anchored {
        let node: Node
        let count: Int
        /// Bytes of text.
        let length: Int
        /// Levels of nesting, itself included.
        let height: Int
    }

    private let report: Report
    private var text: CoveredText
    private var events: YAMLEvents
    private var documents: [Node] = []
    private var slips: Set<Finding> = []
    private var repeated = 0

    // Of the document that is being read:

    /// Its first line, from 0.
    private var firstLine = 0
    private var root: Node?
    /// Held back, since it may be read again.
    private var findings: [Finding] = []
    private var anchors: [String: Anchored] = [:]
    private var openAnchors: Set<String> = []
    private var nodeCount = 0
    private var textLength = 0
    /// The deepest level since the last look at it: what an anchored value reaches down to.
    private var deepest = 0
    /// It has a value of which nobody can tell what it stands for.
    private var isGarbled = false
    private var walked = (bytes: 0, scalars: 0)

    /// The documents of a file that could be read; the empty ones left out.
    ///
    /// - Parameter expected: what a file of this kind ought to have at the least.
    package static func documents(ofFile path: String, expected: String, _ report: Report) -> [Node] {
        switch SourceFile.read(path, limit: sizeLimit) {
        case .success(let bytes):
            return documents(of: bytes, isJSON: path.hasSuffix(".json"), expected: expected, report)
        case .failure(let failure):
            report.error(at: .wholeFile, failure.message)
            return []
        }
    }

    private static func documents(
        of bytes: [UInt8], isJSON: Bool, expected: String, _ report: Report
    ) -> [Node] {
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
        let documents: [Node]
        if isJSON {
            documents = JSONReader.documents(of: text, report)
        } else {
            var reader = NodeReader(text, report)
            documents = reader.run()
        }
        if documents.isEmpty, report.diagnostics.isEmpty {
            report.error(
                at: Position(line: 1, column: 1), "the file declares nothing", expected: expected,
                suggestion: "remove the file, or give it another ending")
        }
        return documents
    }

    private init(_ bytes: [UInt8], _ report: Report) {
        self.report = report
        var controlCharacters: [Int] = []
        text = CoveredText(bytes, controlCharactersAt: &controlCharacters)
        events = YAMLEvents(text.bytes[...])
        for offset in controlCharacters.prefix(Self.slipLimit) {
            report.error(at: Position(ofByte: offset, in: bytes), "a control character", expected: "a text")
        }
    }

    private mutating func run() -> [Node] {
        while true {
            do {
                try readOn()
                break
            } catch let error as YAMLError {
                let slip = ExpressionSlip.explain(error, in: text) ?? YAMLProblem.slip(error, in: text.original)
                guard goOn(after: slip, at: error.position) else { break }
            } catch let slip as Slip {
                guard goOn(after: slip, at: slip.finding.position) else { break }
            } catch let finding as Finding {
                guard goOn(after: Slip(finding: finding), at: finding.position) else { break }
            } catch {
                preconditionFailure("the reader throws its own errors only: \(error)")
            }
        }
        return documents
    }

    /// Reads to the end of the text.
    private mutating func readOn() throws {
        while true {
            let event = try events.next()
            switch event.kind {
            case .streamEnd: return
            case .documentStart: beginDocument(at: text.line(of: event.start))
            case .documentEnd:
                endDocument()
                beginDocument(at: text.line(of: event.end))
            case .other: break
            default: root = try node(event, depth: 1)
            }
        }
    }

    private mutating func beginDocument(at line: Int) {
        firstLine = line
        root = nil
        findings = []
        anchors = [:]
        openAnchors = []
        nodeCount = 0
        textLength = 0
        isGarbled = false
    }

    private mutating func endDocument() {
        for finding in findings { report.add(finding) }
        findings = []
        guard let root, !root.isEmpty else { return }
        if !isGarbled { documents.append(root) }
        self.root = nil
    }

    // MARK: - Slips

    /// Reports a slip, and has the document read again with the slip covered, or else what follows the document; false when
    /// nothing does.
    ///
    /// - Parameter position: how far the text was read.
    private mutating func goOn(after slip: Slip, at position: Position) -> Bool {
        // A place that was covered is no second slip, whatever YAML makes of the letters there.
        if !text.isCovered(slip.finding.position), slips.insert(slip.finding).inserted {
            report.add(slip: slip.finding)
        }
        let line = text.line(of: position)
        repeated += max(0, text.lineStarts[line] - text.lineStarts[firstLine])
        let isLast = slips.count >= Self.slipLimit || repeated > Self.repetitionLimit
        if !slip.extent.isEmpty, !isLast {
            text.cover(slip.extent)
            begin(at: firstLine)
            return true
        }
        endDocument()
        if isLast {
            let finding = Finding(
                slip.finding.position, "what follows was not read: the file has too many slips",
                suggestion: "mend those above first")
            report.add(slip: finding)
            return false
        }
        guard let next = text.documentStart(from: max(line, firstLine + 1)) else { return false }
        begin(at: next)
        return true
    }

    private mutating func begin(at line: Int) {
        let start = text.lineStarts[line]
        events = YAMLEvents(text.bytes[start...], linesBefore: line)
        walked = (start, 0)
        beginDocument(at: line)
    }

    // MARK: - Nodes

    private mutating func node(_ event: YAMLEvent, depth: Int, isKey: Bool = false) throws -> Node {
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
            let value = value(of: text, tag: tag, isPlain: isPlain && !isKey, at: event.start)
            node = .scalar(scalar(event, value, text: text, isPlain: isPlain, isBlock: isBlock))
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
            findings.append(
                openAnchors.contains(name)
                    ? Finding(position, "the alias '*\(name)' stands inside the value that it names")
                    : Finding(
                        position, "the alias '*\(name)' has no anchor before it",
                        expected: "'&\(name)' at an earlier value",
                        suggestion: "quote the text if it is no alias: \"*\(name)\""))
            isGarbled = true
            return Node(.null, at: position)
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
            let key = try node(event, depth: depth + 1, isKey: true)
            let value = try node(try events.next(), depth: depth + 1)
            guard case .scalar(let scalar) = key else {
                error(at: event.start, "\(key.called) stands as a key", expected: "a text")
                continue
            }
            if let slip = ExpressionSlip.explain(key: scalar, in: text) { throw slip }
            if let first = places[scalar.text] {
                error(
                    at: scalar.position, "the key '\(scalar.text)' stands twice; first at line \(first.line)",
                    expected: "each key once")
            } else if scalar.text == "<<", !scalar.isQuoted {
                error(
                    at: scalar.position, "'<<' merges nothing in YAML 1.2", expected: "the keys themselves",
                    suggestion: "an alias can stand for a whole value: key: *name")
            } else {
                places[scalar.text] = scalar.position
                entries.append(Node.Entry(name: scalar.text, namePosition: scalar.position, value: value))
            }
        }
    }

    private mutating func error(
        at position: Position, _ found: String, expected: String? = nil, suggestion: String? = nil
    ) {
        findings.append(Finding(position, found, expected: expected, suggestion: suggestion))
    }

    // MARK: - Scalars

    private mutating func scalar(_ event: YAMLEvent, _ value: JSON, text: String, isPlain: Bool, isBlock: Bool)
        -> Node.Scalar
    {
        let start = byte(ofIndex: event.startIndex)
        let range = start..<max(start, byte(ofIndex: event.endIndex))
        guard !self.text.isCovered(range) else { return covered(range, event, isPlain: isPlain) }
        let isOneLine = event.start.line == event.end.line
        let width = event.end.column - event.start.column
        // A quoted text with escapes has its characters elsewhere.
        let isVerbatim = !isBlock && isOneLine && width == text.unicodeScalars.count + (isPlain ? 0 : 2)
        return Node.Scalar(
            value: value, text: text, isQuoted: !isPlain, position: event.start, isVerbatim: isVerbatim,
            layout: isVerbatim ? nil : TextLayout(range, of: self.text.original, at: event.start),
            isCutByComment: isPlain && text.contains("${") && isComment(at: range.upperBound))
    }

    /// What was meant by a text with a slip in it.
    private func covered(_ range: Range<Int>, _ event: YAMLEvent, isPlain: Bool) -> Node.Scalar {
        let meant = isPlain ? range : range.dropFirst().dropLast()
        let text = String(decoding: text.original[meant], as: UTF8.self)
        return Node.Scalar(
            value: .string(text), text: text, isQuoted: !isPlain, position: event.start,
            isVerbatim: event.start.line == event.end.line,
            layout: isPlain ? TextLayout(range, of: self.text.original, at: event.start) : nil)
    }

    private mutating func value(of text: String, tag: String?, isPlain: Bool, at position: Position) -> JSON {
        if tag == nil ? isPlain : tag == "tag:yaml.org,2002:float", CoreSchema.isUnwritable(text) {
            error(
                at: position, "'\(text)' is a number in YAML that JSON does not have", expected: "a finite number",
                suggestion: "quote it if a text is meant: \"\(text)\"")
            return .string(text)
        }
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
            error(at: position, "'\(text)' is not what its tag !!\(tag.dropFirst(18)) says")
        default: refuse(tag, at: position)
        }
        return value
    }

    private mutating func checkTag(_ tag: String?, _ expected: String, at position: Position) {
        if let tag, tag != "!", tag != "tag:yaml.org,2002:\(expected)" { refuse(tag, at: position) }
    }

    private mutating func refuse(_ tag: String, at position: Position) {
        error(
            at: position, "the tag '\(tag)' has no meaning here", expected: "no tag, or one of YAML's core schema",
            suggestion: "quote the text if the '!' belongs to it")
    }

    private func isComment(at offset: Int) -> Bool {
        text.bytes[offset...].first { $0 != 0x20 && $0 != 0x09 } == UInt8(ascii: "#")
    }

    /// The offset of a place in Unicode scalars. Places come in rising order, so the text is walked once.
    private mutating func byte(ofIndex index: Int) -> Int {
        while walked.scalars < index, walked.bytes < text.bytes.count {
            repeat {
                walked.bytes += 1
            } while walked.bytes < text.bytes.count && text.bytes[walked.bytes] & 0xC0 == 0x80
            walked.scalars += 1
        }
        return walked.bytes
    }
}

extension Node {
    /// A document of comments only.
    fileprivate var isEmpty: Bool {
        if case .scalar(let scalar) = self { scalar.value == .null && scalar.text.isEmpty } else { false }
    }
}
