package import Primitives

/// What an array can hold. `UInt8` makes the exception: an array of bytes is a `bytea`.
package protocol PostgresArrayElement: Sendable {
    static var arrayType: PostgresType { get }
    static func encodeArray(_ elements: [Self], into bytes: inout [UInt8])
    static func decodeArray(_ bytes: UnsafeRawBufferPointer, type: UInt32) throws(PostgresError) -> [Self]
}

extension Array: PostgresEncodable where Element: PostgresArrayElement {
    package static var postgresType: PostgresType { Element.arrayType }
    package func encode(into bytes: inout [UInt8]) { Element.encodeArray(self, into: &bytes) }
}

extension Array: PostgresDecodable where Element: PostgresArrayElement {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> [Element] {
        try Element.decodeArray(try value(bytes), type: type)
    }
}

extension PostgresArrayElement where Self: PostgresEncodable {
    package static var arrayType: PostgresType {
        PostgresType(name: postgresType.name + "[]", oid: postgresType.arrayOID, arrayOID: 0)
    }

    /// The server's `array_send`: dimensions, flags, element type, length and lower bound, then each element with its length.
    package static func encodeArray(_ elements: [Self], into bytes: inout [UInt8]) {
        bytes.append(bigEndian: Int32(elements.isEmpty ? 0 : 1))
        let flags = bytes.count
        bytes.append(bigEndian: 0 as Int32)
        bytes.append(bigEndian: postgresType.oid)
        guard !elements.isEmpty else { return }
        bytes.append(bigEndian: Int32(elements.count))
        bytes.append(bigEndian: 1 as Int32)
        for element in elements {
            guard !element.isSQLNull else {
                bytes[flags + 3] = 1
                bytes.append(bigEndian: -1 as Int32)
                continue
            }
            let length = bytes.count
            bytes.append(bigEndian: 0 as Int32)
            element.encode(into: &bytes)
            let size = UInt32(bytes.count - length - 4)
            for byte in 0..<4 { bytes[length + byte] = UInt8(truncatingIfNeeded: size >> UInt32(24 - 8 * byte)) }
        }
    }
}

extension PostgresArrayElement where Self: PostgresDecodable {
    package static func decodeArray(_ bytes: UnsafeRawBufferPointer, type: UInt32) throws(PostgresError) -> [Self] {
        guard bytes.count >= 12 else {
            throw .decoding("found a value of type \(type), expected an array of \(Self.self)")
        }
        let dimensions = bytes.bigEndian(Int32.self)
        let element = bytes.bigEndian(UInt32.self, at: 8)
        guard dimensions > 0 else { return [] }
        guard dimensions == 1 else { throw .decoding("found \(dimensions) dimensions, expected one") }
        let count = Int(bytes.bigEndian(Int32.self, at: 12))
        var elements: [Self] = []
        elements.reserveCapacity(count)
        var offset = 20
        for _ in 0..<count {
            let length = Int(bytes.bigEndian(Int32.self, at: offset))
            offset += 4
            if length < 0 {
                elements.append(try Self.decode(nil, type: element))
            } else {
                elements.append(
                    try Self.decode(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]), type: element))
                offset += length
            }
        }
        return elements
    }
}

extension Bool: PostgresArrayElement {}
extension Int16: PostgresArrayElement {}
extension Int32: PostgresArrayElement {}
extension Int64: PostgresArrayElement {}
extension Int: PostgresArrayElement {}
extension Double: PostgresArrayElement {}
extension String: PostgresArrayElement {}
extension UUID: PostgresArrayElement {}
extension Timestamp: PostgresArrayElement {}
extension JSON: PostgresArrayElement {}

extension Duration: PostgresArrayElement {
    package static func decodeArray(_ bytes: UnsafeRawBufferPointer, type: UInt32) throws(PostgresError) -> [Duration] {
        throw .decoding("intervals are not read: they may hold months; select extract(epoch from …) instead")
    }
}

extension Optional: PostgresArrayElement where Wrapped: PostgresEncodable {
    package static func decodeArray(_ bytes: UnsafeRawBufferPointer, type: UInt32) throws(PostgresError) -> [Wrapped?] {
        throw .decoding("arrays with NULL are written, not read")
    }
}

extension UInt8: PostgresArrayElement {
    package static var arrayType: PostgresType { .bytea }

    package static func encodeArray(_ elements: [UInt8], into bytes: inout [UInt8]) { bytes += elements }

    package static func decodeArray(_ bytes: UnsafeRawBufferPointer, type: UInt32) throws(PostgresError) -> [UInt8] {
        Array(bytes)
    }
}
