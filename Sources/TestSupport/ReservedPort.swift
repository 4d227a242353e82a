import Glibc

/// A port of 127.0.0.1 that nobody else gets and on which nobody answers.
package final class ReservedPort: Sendable {
    package enum Answer: Sendable {
        /// Connections are refused.
        case refuses
        /// The kernel leaves attempts to connect without an answer, as a firewall does: the queue of those not accepted is full.
        case isSilent
    }

    package let number: Int
    private let sockets: [Int32]

    package init(_ answer: Answer = .refuses) {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let listener = socket(AF_INET, kind, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        var all = [listener]
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                precondition(
                    bind(listener, address, size) == 0 && getsockname(listener, address, &size) == 0,
                    "no free port on 127.0.0.1")
                guard answer == .isSilent else { return }
                listen(listener, 0)
                for _ in 0..<4 {
                    let client = socket(AF_INET, kind, 0)
                    connect(client, address, size)
                    all.append(client)
                }
            }
        }
        number = Int(UInt16(bigEndian: address.sin_port))
        sockets = all
    }

    deinit {
        for socket in sockets { close(socket) }
    }
}
