internal import Primitives

/// A line while it is put together.
struct LogLine {
    private let format: Log.Format
    private var bytes: [UInt8] = []

    init(_ format: Log.Format, _ level: Log.Level, _ event: String, at time: Timestamp) {
        self.format = format
        bytes.reserveCapacity(256)
        let time = millisecondText(time)
        switch format {
        case .text:
            bytes += "\(time) \(padded("\(level)", to: 7)) \(padded(event, to: 24))".utf8
        case .json:
            bytes += "{\"at\":\"\(time)\",\"level\":\"\(level)\",\"event\":\"".utf8
            appendEscaped(event)
            bytes.append(UInt8(ascii: "\""))
        }
    }

    mutating func add(_ name: String, _ value: LogValue) {
        if value == .absent { return }
        switch format {
        case .text: bytes += " \(name)=".utf8
        case .json: bytes += ",\"\(name)\":".utf8
        }
        switch value {
        case .absent: break
        case .bool(let value): bytes += "\(value)".utf8
        case .number(let digits): bytes += digits.utf8
        case .text(let text) where format == .text && !needsQuotes(text): bytes += text.utf8
        case .text(let text):
            bytes.append(UInt8(ascii: "\""))
            appendEscaped(text)
            bytes.append(UInt8(ascii: "\""))
        }
    }

    consuming func finished() -> [UInt8] {
        switch format {
        case .text:
            while bytes.last == UInt8(ascii: " ") { bytes.removeLast() }
        case .json: bytes.append(UInt8(ascii: "}"))
        }
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }

    /// As in a JSON string, in both formats.
    private mutating func appendEscaped(_ text: String) {
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": bytes += "\\\"".utf8
            case "\\": bytes += "\\\\".utf8
            case "\n": bytes += "\\n".utf8
            case "\r": bytes += "\\r".utf8
            case "\t": bytes += "\\t".utf8
            case _ where isDeceptive(scalar):
                bytes += "\\u".utf8
                for shift in [12, 8, 4, 0] { bytes.append(hexDigits[Int(scalar.value >> UInt32(shift) & 0xF)]) }
            default: bytes += UTF8.encode(scalar)!
            }
        }
    }
}

/// Control characters, and those that break lines or turn the direction of writing: all below U+10000.
private func isDeceptive(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F...0x9F, 0x061C, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069: true
    default: false
    }
}

private func needsQuotes(_ text: String) -> Bool {
    text.isEmpty
        || text.unicodeScalars.contains { $0 == " " || $0 == "\"" || $0 == "=" || $0 == "\\" || isDeceptive($0) }
}

private func padded(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.utf8.count))
}

/// RFC 3339 with exactly three digits, so that lines align.
private func millisecondText(_ time: Timestamp) -> String {
    let (seconds, fraction) = time.microseconds.quotientAndRemainder(dividingBy: 1_000_000)
    let digits = String(1000 + fraction / 1000).dropFirst()
    return "\(Timestamp(microseconds: seconds * 1_000_000).rfc3339.dropLast()).\(digits)Z"
}
