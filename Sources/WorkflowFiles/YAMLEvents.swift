internal import CLibYAML

/// A step of libyaml's parser: C memory copied, positions counted from 1.
struct YAMLEvent {
    enum Kind {
        case scalar(text: String, tag: String?, isPlain: Bool, isBlock: Bool)
        case sequenceStart(tag: String?)
        case sequenceEnd
        case mappingStart(tag: String?)
        case mappingEnd
        case alias(String)
        case documentStart
        case documentEnd
        case streamEnd
        /// Of no meaning to a reader of values.
        case other
    }

    let kind: Kind
    let anchor: String?
    let start: Position
    let end: Position

    /// In Unicode scalars from where reading began, which is how libyaml counts.
    let startIndex: Int
    let endIndex: Int
}

/// What libyaml refuses.
struct YAMLError: Error {
    let problem: String
    let position: Position
    /// Where the construct begins in which the problem is.
    let contextPosition: Position?
}

/// The events of a text, one after the other. The text must be valid UTF-8.
final class YAMLEvents {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let text: UnsafeMutableBufferPointer<UInt8>
    private let linesBefore: Int

    /// - Parameter linesBefore: how many lines of the file stand before this text, which begins a line.
    init(_ bytes: ArraySlice<UInt8>, linesBefore: Int = 0) {
        self.linesBefore = linesBefore
        parser = .allocate(capacity: 1)
        precondition(yaml_parser_initialize(parser) == 1, "no memory for a YAML parser")
        text = .allocate(capacity: bytes.count)
        _ = text.initialize(from: bytes)
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, text.baseAddress, bytes.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        text.deallocate()
    }

    func next() throws(YAMLError) -> YAMLEvent {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw error() }
        defer { yaml_event_delete(&event) }
        let (kind, anchor) = Self.kind(of: event)
        return YAMLEvent(
            kind: kind, anchor: anchor, start: position(event.start_mark), end: position(event.end_mark),
            startIndex: event.start_mark.index, endIndex: event.end_mark.index)
    }

    private static func kind(of event: yaml_event_t) -> (YAMLEvent.Kind, anchor: String?) {
        switch event.type {
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            let isBlock = scalar.style == YAML_LITERAL_SCALAR_STYLE || scalar.style == YAML_FOLDED_SCALAR_STYLE
            let isPlain = scalar.style == YAML_PLAIN_SCALAR_STYLE
            return (
                .scalar(text: text, tag: string(scalar.tag), isPlain: isPlain, isBlock: isBlock), string(scalar.anchor)
            )
        case YAML_SEQUENCE_START_EVENT:
            return (
                .sequenceStart(tag: string(event.data.sequence_start.tag)), string(event.data.sequence_start.anchor)
            )
        case YAML_MAPPING_START_EVENT:
            return (.mappingStart(tag: string(event.data.mapping_start.tag)), string(event.data.mapping_start.anchor))
        case YAML_ALIAS_EVENT: return (.alias(string(event.data.alias.anchor) ?? ""), nil)
        case YAML_SEQUENCE_END_EVENT: return (.sequenceEnd, nil)
        case YAML_MAPPING_END_EVENT: return (.mappingEnd, nil)
        case YAML_DOCUMENT_START_EVENT: return (.documentStart, nil)
        case YAML_DOCUMENT_END_EVENT: return (.documentEnd, nil)
        case YAML_STREAM_END_EVENT: return (.streamEnd, nil)
        default: return (.other, nil)
        }
    }

    private static func string(_ pointer: UnsafePointer<UInt8>?) -> String? {
        pointer.map { String(cString: $0) }
    }

    private func error() -> YAMLError {
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "the text cannot be read"
        // The reader counts bytes; the scanner and the parser set a mark.
        var place =
            parser.pointee.error == YAML_READER_ERROR
            ? Position(ofByte: parser.pointee.problem_offset, in: text) : Position(parser.pointee.problem_mark)
        place.line += linesBefore
        let hasContext = parser.pointee.context != nil
        return YAMLError(
            problem: problem, position: place,
            contextPosition: hasContext ? position(parser.pointee.context_mark) : nil)
    }

    private func position(_ mark: yaml_mark_t) -> Position {
        var position = Position(mark)
        position.line += linesBefore
        return position
    }
}

extension Position {
    init(_ mark: yaml_mark_t) {
        self.init(line: mark.line + 1, column: mark.column + 1)
    }

    /// The place of a byte in a text.
    init(ofByte offset: Int, in text: some Collection<UInt8>) {
        self.init(line: 1, column: 1)
        for byte in text.prefix(offset) { pass(byte) }
    }
}
