/// One SQL statement with its parameters, told from text in quotes and from comments (PostgreSQL manual, section 4.1
/// "Lexical Structure"). Whether it is good SQL is the database's to say.
struct SQLStatement {
    struct Problem: Error {
        /// In UTF-8 bytes.
        let offset: Int
        let found: String
        let expected: String
    }

    let text: String
    /// The highest n of `$n`.
    let parameterCount: Int

    init(_ text: String) throws(Problem) {
        self.text = text
        var lexer = SQLLexer(text)
        parameterCount = try lexer.run()
    }
}

private struct SQLLexer {
    typealias Problem = SQLStatement.Problem

    private let bytes: [UInt8]
    private var next = 0
    private var parameterCount = 0
    /// Behind a `;`.
    private var isEnded = false
    private var isEmpty = true
    /// What would end the transaction that it is run in, or is of use only to a session that goes on (PostgreSQL manual,
    /// chapter VI "SQL Commands").
    private static let refused: Set<String> = [
        "abort", "begin", "commit", "deallocate", "discard", "end", "listen", "prepare", "release", "reset",
        "rollback", "savepoint", "set", "start", "unlisten",
    ]

    init(_ text: String) {
        bytes = Array(text.utf8)
    }

    /// Gives the highest n of `$n`.
    mutating func run() throws(Problem) -> Int {
        while next < bytes.count { try token() }
        guard !isEmpty else { throw Problem(offset: 0, found: "no statement stands in sql", expected: "one statement") }
        return parameterCount
    }

    private func peek(_ distance: Int = 0) -> UInt8? {
        next + distance < bytes.count ? bytes[next + distance] : nil
    }

    private mutating func token() throws(Problem) {
        let byte = bytes[next]
        if byte <= 0x20 {
            next += 1
        } else if byte == UInt8(ascii: "-"), peek(1) == byte {
            while let byte = peek(), byte != 0x0A { next += 1 }
        } else if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
            try comment()
        } else if byte == UInt8(ascii: ";") {
            isEnded = true
            next += 1
        } else {
            guard !isEnded else {
                throw Problem(
                    offset: next, found: "a second statement stands in sql", expected: "one statement in each step")
            }
            if isEmpty { try checkCommand() }
            isEmpty = false
            try part(byte)
        }
    }

    /// The first word, which says what kind of statement it is.
    private func checkCommand() throws(Problem) {
        let word = String(decoding: bytes[next...].prefix(while: Self.isWord), as: UTF8.self).lowercased()
        guard Self.refused.contains(word) else { return }
        throw Problem(
            offset: next, found: "the command '\(word)' stands in sql",
            expected: "a statement that is part of Outrider's transaction, and leaves it and its session as they are")
    }

    private mutating func part(_ byte: UInt8) throws(Problem) {
        switch byte {
        case UInt8(ascii: "'"): try quoted(byte, hasEscapes: false)
        case UInt8(ascii: "\""): try quoted(byte, hasEscapes: false)
        case UInt8(ascii: "$"): try dollar()
        case _ where Self.isWord(byte):
            let start = next
            while let byte = peek(), Self.isWord(byte) || byte == UInt8(ascii: "$") { next += 1 }
            // E'…' has escapes.
            if next == start + 1, byte | 0x20 == UInt8(ascii: "e"), peek() == UInt8(ascii: "'") {
                try quoted(UInt8(ascii: "'"), hasEscapes: true)
            }
        default: next += 1
        }
    }

    /// A quote that is doubled stands for itself.
    private mutating func quoted(_ quote: UInt8, hasEscapes: Bool) throws(Problem) {
        let start = next
        next += 1
        while let byte = peek() {
            next += 1
            if hasEscapes, byte == UInt8(ascii: "\\") {
                next += 1
            } else if byte == quote {
                guard peek() == quote else { return }
                next += 1
            }
        }
        throw Problem(offset: start, found: "a text in quotes is not closed in sql", expected: "a closing quote")
    }

    /// `$1`, or a text between `$tag$` and `$tag$`.
    private mutating func dollar() throws(Problem) {
        let start = next
        next += 1
        let digits = bytes[next...].prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard digits.isEmpty else {
            next = digits.endIndex
            guard let number = Int(String(decoding: digits, as: UTF8.self)), (1...65_535).contains(number) else {
                throw Problem(
                    offset: start, found: "the parameter $\(String(decoding: digits.prefix(20), as: UTF8.self))",
                    expected: "$1, $2, …")
            }
            parameterCount = max(parameterCount, number)
            return
        }
        let tag = bytes[next...].prefix(while: Self.isWord)
        guard tag.endIndex < bytes.count, bytes[tag.endIndex] == UInt8(ascii: "$") else { return }
        let delimiter = bytes[start...tag.endIndex]
        next = tag.endIndex + 1
        while next < bytes.count {
            if bytes[next] == UInt8(ascii: "$"), bytes[next...].starts(with: delimiter) {
                next += delimiter.count
                return
            }
            next += 1
        }
        throw Problem(
            offset: start, found: "a text between dollar signs is not closed in sql",
            expected: String(decoding: delimiter, as: UTF8.self))
    }

    /// `/* … */`, which nests.
    private mutating func comment() throws(Problem) {
        let start = next
        var depth = 0
        while next < bytes.count {
            switch (bytes[next], peek(1)) {
            case (UInt8(ascii: "/"), UInt8(ascii: "*")): depth += 1
            case (UInt8(ascii: "*"), UInt8(ascii: "/")): depth -= 1
            default:
                next += 1
                continue
            }
            next += 2
            if depth == 0 { return }
        }
        throw Problem(offset: start, found: "a comment is not closed in sql", expected: "*/")
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || byte >= 0x80 || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}
