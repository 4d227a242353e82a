/// What the two processes say to each other: a length of four bytes, a kind of one byte, and a body.
struct Frame {
    static let headerSize = 5

    let kind: UInt8
    let body: [UInt8]

    func write(into bytes: inout [UInt8]) {
        bytes.append(littleEndian: UInt32(body.count))
        bytes.append(kind)
        bytes += body
    }
}

/// Takes frames out of a stream of bytes that arrives in pieces.
struct FrameBuffer {
    private var bytes: [UInt8] = []
    private var start = 0

    mutating func append(_ piece: some Collection<UInt8>) {
        if start > 0 {
            bytes.removeFirst(start)
            start = 0
        }
        bytes += piece
    }

    /// The next whole frame.
    mutating func next() -> Frame? {
        guard bytes.count - start >= Frame.headerSize else { return nil }
        let count = Int(UInt32(littleEndianBytes: bytes[start..<start + 4]))
        let body = start + Frame.headerSize
        guard bytes.count - body >= count else { return nil }
        defer { start = body + count }
        return Frame(kind: bytes[start + 4], body: Array(bytes[body..<body + count]))
    }
}

extension [UInt8] {
    mutating func append(littleEndian value: UInt32) {
        for shift in stride(from: UInt32(0), to: 32, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}

extension UInt32 {
    init(littleEndianBytes bytes: ArraySlice<UInt8>) {
        self = bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
}
