internal import CLibCurl
internal import Glibc
internal import Primitives

/// An easy handle of libcurl with one request in it at a time; setting a handle up costs more than using it again.
final class Transfer {
    let easy: UnsafeMutableRawPointer
    /// Where the loop keeps it while it runs.
    var place = 0

    private var id: UInt64 = 0
    private var url = ""
    private var started = ContinuousClock.now
    private var limit = 0
    private var received: [UInt8] = []
    private var receivedCount = 0
    /// How often libcurl was about to send the request.
    private var sendings = 0
    /// Why no socket was to be had; 0 while there was one.
    private var socketError: Int32 = 0

    private var headers = HeaderList()
    private let errorText: UnsafeMutablePointer<CChar>
    /// What the handle is set to, so that only differences are set.
    private var current = Settings()

    private struct Settings: Equatable {
        var method = ""
        var hasBody = false
        var timeout = 0
        var connectTimeout = 0
        var tls: TLSOptions?
        var fresh = false
    }

    init() {
        easy = curl_easy_init()!
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.pointee = 0
        configure()
    }

    deinit {
        curl_easy_cleanup(easy)
        errorText.deallocate()
    }

    /// The transfer that libcurl's callbacks and messages speak of.
    static func of(_ easy: UnsafeMutableRawPointer) -> Transfer {
        var pointer: UnsafeMutableRawPointer?
        outrider_getinfo_pointer(easy, CURLINFO_PRIVATE, &pointer)
        return Unmanaged<Transfer>.fromOpaque(pointer!).takeUnretainedValue()
    }

    // MARK: - Before

