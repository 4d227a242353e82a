internal import CMicroHTTPD
internal import Glibc
internal import Synchronization

/// One request on its way through the server. libmicrohttpd keeps it from the headers until the answer is out.
final class Exchange: Sendable {
    private enum State {
        /// The request is being read, or its handler is being called. Can transition to: suspended, answered.
        case open
        /// The handler returned without an answer. Can transition to: answered.
        case suspended
        /// Only the first answer counts.
        case answered(ServerResponse)
    }

    private let loop: ServerLoop
    private let state = Mutex(State.open)

    // Only the loop's thread touches these.
    private nonisolated(unsafe) let connection: OpaquePointer
    private nonisolated(unsafe) var body: [UInt8] = []
    private nonisolated(unsafe) var bodySize = 0
    private nonisolated(unsafe) var isHandled = false

    init(connection: OpaquePointer, loop: ServerLoop) {
        self.connection = connection
        self.loop = loop
    }

    /// On any thread.
    func respond(_ response: ServerResponse) {
        let wasSuspended = state.withLock { state in
            switch state {
            case .open:
                state = .answered(response)
                return false
            case .suspended:
                state = .answered(response)
                return true
            case .answered:
                return false
            }
        }
        if wasSuspended { loop.resume(self) }
    }
}

// MARK: - On the loop's thread

extension Exchange {
    func begin() -> MHD_Result {
        let length = header("Content-Length")
        // RFC 9112, section 6.1: whoever sent it may see the end of the body, and the next request, elsewhere than we do. An
        // answer before the body also closes the connection.
        if length != nil, header("Transfer-Encoding") != nil { return queue(twoLengths) }
        guard let declared = length.flatMap({ Int($0) }) else { return .YES }
        if declared > limit {
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
        if bodySize <= limit {
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
            if bodySize > limit { return queue(tooLarge) }
            guard let request = ServerRequest(connection: connection, method: method, path: path, body: body) else {
                return queue(malformed)
            }
            body = []
            loop.settings.handler(request, Responder(self))
        }
        let response: ServerResponse? = state.withLock { state in
            switch state {
            case .answered(let response):
                return response
            case .open, .suspended:
                state = .suspended
                return nil
            }
        }
        if let response { return queue(response) }
        // An answer that comes from now on is taken up by this very thread, later.
        MHD_suspend_connection(connection)
        loop.willWait(self)
        return .YES
    }

    func resume() {
        MHD_resume_connection(connection)
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

    private var limit: Int { loop.settings.maxBodyBytes }
    private var discardLimit: Int { limit * 4 }

    private var tooLarge: ServerResponse {
        .problem(status: 413, title: "Content Too Large", detail: "The body is longer than \(limit) bytes.")
    }

    private var twoLengths: ServerResponse {
        .problem(
            status: 400, title: "Bad Request",
            detail: "Content-Length and Transfer-Encoding exclude each other (RFC 9112, section 6.1).")
    }

    private var malformed: ServerResponse {
        .problem(
            status: 400, title: "Bad Request",
            detail: "The path or the query is not well-formed: expected UTF-8 with percent-encoding (RFC 3986).")
    }
}
