package import Primitives

extension UUID: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .uuid }

    package func encode(into bytes: inout [UInt8]) {
        bytes.append(bigEndian: high)
        bytes.append(bigEndian: low)
    }

    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> UUID {
        let bytes = try value(bytes)
        guard type == PostgresType.uuid.oid else { throw mismatch(type) }
        return UUID(high: bytes.bigEndian(UInt64.self), low: bytes.bigEndian(UInt64.self, at: 8))
    }
}

/// PostgreSQL counts microseconds from the year 2000.
private let epoch2000: Int64 = 946_684_800_000_000

extension Timestamp: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .timestamptz }

    package func encode(into bytes: inout [UInt8]) { bytes.append(bigEndian: microseconds - epoch2000) }

    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> Timestamp {
        let bytes = try value(bytes)
        guard type == PostgresType.timestamptz.oid else { throw mismatch(type) }
        let since2000 = bytes.bigEndian(Int64.self)
        let (microseconds, overflow) = since2000.addingReportingOverflow(epoch2000)
        // The ends of the range are the infinities (timestamp.h, DT_NOBEGIN and DT_NOEND).
        guard !overflow, since2000 != .min else { throw .decoding("found an infinite timestamp, expected an instant") }
        return Timestamp(microseconds: microseconds)
    }
}

extension Duration: PostgresEncodable {
    package static var postgresType: PostgresType { .interval }

    /// Microseconds, no days, no months: an exact length.
    package func encode(into bytes: inout [UInt8]) {
        bytes.append(bigEndian: microseconds)
        bytes.append(bigEndian: 0 as Int32)
        bytes.append(bigEndian: 0 as Int32)
    }
}

extension JSON: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .jsonb }

    package func encode(into bytes: inout [UInt8]) {
        bytes.append(1)  // the version of jsonb's binary form
        write(into: &bytes)
    }

    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> JSON {
        let bytes = try value(bytes)
        let text = type == PostgresType.jsonb.oid ? bytes.dropFirst() : bytes[...]
        guard type == PostgresType.jsonb.oid || PostgresType.textual.contains(type) else { throw mismatch(type) }
        do {
            return try JSON(parsing: text)
        } catch {
            throw .decoding("found text that is not JSON: \(error)")
        }
    }
}

// MARK: - NULL

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    package static var postgresType: PostgresType { Wrapped.postgresType }
    package var isSQLNull: Bool { self?.isSQLNull ?? true }
    package func encode(into bytes: inout [UInt8]) { self?.encode(into: &bytes) }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    package static func decode(_ bytes: UnsafeRawBufferPointer?, type: UInt32) throws(PostgresError) -> Wrapped? {
        guard let bytes else { return nil }
        return try Wrapped.decode(bytes, type: type)
    }
}
