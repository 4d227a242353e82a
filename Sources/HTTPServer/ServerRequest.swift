internal import CMicroHTTPD
internal import Glibc
internal import Primitives

/// A complete request.
package struct ServerRequest: Sendable {
    package let method: String
    /// Decoded, without the query. Where a segment may contain an encoded `/`, use `segments`.
    package let path: String
    /// In the order of the URL, decoded; a name without `=` has the value "".
    package let query: [(name: String, value: String)]
    package let headers: Headers
    package let body: [UInt8]
    /// Whether the client is on this machine, by the address it came from.
    package let remoteIsLoopback: Bool

    private let rawPath: String

    /// The parts of the path behind its slashes, each decoded by itself: `/v1/topics/a%2Fb` is `v1`, `topics`, `a/b`, and `/a//`
    /// is `a`, and two that are empty.
    package var segments: [String] {
        rawPath.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map {
            percentDecoded($0.utf8) ?? ""
        }
    }

    /// The first value of that name.
    package func query(_ name: String) -> String? {
        query.first { $0.name == name }?.value
    }

    /// Nil when the path or the query is not well-formed.
    init?(connection: OpaquePointer, method: UnsafePointer<CChar>, path: UnsafePointer<CChar>, body: [UInt8]) {
        rawPath = String(cString: path)
        guard let decoded = percentDecoded(rawPath.utf8) else { return nil }
        self.path = decoded
        self.method = String(cString: method)
        self.body = body
        headers = Headers(of: connection)
        remoteIsLoopback = isLoopback(outrider_client_address(connection))

        guard let query = decodedQuery(of: connection) else { return nil }
        self.query = query
    }
}

private func decodedQuery(of connection: OpaquePointer) -> [(name: String, value: String)]? {
    var pairs: [(name: String, value: String)]? = []
    withUnsafeMutablePointer(to: &pairs) { pairs in
        _ = MHD_get_connection_values(
            connection, MHD_ValueKind.GET_ARGUMENT_KIND,
            { pairs, _, name, value in
                let pairs = pairs!.assumingMemoryBound(to: [(name: String, value: String)]?.self)
                // libmicrohttpd has turned "+" into a space.
                guard let name = percentDecoded(bytes(name)), let value = percentDecoded(bytes(value)) else {
                    pairs.pointee = nil
                    return .NO
                }
                pairs.pointee?.append((name, value))
                return .YES
            }, pairs)
    }
    return pairs
}

private func bytes(_ text: UnsafePointer<CChar>?) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: text, count: text.map { strlen($0) } ?? 0)
}

/// Nil for a `%` without two hexadecimal digits, a zero byte, and what is not UTF-8.
private func percentDecoded(_ text: some Collection<UInt8>) -> String? {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(text.count)
    var rest = text.makeIterator()
    while let byte = rest.next() {
        guard byte == UInt8(ascii: "%") else {
            decoded.append(byte)
            continue
        }
        guard let high = rest.next().flatMap(hexDigit), let low = rest.next().flatMap(hexDigit), high | low != 0 else {
            return nil
        }
        decoded.append(UInt8(high << 4 | low))
    }
    return String(validating: decoded, as: UTF8.self)
}

private func isLoopback(_ address: UnsafePointer<sockaddr>?) -> Bool {
    guard let address else { return false }
    switch Int32(address.pointee.sa_family) {
    case AF_INET:
        return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
            UInt32(bigEndian: address.pointee.sin_addr.s_addr) >> 24 == 127
        }
    case AF_INET6:
        return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
            withUnsafeBytes(of: address.pointee.sin6_addr) { bytes in
                let leading = bytes.prefix(10).allSatisfy { $0 == 0 }
                let mapped = bytes[10] == 0xFF && bytes[11] == 0xFF && bytes[12] == 127
                let own = bytes[10..<15].allSatisfy { $0 == 0 } && bytes[15] == 1
                return leading && (mapped || own)
            }
        }
    default:
        return false
    }
}
