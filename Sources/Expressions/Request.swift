/// What the worker asks of the process for expressions.
enum Request {
    /// Binds `$env`, a JSON object, for the programs that follow; not answered.
    case environment([UInt8])
    /// Compiles a program and keeps it under a number.
    case program(id: UInt32, text: String)
    /// Runs a kept program on a JSON text.
    case run(id: UInt32, input: [UInt8])
    /// Compiles a program and forgets it.
    case check(text: String)

    var frame: Frame {
        switch self {
        case .environment(let json): return Frame(kind: UInt8(ascii: "e"), body: json)
        case .program(let id, let text): return Self.frame(UInt8(ascii: "p"), id, Array(text.utf8))
        case .run(let id, let input): return Self.frame(UInt8(ascii: "r"), id, input)
        case .check(let text): return Frame(kind: UInt8(ascii: "c"), body: Array(text.utf8))
        }
    }

    private static func frame(_ kind: UInt8, _ id: UInt32, _ rest: [UInt8]) -> Frame {
        var body: [UInt8] = []
        body.reserveCapacity(4 + rest.count)
        body.append(littleEndian: id)
        return Frame(kind: kind, body: body + rest)
    }

    /// Nil for what no `Request` writes.
    init?(_ frame: Frame) {
        switch frame.kind {
        case UInt8(ascii: "e"): self = .environment(frame.body)
        case UInt8(ascii: "c"): self = .check(text: String(decoding: frame.body, as: UTF8.self))
        case UInt8(ascii: "p") where frame.body.count >= 4:
            self = .program(
                id: UInt32(littleEndianBytes: frame.body[..<4]), text: String(decoding: frame.body[4...], as: UTF8.self)
            )
        case UInt8(ascii: "r") where frame.body.count >= 4:
            self = .run(id: UInt32(littleEndianBytes: frame.body[..<4]), input: Array(frame.body[4...]))
        default: return nil
        }
    }
}
