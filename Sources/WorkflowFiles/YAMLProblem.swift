/// libyaml's complaints in words for who wrote the file: what stands there, and what to do about it.
enum YAMLProblem {
    static func slip(_ error: YAMLError, in bytes: [UInt8]) -> Slip {
        Slip(finding: finding(error, in: bytes), extent: extent(error, in: bytes))
    }

    /// What would be a text if it were quoted.
    private static func extent(_ error: YAMLError, in bytes: [UInt8]) -> [Range<Int>] {
        switch error.problem {
        case "did not find expected alphabetic or numeric character":
            let text = unquoted(at: (error.contextPosition ?? error.position).byte(in: bytes), in: bytes)
            return text.isEmpty ? [] : [text.indices]
        case "found character that cannot start any token" where character(at: error.position, in: bytes) != "\t":
            let start = error.position.byte(in: bytes)
            return start < bytes.count ? [start..<start + 1] : []
        default: return []
        }
    }

    private static func finding(_ error: YAMLError, in bytes: [UInt8]) -> Finding {
        let opening = error.contextPosition ?? error.position
        switch error.problem {
        case "found character that cannot start any token" where character(at: error.position, in: bytes) != "\t":
            return Finding(
                error.position, "a character that cannot begin a value",
                suggestion: "quote texts that begin with '%', '@' or '`'")
        case "found character that cannot start any token", "found a tab character that violates indentation",
            "found a tab character where an indentation space is expected":
            return Finding(error.position, "a tab", expected: "spaces for indentation")
        case "control characters are not allowed":
            return Finding(error.position, "a control character", expected: "a text")
        case "found unexpected end of stream", "found unexpected document indicator":
            return Finding(opening, "the text in quotes that begins here is not closed", expected: "a closing quote")
        case "did not find expected ',' or ']'":
            return unclosed("the list", closer: "]", error, opening, in: bytes)
        case "did not find expected ',' or '}'":
            return unclosed("the mapping", closer: "}", error, opening, in: bytes)
        case "did not find expected node content":
            guard error.position.byte(in: bytes) == bytes.count else {
                return Finding(error.position, "a value is missing here", expected: "a text, a list or a mapping")
            }
            // libyaml is on the line behind the last one here.
            let end = bytes.lastIndex { $0 > 0x20 }.map { $0 + 1 } ?? 0
            return Finding(
                Position(ofByte: end, in: bytes), "the file ends inside [ … ] or { … }", expected: "a closing bracket")
        case "did not find expected alphabetic or numeric character":
            return alias(at: opening, in: bytes)
        case "mapping values are not allowed in this context":
            return Finding(
                error.position, "a colon where no key can stand", expected: "the keys of one mapping indented alike",
                suggestion: "quote a text that holds a colon and a space")
        case "could not find expected ':'":
            return Finding(opening, "a key without a colon", expected: "a colon and a space behind it")
        case "did not find expected key":
            return Finding(
                error.position, "this does not belong to the mapping that begins at line \(opening.line)",
                expected: "the keys of one mapping indented alike")
        case "did not find expected '-' indicator":
            return Finding(
                error.position, "this does not belong to the list that begins at line \(opening.line)",
                expected: "'-' before each element, indented alike")
        case "block sequence entries are not allowed in this context":
            return Finding(
                error.position, "'-' where no list can begin", expected: "the list on lines of its own, or [ … ]")
        case "did not find expected <document start>":
            return Finding(
                error.position, "a text behind the end of a document",
                expected: "'---' on a line between two documents")
        case "found unknown escape character":
            return Finding(
                error.position, "an escape that YAML does not have",
                suggestion: "double the '\\', or put the text in single quotes")
        case "found invalid Unicode character escape code":
            return Finding(
                error.position, "an escape that is no Unicode character",
                suggestion: "write the character itself instead of surrogates")
        default:
            return Finding(error.position, "this is not YAML: \(error.problem)")
        }
    }

    /// Where a bracket is not closed on its line, libyaml goes on to the first text that cannot be inside; what is wrong is
    /// at the bracket.
    private static func unclosed(
        _ what: String, closer: String, _ error: YAMLError, _ opening: Position, in bytes: [UInt8]
    ) -> Finding {
        guard error.position.line != opening.line else {
            return Finding(
                error.position, "this does not belong to \(what) that begins at column \(opening.column)",
                expected: "',' or '\(closer)'")
        }
        let inside = bytes.prefix(error.position.byte(in: bytes)).dropFirst(opening.byte(in: bytes))
        let isCut = zip(inside, inside.dropFirst()).contains { $0 <= 0x20 && $1 == UInt8(ascii: "#") }
        return Finding(
            opening, "\(what) that begins here is not closed", expected: "',' or '\(closer)'",
            suggestion: isCut ? "quote a text that begins with '#', which begins a comment" : nil)
    }

    /// `*.created` and `*`: patterns of topics that YAML takes for an alias.
    private static func alias(at position: Position, in bytes: [UInt8]) -> Finding {
        let word = String(decoding: unquoted(at: position.byte(in: bytes), in: bytes), as: UTF8.self).trimmed
        return Finding(
            position,
            "an unquoted text that begins with '\(word.prefix(1))', which begins an \(name(of: word)) in YAML",
            expected: "it in quotes", suggestion: "write \"\(word.prefix(80))\"")
    }

    private static func unquoted(at start: Int, in bytes: [UInt8]) -> ArraySlice<UInt8> {
        cronLine(at: start, in: bytes) ?? bytes.dropFirst(start).prefix { $0 > 0x20 && !",]}".utf8.contains($0) }
    }

    /// The rest of the line of `cron: */5 * * * *`, without its comment.
    private static func cronLine(at start: Int, in bytes: [UInt8]) -> ArraySlice<UInt8>? {
        let before = bytes[..<start].reversed().drop { $0 == 0x20 }.prefix(5).reversed()
        guard before.elementsEqual("cron:".utf8) else { return nil }
        let rest = bytes[start...].prefix { $0 >= 0x20 && !"#]}".utf8.contains($0) }
        // In { … } a comma and a space end it.
        return zip(rest.indices, rest.indices.dropFirst()).first { rest[$0] == UInt8(ascii: ",") && rest[$1] == 0x20 }
            .map { rest[..<$0.0] } ?? rest
    }

    private static func name(of word: String) -> String { word.hasPrefix("*") ? "alias" : "anchor" }

    private static func character(at position: Position, in bytes: [UInt8]) -> Character? {
        let offset = position.byte(in: bytes)
        return bytes.indices.contains(offset) ? Character(UnicodeScalar(bytes[offset])) : nil
    }
}

extension Position {
    /// The offset of this place in a text; at its end when it has no such place.
    func byte(in bytes: [UInt8]) -> Int {
        var line = 1
        var column = 1
        for (offset, byte) in bytes.enumerated() where byte & 0xC0 != 0x80 {
            if line == self.line, column == self.column { return offset }
            if byte == 0x0A {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return bytes.count
    }
}
