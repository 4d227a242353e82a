/// What the process for expressions answers.
enum Reply: Equatable {
    /// It has started, or has compiled.
    case ready
    /// A JSON text.
    case value([UInt8])
    case failed(String)
    case syntax(String)
    case resultCount(String)
    case inexactNumber(String)

    var frame: Frame {
        switch self {
        case .ready: Frame(kind: UInt8(ascii: "k"), body: [])
        case .value(let json): Frame(kind: UInt8(ascii: "v"), body: json)
        case .failed(let message): Frame(kind: UInt8(ascii: "f"), body: Array(message.utf8))
        case .syntax(let message): Frame(kind: UInt8(ascii: "s"), body: Array(message.utf8))
        case .resultCount(let found): Frame(kind: UInt8(ascii: "n"), body: Array(found.utf8))
        case .inexactNumber(let digits): Frame(kind: UInt8(ascii: "d"), body: Array(digits.utf8))
        }
    }

    init?(_ frame: Frame) {
        let text = { String(decoding: frame.body, as: UTF8.self) }
        switch frame.kind {
        case UInt8(ascii: "k"): self = .ready
        case UInt8(ascii: "v"): self = .value(frame.body)
        case UInt8(ascii: "f"): self = .failed(text())
        case UInt8(ascii: "s"): self = .syntax(text())
        case UInt8(ascii: "n"): self = .resultCount(text())
        case UInt8(ascii: "d"): self = .inexactNumber(text())
        default: return nil
        }
    }
}
