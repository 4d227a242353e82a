import Glibc
import Synchronization

/// One end of a TCP connection, byte by byte. Calls block, for at most 20 seconds.
final class RawSocket: Sendable {
    private let descriptor: Int32
    private let unread = Mutex<[UInt8]>([])

    /// Takes the socket over.
    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Connects to 127.0.0.1.
    convenience init(port: Int) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        withLoopback(port: port) { address, size in
            precondition(connect(descriptor, address, size) == 0, "cannot connect to port \(port): errno \(errno)")
        }
        self.init(descriptor)
    }

    deinit {
        close(descriptor)
    }

    /// False when the other end is gone.
    @discardableResult
    func send(_ text: String) -> Bool {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// One message of HTTP: its head, and as much of a body as Content-Length says; nil when the other end closes before.
    func message() -> String? {
        unread.withLock { unread in
            while true {
                let text = String(decoding: unread, as: UTF8.self)
                if let end = text.firstRange(of: "\r\n\r\n") {
                    let head = text[..<end.upperBound]
                    let length = head.lowercased().firstMatch(of: #/content-length: (\d+)/#).flatMap { Int($0.1) } ?? 0
                    let total = head.utf8.count + length
                    if unread.count >= total {
                        defer { unread.removeFirst(total) }
                        return String(decoding: unread.prefix(total), as: UTF8.self)
                    }
                }
                guard receive(into: &unread) else { return nil }
            }
        }
    }

    /// Everything until the other end closes.
    func rest() -> String {
        unread.withLock { unread in
            while receive(into: &unread) {}
            defer { unread = [] }
            return String(decoding: unread, as: UTF8.self)
        }
    }

    /// Ends both directions, also for a thread that waits in one of them.
    func shutDown() {
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    private func receive(into bytes: inout [UInt8]) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        guard count > 0 else { return false }
        bytes += chunk[..<count]
        return true
    }
}

/// Hands out the address 127.0.0.1 with a port as the socket calls take it.
func withLoopback(port: Int, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Void) {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    address.sin_port = UInt16(port).bigEndian
    withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}
