import Glibc
import Primitives
import Synchronization

/// A TCP server that does what the test says: a thread for each connection, which ends with what the test's closure does.
final class RawServer: Sendable {
    let port: Int
    private let listener: Int32
    private let journal = Journal()
    private let acceptor: JoinableThread

    fileprivate final class Journal: Sendable {
        let sockets = Mutex<[RawSocket]>([])
        let threads = Mutex<[JoinableThread]>([])
        let messages = Mutex<[String]>([])
    }

    /// A connection, as the test's closure sees it.
    struct Peer {
        /// Counted from 1.
        let number: Int
        let socket: RawSocket
        fileprivate let journal: Journal

        /// The next request, which is kept for the test; nil when the client closes before.
        func request() -> String? {
            let message = socket.message()
            if let message { journal.messages.withLock { $0.append(message) } }
            return message
        }

        func send(_ text: String) { socket.send(text) }
    }

    /// - Parameter serve: called on the connection's thread; the connection is closed when it returns.
    init(_ serve: @escaping @Sendable (Peer) -> Void) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var port = 0
        withLoopback(port: 0) { address, size in
            var size = size
            precondition(
                bind(listener, address, size) == 0 && listen(listener, 100) == 0
                    && getsockname(listener, address, &size) == 0, "no free port: errno \(errno)")
            address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { port = Int($0.pointee.sin_port.bigEndian) }
        }
        self.port = port
        self.listener = listener
        let journal = journal
        acceptor = JoinableThread(name: "raw-accept") {
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { return }
                let socket = RawSocket(descriptor)
                let number = journal.sockets.withLock { sockets in
                    sockets.append(socket)
                    return sockets.count
                }
                let thread = JoinableThread(name: "raw-peer") {
                    serve(Peer(number: number, socket: socket, journal: journal))
                    socket.shutDown()
                }
                journal.threads.withLock { $0.append(thread) }
            }
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        acceptor.join()
        close(listener)
        for socket in journal.sockets.withLock({ $0 }) { socket.shutDown() }
        for thread in journal.threads.withLock({ $0 }) { thread.join() }
    }

    /// Answers every request on a connection kept alive.
    static func answering(_ response: String) -> RawServer {
        RawServer { peer in
            while peer.request() != nil { peer.send(response) }
        }
    }

    var url: String { "http://127.0.0.1:\(port)/" }
    var connections: Int { journal.sockets.withLock { $0.count } }
    /// Every request that was read, of all connections.
    var requests: [String] { journal.messages.withLock { $0 } }
}

let emptyOK = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

/// Runs what blocks on a thread of its own, so that it holds up no other test.
func onThread<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T {
    await withCheckedContinuation { continuation in
        _ = JoinableThread(name: "raw-client") { continuation.resume(returning: body()) }
    }
}
