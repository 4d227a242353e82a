internal import CMicroHTTPD
internal import Glibc
internal import Primitives
internal import Synchronization

/// An HTTP/1.1 server over libmicrohttpd with threads of its own; a handler answers at once or later.
///
/// Answers by itself, as `application/problem+json` (RFC 9457): 413 to a body above the limit, 400 to a path or query that is
/// not well-formed, 500 to a request whose handler dropped its responder, 503 to what still waits when the server stops.
/// What is not HTTP at all never reaches us: libmicrohttpd answers 400, 414 or 431 with a short page of its own.
package final class HTTPServer: Sendable {
    /// The port it listens on, also when 0 was asked for.
    package let port: Int

    private let core: Core
    private let daemon: Mutex<Daemon?>

    private struct Daemon: @unchecked Sendable {
        let handle: OpaquePointer
        /// The reference that the callbacks use.
        let core: Unmanaged<Core>
    }

    /// - Parameters:
    ///   - address: `127.0.0.1:7070`, `[::1]:0`, `localhost:7070`, or `:7070` for all addresses; port 0 picks a free one.
    ///   - maxBodyBytes: longer bodies are answered 413.
    ///   - maxConnections: further clients wait to be accepted.
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
        core = Core(maxBodyBytes: maxBodyBytes, handler: handler)
        let retained = Unmanaged.passRetained(core)
        var options = outrider_daemon_options(
            listen_socket: socket.descriptor, threads: UInt32(threads), connection_limit: UInt32(maxConnections),
            connection_timeout: UInt32(max(1, idleTimeout.seconds)), handler: received, completed: completed,
            context: retained.toOpaque())
        guard let handle = withoutSignals({ outrider_start_daemon(&options) }) else {
            retained.release()
            socket.close()
            throw ListenError(address: address, reason: "the server's threads cannot be started")
        }
        daemon = Mutex(Daemon(handle: handle, core: retained))
    }

    deinit {
        stop()
    }

    /// Closes the listening socket and all connections and ends the threads. Waits for handlers that are being called, not for
    /// answers that are still owed. Must not be called by a handler.
    package func stop() {
        let stopped = daemon.withLock { daemon in
            defer { daemon = nil }
            return daemon
        }
        guard let stopped else { return }
        // libmicrohttpd aborts the process if it is stopped while connections are suspended.
        core.resumeAll()
        MHD_stop_daemon(stopped.handle)
        stopped.core.release()
    }
}

/// Signals are for the threads that wait for them: the server's threads inherit a mask without any.
private func withoutSignals<Value>(_ body: () -> Value) -> Value {
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    return body()
}

/// Called when a request's headers have come, for each piece of its body, when it is complete, and once more after it was
/// resumed.
private func received(
    context: UnsafeMutableRawPointer?, connection: OpaquePointer?, url: UnsafePointer<CChar>?,
    method: UnsafePointer<CChar>?, version: UnsafePointer<CChar>?, piece: UnsafePointer<CChar>?,
    pieceSize: UnsafeMutablePointer<Int>?, slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    guard let known = slot!.pointee else {
        let core = Unmanaged<Core>.fromOpaque(context!).takeUnretainedValue()
        let exchange = Exchange(connection: connection!, core: core)
        slot!.pointee = Unmanaged.passRetained(exchange).toOpaque()
        return exchange.begin()
    }
    let exchange = Unmanaged<Exchange>.fromOpaque(known).takeUnretainedValue()
    if pieceSize!.pointee > 0 {
        let bytes = UnsafeRawBufferPointer(start: piece, count: pieceSize!.pointee)
        pieceSize!.pointee = 0
        return exchange.receive(bytes)
    }
    return exchange.proceed(method: method!, path: url!)
}

private func completed(
    context: UnsafeMutableRawPointer?, connection: OpaquePointer?,
    slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, reason: MHD_RequestTerminationCode
) {
    guard let known = slot!.pointee else { return }
    slot!.pointee = nil
    let exchange = Unmanaged<Exchange>.fromOpaque(known)
    exchange._withUnsafeGuaranteedRef { $0.end() }
    exchange.release()
}
