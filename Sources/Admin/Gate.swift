import HTTPServer
import Primitives

/// Who may ask what.
///
/// On loopback everybody on the machine may. There the `Host` header is checked, so that a web page cannot reach a sidecar by a
/// name of its own (DNS rebinding), and `Origin`, so that it cannot do so by ours. On any other address everything but
/// health and callbacks needs the admin token, which no page of another origin has.
struct Gate: Sendable {
    private let isOnLoopback: Bool
    private let token: Secret?
    private let callbackHost: String?

    /// - Parameters:
    ///   - address: that is listened on.
    ///   - callbackURL: what handlers are told: callbacks may come by that name, through a proxy on this machine.
    init(address: String, token: Secret?, callbackURL: String?) {
        isOnLoopback = Self.isLoopback(address)
        self.token = token
        callbackHost = callbackURL.map { url in String(Self.authority(of: url).prefix { $0 != "/" }).lowercased() }
    }

    /// - Parameter access: of what is asked for; nil when there is no such thing.
    func objection(to request: ServerRequest, for access: Route.Access?) -> Problem? {
        isOnLoopback ? objection(onLoopback: request, access) : objection(elsewhere: request, access)
    }

    private func objection(onLoopback request: ServerRequest, _ access: Route.Access?) -> Problem? {
        let host = request.headers["host"]
        let isCallback = access == .stepToken && callbackHost != nil && host?.lowercased() == callbackHost
        guard isCallback || host.map(Self.isLoopback) == true else {
            return Problem(
                403, "Forbidden", "The Host header names another machine than this one's loopback.")
        }
        if let origin = request.headers["origin"], !Self.isLoopback(Self.authority(of: origin)) {
            return Problem(403, "Forbidden", "The Origin header names a page that is not of this machine.")
        }
        return nil
    }

    private func objection(elsewhere request: ServerRequest, _ access: Route.Access?) -> Problem? {
        // Where there is no token, nothing is served that needs it.
        guard access == .admin || access == nil, let token else { return nil }
        guard let given = Self.bearerToken(request.headers["authorization"]), Self.isEqual(given, token.value) else {
            var problem = Problem(
                401, "Unauthorized", "Send Authorization: Bearer with the value of OUTRIDER_ADMIN_TOKEN.")
            problem.headers = [("WWW-Authenticate", "Bearer")]
            return problem
        }
        return nil
    }

    /// What stands behind `Bearer `, in any case (RFC 9110, section 11.1).
    private static func bearerToken(_ authorization: String?) -> String? {
        guard let authorization, authorization.prefix(7).lowercased() == "bearer " else { return nil }
        return String(authorization.dropFirst(7))
    }

    /// Host and port of an origin (RFC 6454, section 7); all of it when it has no scheme, as `null` has none.
    private static func authority(of origin: String) -> String {
        origin.firstRange(of: "://").map { String(origin[$0.upperBound...]) } ?? origin
    }

    /// Takes the same time wherever the texts differ.
    private static func isEqual(_ left: String, _ right: String) -> Bool {
        let (a, b) = (Array(left.utf8), Array(right.utf8))
        guard a.count == b.count else { return false }
        return zip(a, b).reduce(0 as UInt8) { $0 | ($1.0 ^ $1.1) } == 0
    }

    /// Whether `host:port` or `[host]:port` is this machine seen from itself.
    static func isLoopback(_ address: String) -> Bool {
        if address.hasPrefix("[") { return address == "[::1]" || address.hasPrefix("[::1]:") }
        let host = address.prefix { $0 != ":" }.lowercased()
        if host == "localhost" { return true }
        // Four numbers: 127.example.com is a name, which may lead anywhere.
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
