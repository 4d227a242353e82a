/// Reads the format of compiled time zones: RFC 8536.
enum TZifFile {
    struct Malformed: Error, Hashable {
        let reason: String
    }

    static func rules(_ bytes: [UInt8], name: String) throws(Malformed) -> TimeZoneRules {
        var reader = Reader(bytes: bytes)
        let head = try Header(&reader)
        guard head.version >= 2 else {
            return TimeZoneRules(name: name, table: try table(head, wide: false, &reader).0, first: 0, rule: nil)
        }
        // The first block is for readers of 1970s' 32 bits: what counts comes behind it, with 64.
        try reader.skip(head.length(wide: false))
        let body = try Header(&reader)
        let (changes, first) = try table(body, wide: true, &reader)
        guard try reader.byte() == 0x0A else { throw Malformed(reason: "it has no footer") }
        let footer = String(decoding: reader.rest.prefix { $0 != 0x0A }, as: UTF8.self)
        var rule: PosixTimeZone?
        if !footer.isEmpty {
            rule = PosixTimeZone(footer)
            if rule == nil { throw Malformed(reason: "its footer '\(footer)' is no rule") }
        }
        return TimeZoneRules(name: name, table: changes, first: first, rule: rule)
    }

    /// Counts of what stands in a block.
    private struct Header {
        let version: Int
        let leapSeconds: Int
        let changes: Int
        let types: Int
        private let standardIndicators: Int
        private let universalIndicators: Int
        private let characters: Int

        init(_ reader: inout Reader) throws(Malformed) {
            guard try reader.number(4) == 0x545A_6966 else { throw Malformed(reason: "it does not begin with TZif") }
            let version = try reader.byte()
            self.version = version == 0 ? 1 : Int(version) - 0x30
            try reader.skip(15)
            universalIndicators = Int(try reader.number(4))
            standardIndicators = Int(try reader.number(4))
            leapSeconds = Int(try reader.number(4))
            changes = Int(try reader.number(4))
            types = Int(try reader.number(4))
            characters = Int(try reader.number(4))
            guard types > 0, [changes, types, characters, leapSeconds].allSatisfy({ $0 >= 0 && $0 < 100_000 }) else {
                throw Malformed(reason: "its counts make no sense")
            }
        }

        func length(wide: Bool) -> Int { changes * (wide ? 9 : 5) + types * 6 + rest(wide: wide) }

        /// What stands behind the types.
        func rest(wide: Bool) -> Int {
            characters + leapSeconds * (wide ? 12 : 8) + standardIndicators + universalIndicators
        }
    }

    private static func table(
        _ head: Header, wide: Bool, _ reader: inout Reader
    ) throws(Malformed) -> ([TimeZoneRules.Change], first: Int64) {
        guard head.leapSeconds == 0 else {
            throw Malformed(reason: "it counts leap seconds, which PostgreSQL does not")
        }
        var instants: [Int64] = []
        for _ in 0..<head.changes { instants.append(try reader.number(wide ? 8 : 4)) }
        var indices: [Int] = []
        for _ in 0..<head.changes { indices.append(Int(try reader.byte())) }
        var offsets: [Int64] = []
        for _ in 0..<head.types {
            offsets.append(try reader.number(4))
            try reader.skip(2)
        }
        try reader.skip(head.rest(wide: wide))
        guard indices.allSatisfy(offsets.indices.contains), zip(instants, instants.dropFirst()).allSatisfy(<),
            offsets.allSatisfy({ abs($0) < 86_400 })
        else { throw Malformed(reason: "its table makes no sense") }
        return (zip(instants, indices).map { TimeZoneRules.Change(at: $0, offset: offsets[$1]) }, offsets[0])
    }

    private struct Reader {
        let bytes: [UInt8]
        private var next = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        var rest: ArraySlice<UInt8> { bytes[next...] }

        mutating func skip(_ count: Int) throws(Malformed) {
            guard count <= bytes.count - next else { throw Malformed(reason: "it is cut off") }
            next += count
        }

        mutating func byte() throws(Malformed) -> UInt8 {
            try skip(1)
            return bytes[next - 1]
        }

        /// Big-endian, with a sign.
        mutating func number(_ width: Int) throws(Malformed) -> Int64 {
            try skip(width)
            let value = bytes[(next - width)..<next].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return width == 8 ? Int64(bitPattern: value) : Int64(Int32(truncatingIfNeeded: value))
        }
    }
}
