/// A text in one line, fit to be shown: runs of white space and control characters become one space, what steers the
/// direction of writing is left out.
func oneLine(_ text: String) -> String {
    var line = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator, .spaceSeparator:
            if line.last != " " { line.append(" ") }
        case .format, .surrogate, .unassigned, .privateUse: break
        default: line.append(scalar)
        }
    }
    if line.first == " " { line.removeFirst() }
    if line.last == " " { line.removeLast() }
    return String(line)
}

extension Character {
    /// Columns in a terminal, or in a monospaced font: 2 for East Asian wide characters and emoji (Unicode, UAX 11), else 1.
    /// Blocks as a whole, since a column too many only costs room.
    var columns: Int {
        unicodeScalars.contains { scalar in
            switch scalar.value {
            case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7A3, 0xF900...0xFAFF,
                0xFE10...0xFE6F, 0xFF01...0xFF60, 0xFFE0...0xFFE6, 0x1F000...0x1FAFF, 0x20000...0x3FFFD:
                true
            default: scalar.properties.isEmojiPresentation
            }
        } ? 2 : 1
    }
}

extension StringProtocol {
    var columns: Int {
        let count = utf8.count
        // Most texts are ASCII, where every byte is a column.
        return utf8.allSatisfy { $0 < 0x80 } ? count : reduce(0) { $0 + $1.columns }
    }
}

/// A text in lines of at most so many columns: broken at spaces, but not at those of an expression; within a word that is
/// too long by itself after a character that separates, if one is near.
///
/// - Parameter mostLines: what goes beyond is cut off, with an ellipsis.
func wrapped(_ text: String, width: Int, mostLines: Int = .max) -> [String] {
    var lines: [String] = []
    var line = ""
    for word in words(of: text) {
        if line.isEmpty {
            line = word
        } else if line.columns + 1 + word.columns <= width || word.columns > width {
            line += " " + word
        } else {
            lines.append(line)
            line = word
        }
        while line.columns > width {
            let end = breakPlace(in: line, width: width)
            lines.append(trimmed(line[..<end]))
            line = String(line[end...].drop { $0 == " " })
        }
    }
    if !line.isEmpty { lines.append(line) }
    guard lines.count > mostLines else { return lines }
    var last = lines[mostLines - 1]
    while last.columns >= width { last.removeLast() }
    return lines[..<(mostLines - 1)] + [last + "…"]
}

private func trimmed(_ text: Substring) -> String {
    String(text.last == " " ? text.dropLast() : text)
}

/// `POST`, `https://a.example/${ .input.id }`.
private func words(of text: String) -> [String] {
    var words: [String] = []
    var depth = 0
    for piece in text.split(separator: " ") {
        if depth > 0 { words[words.count - 1] += " " + piece } else { words.append(String(piece)) }
        for character in piece {
            switch character {
            case "{" where depth > 0: depth += 1
            case "}" where depth > 0: depth -= 1
            case "{" where piece.contains("${"): depth += 1
            default: break
            }
        }
    }
    return words
}

/// After a space or a separator of URLs, if that leaves not too short a line; else after another separator; else where it must
/// be.
private func breakPlace(in line: String, width: Int) -> String.Index {
    var columns = 0
    var depth = 0
    var place = line.index(after: line.startIndex)
    var strong: String.Index?
    var weak: String.Index?
    for index in line.indices {
        columns += line[index].columns
        guard columns <= width else { break }
        place = line.index(after: index)
        switch line[index] {
        case "{": depth += 1
        case "}": depth -= 1
        default: break
        }
        // No brace on a line of its own.
        if place < line.endIndex, line[place] == "}" { continue }
        let isDoubled = place < line.endIndex && line[place] == "/" || line[..<index].last == "/"
        if depth == 0, " /?&".contains(line[index]), !isDoubled, columns * 4 > width { strong = place }
        if " =,;:|_-.".contains(line[index]), columns * 2 > width { weak = place }
    }
    return strong ?? weak ?? place
}