    /// Makes the handle ready to send the request.
    func prepare(_ request: HTTPRequest, now: ContinuousClock.Instant) throws(Refusal) {
        id = request.id
        url = request.url
        started = now
        limit = request.maxResponseBytes
        received = []
        receivedCount = 0
        socketError = 0
        sendings = 0
        errorText.pointee = 0

        guard !request.url.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) else {
            throw Refusal("the URL contains a line break, a space or another control character")
        }
        guard !request.method.isEmpty, request.method.utf8.allSatisfy(isTokenByte) else {
            throw Refusal("the method is not a word of HTTP")
        }
        // RFC 9110, section 9.3.2; libcurl would wait for a body of the answer, which never comes.
        guard request.method != "HEAD" || request.body.isEmpty else { throw Refusal("a HEAD request has no body") }
        // POST, PUT and PATCH say "Content-Length: 0" rather than nothing (RFC 9110, section 8.6).
        let hasBody = !request.body.isEmpty || ["POST", "PUT", "PATCH"].contains(request.method)
        let list = try headers.set(request.headers, withBody: hasBody)
        apply(
            Settings(
                method: request.method, hasBody: hasBody, timeout: milliseconds(request.timeout),
                connectTimeout: milliseconds(request.connectTimeout), tls: request.tls, fresh: request.freshConnection))
        set(CURLOPT_URL, request.url)
        set(CURLOPT_HTTPHEADER, list)
        if hasBody {
            set(CURLOPT_POSTFIELDSIZE, request.body.count)
            request.body.withUnsafeBytes { set(CURLOPT_COPYPOSTFIELDS, $0.baseAddress ?? UnsafeRawPointer(easy)) }
        }
    }

    private func configure() {
        set(CURLOPT_PRIVATE, Unmanaged.passUnretained(self).toOpaque())
        set(CURLOPT_ERRORBUFFER, errorText)
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_FOLLOWLOCATION, 0)
        // HTTP/2 only where ALPN agrees on it: Debian's libcurl 7.88 fails when it uses cleartext HTTP/2 again.
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
        set(CURLOPT_TCP_NODELAY, 1)
        // It is made and given back with each request, and answers are short: small enough for malloc's quickest way, and hundreds
        // of them fit into the processor's cache.
        set(CURLOPT_BUFFERSIZE, 1024)
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        // A transfer that ends while its name is still being resolved must not wait for the resolver's thread: it would hold
        // up all others. The thread then ends on its own.
        set(CURLOPT_QUICK_EXIT, 1)
        set(CURLOPT_WRITEDATA, Unmanaged.passUnretained(self).toOpaque())
        outrider_setopt_write(easy) { bytes, size, count, transfer in
            Unmanaged<Transfer>.fromOpaque(transfer!)._withUnsafeGuaranteedRef { transfer in
                transfer.receive(UnsafeRawBufferPointer(start: bytes, count: size * count))
            }
        }
        // When a connection kept alive dies without a byte of answer, libcurl would send the request again on another one, at
        // once and up to five times. Whoever counts tries wants to know of each.
        set(CURLOPT_PREREQDATA, Unmanaged.passUnretained(self).toOpaque())
        outrider_setopt_before_request(easy) { transfer, _, _, _, _ in
            Unmanaged<Transfer>.fromOpaque(transfer!)._withUnsafeGuaranteedRef { transfer in
                transfer.sendings += 1
                return transfer.sendings == 1 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
            }
        }
        // libcurl would not tell why there is no socket.
        set(CURLOPT_OPENSOCKETDATA, Unmanaged.passUnretained(self).toOpaque())
        outrider_setopt_open_socket(easy) { transfer, _, address in
            let kind = address!.pointee.socktype | Int32(SOCK_CLOEXEC.rawValue)
            let descriptor = socket(address!.pointee.family, kind, address!.pointee.protocol)
            if descriptor < 0 {
                let reason = errno
                Unmanaged<Transfer>.fromOpaque(transfer!)._withUnsafeGuaranteedRef { $0.socketError = reason }
            }
            return descriptor
        }
        current = Settings()
    }

    private func apply(_ wanted: Settings) {
        if wanted == current { return }
        if wanted.tls != current.tls {
            // There is no other way back to the system's certificate authorities.
            curl_easy_reset(easy)
            configure()
            if let tls = wanted.tls { apply(tls) }
        }
        if wanted.hasBody {
            set(CURLOPT_POST, 1)
        } else if wanted.method == "HEAD" {
            set(CURLOPT_NOBODY, 1)
        } else {
            set(CURLOPT_HTTPGET, 1)
        }
        set(CURLOPT_CUSTOMREQUEST, wanted.method)
        set(CURLOPT_TIMEOUT_MS, wanted.timeout)
        set(CURLOPT_CONNECTTIMEOUT_MS, wanted.connectTimeout)
        set(CURLOPT_FRESH_CONNECT, wanted.fresh ? 1 : 0)
        set(CURLOPT_FORBID_REUSE, wanted.fresh ? 1 : 0)
        current = wanted
    }

    private func apply(_ tls: TLSOptions) {
        if let authorities = tls.authorities { set(CURLOPT_CAINFO, authorities) }
        if let certificate = tls.certificate { set(CURLOPT_SSLCERT, certificate) }
        if let key = tls.key { set(CURLOPT_SSLKEY, key) }
        set(CURLOPT_SSL_VERIFYPEER, tls.verify ? 1 : 0)
        set(CURLOPT_SSL_VERIFYHOST, tls.verify ? 2 : 0)
    }

    private func set(_ option: CURLoption, _ value: Int) {
        outrider_setopt_long(easy, option, value)
    }

    private func set(_ option: CURLoption, _ value: UnsafeRawPointer) {
        outrider_setopt_pointer(easy, option, value)
    }

    // MARK: - Meanwhile

    /// Answers how much was taken; less than all makes libcurl end the transfer.
    private func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
        receivedCount += bytes.count
        guard receivedCount <= limit else { return 0 }
        received.append(contentsOf: bytes)
        return bytes.count
    }

    // MARK: - After

    func refused(_ refusal: Refusal) -> HTTPExchange {
        failed(.notStarted, refusal.reason, now: started)
    }

    func cancelled(now: ContinuousClock.Instant) -> HTTPExchange {
        failed(.cancelled(sent: wasSent), "cancelled", now: now)
    }

    func finished(_ code: CURLcode, now: ContinuousClock.Instant) -> HTTPExchange {
        if code == CURLE_OK {
            var status = 0
            outrider_getinfo_long(easy, CURLINFO_RESPONSE_CODE, &status)
            let response = HTTPResponse(
                status: status, headers: HTTPResponse.Headers(fields: keptHeaders()), body: received)
            received = []
            return HTTPExchange(id: id, result: .success(response), duration: now - started)
        }
        received = []
        if receivedCount > limit {
            return failed(.tooLarge(received: receivedCount), "the answer is longer than \(limit) bytes", now: now)
        }
        let kind: TransportFailure.Kind = wasSent ? .unknown : lacksResources(code) ? .noResources : .notStarted
        return failed(kind, reason(code), now: now)
    }

    private func lacksResources(_ code: CURLcode) -> Bool {
        switch code {
        case CURLE_OUT_OF_MEMORY: true
        case CURLE_COULDNT_CONNECT: [EMFILE, ENFILE, ENOMEM, ENOBUFS].contains(systemError)
        case CURLE_COULDNT_RESOLVE_HOST: !Self.hasDescriptorLeft
        default: false
        }
    }

    /// The resolver needs some, and does not say that it got none.
    private static var hasDescriptorLeft: Bool {
        let descriptor = dup(STDERR_FILENO)
        guard descriptor >= 0 else { return errno != EMFILE && errno != ENFILE }
        close(descriptor)
        return true
    }

    private var systemError: Int32 {
        if socketError != 0 { return socketError }
        var number = 0
        outrider_getinfo_long(easy, CURLINFO_OS_ERRNO, &number)
        return Int32(number)
    }

    /// libcurl counts the bytes of the request over all connections it tried, so a request that went out on a stale
    /// connection and was then refused on a new one counts as sent.
    private var wasSent: Bool {
        var bytes = 0
        outrider_getinfo_long(easy, CURLINFO_REQUEST_SIZE, &bytes)
        return bytes > 0
    }

    private func keptHeaders() -> [(name: String, value: String)] {
        var kept: [(name: String, value: String)] = []
        var header: UnsafeMutablePointer<curl_header>?
        while true {
            header = curl_easy_nextheader(easy, UInt32(CURLH_HEADER), -1, header)
            guard let header else { return kept }
            guard isKept(header.pointee.name) else { continue }
            kept.append((String(cString: header.pointee.name).lowercased(), String(cString: header.pointee.value)))
        }
    }

    private func isKept(_ name: UnsafePointer<CChar>) -> Bool {
        switch UInt8(bitPattern: name.pointee) | 0x20 {
        case UInt8(ascii: "o"): strncasecmp(name, "outrider-", 9) == 0
        case UInt8(ascii: "c"): strcasecmp(name, "content-type") == 0
        case UInt8(ascii: "r"): strcasecmp(name, "retry-after") == 0
        case UInt8(ascii: "d"): strcasecmp(name, "date") == 0
        case UInt8(ascii: "l"): strcasecmp(name, "location") == 0
        default: false
        }
    }

    private func failed(_ kind: TransportFailure.Kind, _ reason: String, now: ContinuousClock.Instant) -> HTTPExchange {
        let failure = TransportFailure(kind: kind, message: "\(authority(of: url)): \(reason)")
        return HTTPExchange(id: id, result: .failure(failure), duration: now - started)
    }

    private func reason(_ code: CURLcode) -> String {
        switch code {
        case CURLE_COULDNT_CONNECT where systemError != 0:
            return "cannot connect: \(String(cString: strerror(systemError)))"
        case CURLE_OPERATION_TIMEDOUT:
            return wasSent
                ? "no complete answer within \(current.timeout) ms" : "no connection within \(connectLimit) ms"
        case CURLE_GOT_NOTHING, CURLE_ABORTED_BY_CALLBACK:
            return "the connection was closed without an answer"
        case CURLE_PARTIAL_FILE:
            return "the connection was closed in the middle of the answer"
        default:
            let text = errorText.pointee == 0 ? String(cString: curl_easy_strerror(code)) : String(cString: errorText)
            return text.prefix(1).lowercased() + text.dropFirst()
        }
    }

    private var connectLimit: Int { min(current.timeout, current.connectTimeout) }
}

/// Host and port as they stand in the URL, without user and password; the whole of it can hold secrets.
func authority(of url: String) -> String {
    guard let scheme = url.firstRange(of: "://") else { return "the URL" }
    let rest = url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    let host = rest.lastIndex(of: "@").map { rest[rest.index(after: $0)...] } ?? rest
    return String(host.prefix(255).map { $0.isASCII && $0.asciiValue! > 0x20 ? $0 : "?" })
}

extension HTTPRequest {
    /// The end of a request that was never started.
    func cancelled() -> HTTPExchange {
        let failure = TransportFailure(kind: .cancelled(sent: false), message: "\(authority(of: url)): cancelled")
        return HTTPExchange(id: id, result: .failure(failure), duration: .zero)
    }
}

/// For libcurl, to which 0 means no limit.
private func milliseconds(_ duration: Duration) -> Int {
    max(1, min(Int(duration.milliseconds), Int(Int32.max)))
}
