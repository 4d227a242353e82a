internal import CMicroHTTPD
internal import Glibc
internal import Primitives
internal import Synchronization

/// One thread of the server: drives a daemon of libmicrohttpd, and hands it the answers that other threads give.
///
/// The thread is ours because libmicrohttpd's own hangs: after a round of exactly 128 events (its array's size) version 0.9.75
/// waits for more without having looked at these. `MHD_run` does not wait.
final class ServerLoop: Sendable {
    private struct State {
        var answered: [Exchange] = []
        var asleep = false
        var stopping = false
    }

    let settings: ServerSettings
    private let socket: Int32
    /// Readable when there is something in the state for a thread that sleeps.
    private let wakeUp: Int32
    private let state = Mutex(State())
    /// Exchanges that are suspended; only the loop's thread touches it.
    private nonisolated(unsafe) var waiting: [ObjectIdentifier: Exchange] = [:]

    /// Takes over the socket.
    init(socket: Int32, settings: ServerSettings) {
        self.socket = socket
        self.settings = settings
        wakeUp = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        precondition(wakeUp >= 0, "eventfd failed with errno \(errno)")
    }

    deinit {
        close(wakeUp)
    }

    // MARK: - On any thread

    func resume(_ exchange: Exchange) {
        // Once it stops, the loop resumes everything by itself.
        change { if !$0.stopping { $0.answered.append(exchange) } }
    }

    func stop() {
        change { $0.stopping = true }
    }

    private func change(_ body: (inout State) -> Void) {
        let wake = state.withLock { state in
            body(&state)
            defer { state.asleep = false }
            return state.asleep
        }
        if wake {
            var one: UInt64 = 1
            _ = write(wakeUp, &one, 8)
        }
    }

    // MARK: - On the loop's thread

    func run() {
        var options = outrider_daemon_options(
            listen_socket: socket, connection_limit: UInt32(settings.maxConnections),
            connection_timeout: UInt32(max(1, settings.idleTimeout.seconds)), handler: received, completed: completed,
            context: Unmanaged.passUnretained(self).toOpaque())
        guard let daemon = outrider_start_daemon(&options) else {
            preconditionFailure("libmicrohttpd cannot be started")
        }
        while resumeAnswered() {
            MHD_run(daemon)
            wait(for: daemon)
        }
        // libmicrohttpd aborts the process if it is stopped while connections are suspended. One turn resumes them, the next
        // sends what they are answered.
        for exchange in waiting.values {
            exchange.respond(.stopping)
            exchange.resume()
        }
        waiting = [:]
        for _ in 1...2 { MHD_run(daemon) }
        MHD_stop_daemon(daemon)
    }

    /// False when it is time to stop.
    private func resumeAnswered() -> Bool {
        let (answered, stopping) = state.withLock { state in
            state.asleep = false
            defer { state.answered = [] }
            return (state.answered, state.stopping)
        }
        for exchange in answered where waiting.removeValue(forKey: ObjectIdentifier(exchange)) != nil {
            exchange.resume()
        }
        return !stopping
    }

    private func wait(for daemon: OpaquePointer) {
        let mayWait = state.withLock { state in
            state.asleep = state.answered.isEmpty && !state.stopping
            return state.asleep
        }
        var timeout: Int32 = 0
        if mayWait {
            var milliseconds: UInt64 = 0
            timeout = MHD_get_timeout(daemon, &milliseconds) == .YES ? Int32(min(milliseconds, 60_000)) : -1
        }
        var descriptors = [
            pollfd(fd: outrider_daemon_epoll(daemon), events: Int16(POLLIN), revents: 0),
            pollfd(fd: wakeUp, events: Int16(POLLIN), revents: 0),
        ]
        poll(&descriptors, 2, timeout)
        if descriptors[1].revents != 0 {
            var value: UInt64 = 0
            _ = read(wakeUp, &value, 8)
        }
    }

    func willWait(_ exchange: Exchange) {
        waiting[ObjectIdentifier(exchange)] = exchange
    }
}

/// Called when a request's headers have come, for each piece of its body, when it is complete, and once more after it was
/// resumed.
private func received(
    context: UnsafeMutableRawPointer?, connection: OpaquePointer?, url: UnsafePointer<CChar>?,
    method: UnsafePointer<CChar>?, version: UnsafePointer<CChar>?, piece: UnsafePointer<CChar>?,
    pieceSize: UnsafeMutablePointer<Int>?, slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    guard let known = slot!.pointee else {
        let loop = Unmanaged<ServerLoop>.fromOpaque(context!).takeUnretainedValue()
        let exchange = Exchange(connection: connection!, loop: loop)
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
    Unmanaged<Exchange>.fromOpaque(known).release()
}

extension ServerResponse {
    fileprivate static let stopping = problem(
        status: 503, title: "Service Unavailable", detail: "The server is stopping.")
}
