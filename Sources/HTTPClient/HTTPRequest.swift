/// One request to send. Only `http` and `https` URLs are sent; redirects are never followed.
package struct HTTPRequest: Sendable {
    /// The caller's own number; it comes back in the exchange.
    package var id: UInt64
    package var method: String
    package var url: String
    /// Complete lines, `Name: value`. `Content-Length` and `Transfer-Encoding` follow from the body and are refused here.
    package var headers: [String]
    /// Sent with any method but HEAD, which refuses it; empty sends none, and `Content-Length: 0` with POST, PUT and PATCH.
    package var body: [UInt8]
    /// From the start of name resolution to the last byte of the answer; at least 1 ms.
    package var timeout: Duration
    /// Name resolution, TCP and TLS handshake together; at least 1 ms.
    package var connectTimeout: Duration
    /// Nil verifies the server against the system's certificate authorities.
    package var tls: TLSOptions?
    /// Opens a connection for this request alone, so that it cannot meet one that the server is about to close.
    package var freshConnection: Bool
    /// A request that is not begun by then is not sent, and ends as cancelled. A process that was frozen wakes up with requests that
    /// are somebody else's by now.
    package var notAfter: ContinuousClock.Instant?
    /// An answer with a longer body is cut off and fails as `tooLarge`.
    package var maxResponseBytes: Int

    package init(
        id: UInt64 = 0,
        method: String = "GET",
        url: String,
        headers: [String] = [],
        body: [UInt8] = [],
        timeout: Duration = .seconds(30),
        connectTimeout: Duration = .seconds(5),
        tls: TLSOptions? = nil,
        freshConnection: Bool = false,
        notAfter: ContinuousClock.Instant? = nil,
        maxResponseBytes: Int = 1 << 20
    ) {
        self.id = id
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.connectTimeout = connectTimeout
        self.tls = tls
        self.freshConnection = freshConnection
        self.notAfter = notAfter
        self.maxResponseBytes = maxResponseBytes
    }
}

/// How a server is verified and how we show who we are: paths of PEM files.
package struct TLSOptions: Sendable, Hashable {
    /// Certificate authorities to trust instead of the system's.
    package var authorities: String?
    /// Our own certificate (with its chain) and its private key.
    package var certificate: String?
    package var key: String?
    /// False trusts any server: for experiments only.
    package var verify: Bool

    package init(authorities: String? = nil, certificate: String? = nil, key: String? = nil, verify: Bool = true) {
        self.authorities = authorities
        self.certificate = certificate
        self.key = key
        self.verify = verify
    }
}
