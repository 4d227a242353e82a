internal import CMicroHTTPD
internal import Glibc

extension ServerRequest {
    /// The header fields as they came. They lie in one array: few are looked at, and a string each would cost more than the
    /// rest of a request.
    package struct Headers: Sendable {
        /// Name, zero, value, zero, and so on.
        private var bytes: [UInt8] = []

        init(of connection: OpaquePointer) {
            bytes.reserveCapacity(768)
            withUnsafeMutablePointer(to: &bytes) { bytes in
                _ = MHD_get_connection_values(
                    connection, MHD_ValueKind.HEADER_KIND,
                    { bytes, _, name, value in
                        let bytes = bytes!.assumingMemoryBound(to: [UInt8].self)
                        append(name, to: &bytes.pointee)
                        append(value, to: &bytes.pointee)
                        return .YES
                    }, bytes)
            }
        }

        /// The first field of that name, in any case.
        package subscript(name: String) -> String? {
            var name = name
            return name.withUTF8 { name in
                bytes.withUnsafeBytes { bytes in
                    var fields = Fields(rest: bytes[...])
                    while let field = fields.next() {
                        if field.name.count == name.count, strncasecmp(field.name, name) {
                            return String(decoding: field.value, as: UTF8.self)
                        }
                    }
                    return nil
                }
            }
        }

        /// All fields, in their order, with the names as the client wrote them.
        package var fields: [(name: String, value: String)] {
            bytes.withUnsafeBytes { bytes in
                var fields = Fields(rest: bytes[...])
                var all: [(name: String, value: String)] = []
                while let field = fields.next() {
                    all.append(
                        (String(decoding: field.name, as: UTF8.self), String(decoding: field.value, as: UTF8.self)))
                }
                return all
            }
        }
    }
}

private struct Fields {
    var rest: Slice<UnsafeRawBufferPointer>

    mutating func next() -> (name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)? {
        guard let name = text(), let value = text() else { return nil }
        return (name, value)
    }

    private mutating func text() -> UnsafeRawBufferPointer? {
        guard let end = rest.firstIndex(of: 0) else { return nil }
        defer { rest = rest[(end + 1)...] }
        return UnsafeRawBufferPointer(rebasing: rest[..<end])
    }
}

private func append(_ text: UnsafePointer<CChar>?, to bytes: inout [UInt8]) {
    if let text { bytes.append(contentsOf: UnsafeRawBufferPointer(start: text, count: strlen(text))) }
    bytes.append(0)
}

/// Whether two texts of one length are the same but for the case of ASCII letters.
private func strncasecmp(_ left: UnsafeRawBufferPointer, _ right: UnsafeBufferPointer<UInt8>) -> Bool {
    guard let left = left.baseAddress, let other = right.baseAddress else { return right.isEmpty }
    return Glibc.strncasecmp(
        left.assumingMemoryBound(to: CChar.self), UnsafeRawPointer(other).assumingMemoryBound(to: CChar.self),
        right.count) == 0
}
