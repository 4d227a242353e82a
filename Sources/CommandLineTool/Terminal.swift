import Glibc
import Primitives

/// What text for a person at a terminal has in common.
enum Terminal {
    static let width = 100
    private static let isColoured = isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == nil

    enum Style: String {
        case bold = "1"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case cyan = "36"
        case dim = "2"
    }

    /// As it is when standard output is no terminal.
    static func styled(_ text: String, _ style: Style) -> String {
        isColoured ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// The words in lines of at most so many characters; a longer word is broken.
    static func wrapped(_ text: String, to width: Int) -> [String] {
        var lines = [""]
        for word in text.plain.split(separator: " ") {
            if lines[lines.count - 1].count + word.count + 1 > width, !lines[lines.count - 1].isEmpty {
                lines.append("")
            }
            if !lines[lines.count - 1].isEmpty { lines[lines.count - 1] += " " }
            var rest = word
            while lines[lines.count - 1].count + rest.count > width {
                let room = max(1, width - lines[lines.count - 1].count)
                lines[lines.count - 1] += rest.prefix(room)
                lines.append("")
                rest = rest.dropFirst(room)
            }
            lines[lines.count - 1] += rest
        }
        return lines
    }
}

extension String {
    /// Without control characters: what others wrote must not steer the terminal.
    var plain: String {
        guard unicodeScalars.contains(where: { $0.isControl }) else { return self }
        return String(String.UnicodeScalarView(unicodeScalars.map { $0.isControl ? " " : $0 }))
    }

    func cut(to length: Int) -> String { count > length ? prefix(length - 1) + "…" : self }

    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }

    func padded(from width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}

extension Unicode.Scalar {
    fileprivate var isControl: Bool { value < 0x20 || (0x7F...0x9F).contains(value) }
}

extension Duration {
    /// As people say it: `204ms`, `1.2s`, `12s`, `4m12s`, `3h05m`, `2d4h`.
    var brief: String {
        let milliseconds = max(0, milliseconds)
        let seconds = milliseconds / 1000
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        switch seconds {
        case 0: return "\(milliseconds)ms"
        case ..<10: return "\(seconds).\(milliseconds % 1000 / 100)s"
        case ..<60: return "\(seconds)s"
        case ..<3600: return "\(seconds / 60)m\(two(seconds % 60))s"
        case ..<86_400: return "\(seconds / 3600)h\(two(seconds / 60 % 60))m"
        default: return "\(seconds / 86_400)d\(seconds / 3600 % 24)h"
        }
    }
}

extension Timestamp {
    /// To the second.
    var brief: String { rfc3339.prefix(19) + "Z" }
}
