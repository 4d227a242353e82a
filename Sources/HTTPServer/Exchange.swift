internal import CMicroHTTPD
internal import Glibc
internal import Synchronization

/// One request on its way through the server. libmicrohttpd keeps it from the headers until the answer is out.
final class Exchange: Sendable {
    private enum State {
        /// The request is being read, or its handler is being called. Can transition to: suspended, answered, ended.
        case open
        /// The handler returned without an answer. Can transition to: answered.
        case suspended
        /// Can transition to: ended.
        case answered(ServerResponse)
        /// libmicrohttpd is done with it, and the connection is no longer ours to touch.
        case ended
    }

    private nonisolated(unsafe) let connection: OpaquePointer
    private let core: Core
    private let state = Mutex(State.open)

    // Only the server's thread touches these, before the handler is called.
    private nonisolated(unsafe) var body: [UInt8] = []
    private nonisolated(unsafe) var bodySize = 0
    private nonisolated(unsafe) var isHandled = false

    init(connection: OpaquePointer, core: Core) {
        self.connection = connection
        self.core = core
    }

    // MARK: - On the server's thread

    func begin() -> MHD_Result {
        guard let declared = header("Content-Length").flatMap(Int.init(_:)) else { return .YES }
        if declared > core.maxBodyBytes {
            // A client that asks first is told before it sends. Others are heard out, within reason: closing the connection
            // while they send would lose them the answer.
            if header("Expect") != nil || declared > discardLimit { return queue(tooLarge) }
        } else {
            body.reserveCapacity(declared)
        }
        return .YES
    }

    func receive(_ bytes: UnsafeRawBufferPointer) -> MHD_Result {
        bodySize += bytes.count
        if bodySize <= core.maxBodyBytes {
            body.append(contentsOf: bytes)
            return .YES
        }
        body = []
        return bodySize <= discardLimit ? .YES : .NO
    }

    /// The request is complete, or its answer has come.
    func proceed(method: UnsafePointer<CChar>, path: UnsafePointer<CChar>) -> MHD_Result {
        if !isHandled {
            isHandled = true
            if bodySize > core.maxBodyBytes { return queue(tooLarge) }
            guard let request = ServerRequest(connection: connection, method: method, path: path, body: body) else {
                return queue(
                    .problem(
                        status: 400, title: "Bad Request",
                        detail: "The path or the query is not well-formed: expected UTF-8 with percent-encoding (RFC 3986)."))
            }
            body = []
            core.handler(request, Responder(self))
        }
        let response: ServerResponse? = state.withLock { state in
            switch state {
            case .answered(let response):
                return response
            case .open, .suspended:
                // Suspended within the lock, so that `respond` cannot resume before. (Found suspended: a spurious call.)
                guard core.willWait(self) else { return .stopping }
                state = .suspended
                MHD_suspend_connection(connection)
                return nil
            case .ended:
                preconditionFailure("libmicrohttpd called for a request that it had ended")
            }
        }
        return response.map(queue) ?? .YES
    }

    func end() {
        state.withLock { $0 = .ended }
    }

    private func queue(_ response: ServerResponse) -> MHD_Result {
        let built = response.body.withUnsafeBytes { bytes in
            MHD_create_response_from_buffer(
                bytes.count, UnsafeMutableRawPointer(mutating: bytes.baseAddress), .RESPMEM_MUST_COPY)
        }
        guard let built else { return .NO }
        for (name, value) in response.headers { MHD_add_response_header(built, name, value) }
        defer { MHD_destroy_response(built) }
        return MHD_queue_response(connection, UInt32(response.status), built)
    }

    private func header(_ name: String) -> String? {
        MHD_lookup_connection_value(connection, MHD_ValueKind.HEADER_KIND, name).map { String(cString: $0) }
    }

    private var discardLimit: Int { core.maxBodyBytes * 4 }

    private var tooLarge: ServerResponse {
        .problem(
            status: 413, title: "Content Too Large", detail: "The body is longer than \(core.maxBodyBytes) bytes.")
    }

    // MARK: - On any thread

    /// The first answer counts.
    func respond(_ response: ServerResponse) {
        let resumed = state.withLock { state in
            switch state {
            case .open:
                state = .answered(response)
                return false
            case .suspended:
                state = .answered(response)
                // Within the lock: once the server's thread is past `end` the connection may be gone.
                MHD_resume_connection(connection)
                return true
            case .answered, .ended:
                return false
            }
        }
        if resumed { core.hasWaited(self) }
    }
}
