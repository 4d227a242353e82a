import Primitives

/// A value that can be a parameter, in PostgreSQL's binary form of its type.
package protocol PostgresEncodable: Sendable {
    static var postgresType: PostgresType { get }
    /// The value `null` of JSON is none.
    var isSQLNull: Bool { get }
    func encode(into bytes: inout [UInt8])
}

extension PostgresEncodable {
    package var isSQLNull: Bool { false }
}

/// A value that can be read from a result.
package protocol PostgresDecodable {
    /// - Parameters:
    ///   - bytes: nil for NULL.
    ///   - type: the column's type.
    static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> Self
}

extension PostgresDecodable {
    static func value(_ bytes: UnsafeRawBufferPointer?) throws(PostgresError) -> UnsafeRawBufferPointer {
        guard let bytes else { throw .decoding("found NULL, expected \(Self.self)") }
        return bytes
    }

    static func mismatch(_ type: UInt32) -> PostgresError {
        .decoding("found a value of type \(type) (select \(type)::regtype), expected \(Self.self)")
    }
}

// MARK: - Numbers

extension [UInt8] {
    /// Big endian, as all of the protocol.
    mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}

extension UnsafeRawBufferPointer {
    func bigEndian<Integer: FixedWidthInteger>(_ type: Integer.Type, at offset: Int = 0) -> Integer {
        Integer(bigEndian: loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }
}

extension Bool: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .bool }

    package func encode(into bytes: inout [UInt8]) { bytes.append(self ? 1 : 0) }

    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> Bool {
        let bytes = try value(bytes)
        guard type == PostgresType.bool.oid else { throw mismatch(type) }
        return bytes[0] != 0
    }
}

/// The integers of PostgreSQL; a narrower column is read into a wider type.
package protocol PostgresInteger: FixedWidthInteger, PostgresEncodable, PostgresDecodable {}

extension PostgresInteger {
    package func encode(into bytes: inout [UInt8]) { bytes.append(bigEndian: self) }

    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> Self {
        let bytes = try value(bytes)
        let wide: Int64
        switch type {
        case PostgresType.int8.oid: wide = bytes.bigEndian(Int64.self)
        case PostgresType.int4.oid: wide = Int64(bytes.bigEndian(Int32.self))
        case PostgresType.int2.oid: wide = Int64(bytes.bigEndian(Int16.self))
        case 26: wide = Int64(bytes.bigEndian(UInt32.self))  // oid
        default: throw mismatch(type)
        }
        guard let exact = Self(exactly: wide) else {
            throw .decoding("found \(wide), which is too large for \(Self.self)")
        }
        return exact
    }
}

extension Int16: PostgresInteger {
    package static var postgresType: PostgresType { .int2 }
}

extension Int32: PostgresInteger {
    package static var postgresType: PostgresType { .int4 }
}

extension Int64: PostgresInteger {
    package static var postgresType: PostgresType { .int8 }
}

extension Int: PostgresInteger {
    package static var postgresType: PostgresType { .int8 }
}

extension Double: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .float8 }

    package func encode(into bytes: inout [UInt8]) { bytes.append(bigEndian: bitPattern) }

    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> Double {
        let bytes = try value(bytes)
        switch type {
        case PostgresType.float8.oid: return Double(bitPattern: bytes.bigEndian(UInt64.self))
        case 700: return Double(Float(bitPattern: bytes.bigEndian(UInt32.self)))  // real
        default: throw mismatch(type)
        }
    }
}

// MARK: - Texts and bytes

extension String: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .text }

    package func encode(into bytes: inout [UInt8]) { bytes += utf8 }

    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> String {
        let bytes = try value(bytes)
        if type == PostgresType.jsonb.oid { return String(decoding: bytes.dropFirst(), as: UTF8.self) }
        guard PostgresType.textual.contains(type) else { throw mismatch(type) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
