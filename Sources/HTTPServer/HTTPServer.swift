internal import Primitives

/// An HTTP/1.1 server over libmicrohttpd with threads of its own; a handler answers at once or later.
///
/// Answers by itself, as `application/problem+json` (RFC 9457): 413 to a body above the limit, 400 to a path or query that is
/// not well-formed or to a body with two lengths, 500 to a request whose handler dropped its responder, 503 to what still waits when the server stops.
/// What is not HTTP at all never reaches us: libmicrohttpd answers 400, 414 or 431 with a short page of its own, or hangs up.
package final class HTTPServer: Sendable {
    /// The port it listens on, also when 0 was asked for.
    package let port: Int

    private let loops: [ServerLoop]
    private let threads: [JoinableThread]

    /// - Parameters:
    ///   - address: `127.0.0.1:7070`, `[::1]:0`, `localhost:7070`, or `:7070` for all addresses; port 0 picks a free one.
    ///   - maxBodyBytes: longer bodies are answered 413.
    ///   - maxConnections: of each thread; further clients wait to be accepted.
    ///   - idleTimeout: after so long without a byte from the client a connection is closed.
    ///   - handler: called on one of the server's threads, which it must not block: the others' requests wait meanwhile.
    /// - Throws: `ListenError`, with the address and the reason.
    package init(
        address: String,
        threads: Int = 1,
        maxBodyBytes: Int = 16 << 20,
        maxConnections: Int = 4096,
        idleTimeout: Duration = .seconds(75),
        handler: @escaping @Sendable (ServerRequest, Responder) -> Void
    ) throws(ListenError) {
        let socket = try ListenSocket(address: address)
        port = socket.port
        let settings = ServerSettings(
            maxBodyBytes: maxBodyBytes, maxConnections: maxConnections, idleTimeout: idleTimeout, handler: handler)
        loops = (0..<threads).map { _ in ServerLoop(socket: socket.duplicate(), settings: settings) }
        self.threads = loops.map { loop in JoinableThread(name: "outrider-server") { loop.run() } }
        socket.close()
    }

    deinit {
        stop()
    }

    /// Stops listening, answers 503 to what still waits, closes all connections and ends the threads. Harmless when repeated.
    /// A handler must not call it.
    package func stop() {
        for loop in loops { loop.stop() }
        for thread in threads { thread.join() }
    }
}

struct ServerSettings: Sendable {
    let maxBodyBytes: Int
    let maxConnections: Int
    let idleTimeout: Duration
    let handler: @Sendable (ServerRequest, Responder) -> Void
}
