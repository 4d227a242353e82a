internal import Glibc

/// Why an address cannot be listened on.
package struct ListenError: Error, Sendable, CustomStringConvertible {
    package let address: String
    package let reason: String

    package var description: String { "cannot listen on \(address): \(reason)" }
}

/// A bound, listening TCP socket.
struct ListenSocket {
    let descriptor: Int32
    let port: Int

    init(address: String) throws(ListenError) {
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]) else {
            throw ListenError(
                address: address, reason: "expected an address and a port, as in 127.0.0.1:7070 or [::1]:7070")
        }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        // All addresses: IPv6 with IPv4 in it, or IPv4 alone where a kernel has no IPv6.
        let hosts = host.isEmpty ? ["::", "0.0.0.0"] : [String(host)]
        var failure: Int32 = 0
        for host in hosts {
            for resolved in try Self.resolve(host, port, address) {
                let (descriptor, code) = Self.listen(on: resolved)
                if code == 0 {
                    self.descriptor = descriptor
                    self.port = Self.port(of: descriptor)
                    return
                }
                failure = code
            }
            if failure != EAFNOSUPPORT && failure != EADDRNOTAVAIL { break }
        }
        throw ListenError(address: address, reason: Self.reason(failure, port: port))
    }

    /// The same socket under another descriptor: libmicrohttpd closes the one that it is given.
    func duplicate() -> Int32 {
        fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    }

    func close() {
        _ = Glibc.close(descriptor)
    }

    private struct Resolved {
        var storage = sockaddr_storage()
        var length: socklen_t
        var family: Int32
    }

    private static func resolve(_ host: String, _ port: UInt16, _ address: String) throws(ListenError) -> [Resolved] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, String(port), &hints, &list)
        guard code == 0 else {
            throw ListenError(
                address: address,
                reason: "\(host) is not an address of this machine (\(String(cString: gai_strerror(code))))")
        }
        defer { freeaddrinfo(list) }
        var all: [Resolved] = []
        var next = list
        while let info = next?.pointee {
            var resolved = Resolved(length: info.ai_addrlen, family: info.ai_family)
            memcpy(&resolved.storage, info.ai_addr, Int(info.ai_addrlen))
            all.append(resolved)
            next = info.ai_next
        }
        return all
    }

    private static func listen(on address: Resolved) -> (descriptor: Int32, errorCode: Int32) {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = socket(address.family, kind, 0)
        guard descriptor >= 0 else { return (-1, errno) }
        var on: Int32 = 1
        var off: Int32 = 0
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, size)
        if address.family == AF_INET6 { setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, size) }
        var storage = address.storage
        let bound = withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, address.length) }
        }
        if bound == 0, Glibc.listen(descriptor, SOMAXCONN) == 0 { return (descriptor, 0) }
        let code = errno
        _ = Glibc.close(descriptor)
        return (-1, code)
    }

    private static func port(of descriptor: Int32) -> Int {
        var storage = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        withUnsafeMutablePointer(to: &storage) { pointer in
            _ = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        // The port lies at the same place in IPv4's address.
        return Int(UInt16(bigEndian: storage.sin6_port))
    }

    private static func reason(_ code: Int32, port: UInt16) -> String {
        switch code {
        case EADDRINUSE: "another program listens there; stop it, or choose another port"
        case EACCES:
            "not allowed; ports below 1024 need the privilege CAP_NET_BIND_SERVICE: choose a higher one than \(port)"
        case EADDRNOTAVAIL: "this machine has no such address"
        default: String(cString: strerror(code))
        }
    }
}
