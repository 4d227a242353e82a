package import Engine
import HTTPServer
import Postgres
package import Primitives
import Telemetry

/// The sidecar's own HTTP: health for probes, metrics for Prometheus.
///
/// On loopback everybody on the machine may read; on any other address everything but health needs the admin token. The
/// `Host` header is checked, so that a web page cannot reach a sidecar on loopback by a name of its own (DNS rebinding), and
/// `Origin`, so that it cannot do so by ours.
package final class AdminServer: Sendable {
    private let server: HTTPServer
    private let session: Session

    package var port: Int { server.port }

    /// - Parameters:
    ///   - listen: `address:port`; port 0 takes a free one.
    ///   - token: needed in `Authorization: Bearer` on any address but loopback.
    /// - Throws: `ListenError`, or `AdminError` when a token is missing.
    package init(
        listen: String, token: Secret?, databaseURL: String, health: WorkerHealth, metrics: WorkerMetrics
    ) throws {
        let isLoopback = Self.isLoopback(listen)
        guard isLoopback || token != nil else { throw AdminError.tokenMissing(listen: listen) }
        var options = ConnectionOptions()
        options.applicationName = "outrider metrics"
        options.connectTimeout = .seconds(2)
        options.statementTimeout = .seconds(10)
        let session = Session(databaseURL, options: options)
        self.session = session
        let queues = QueueMetrics(session: session, registry: metrics.registry)
        server = try HTTPServer(address: listen) { request, responder in
            if let refusal = Self.refusal(request, isLoopback: isLoopback, token: token) {
                return responder.respond(refusal)
            }
            switch (request.method, request.path) {
            case ("GET", "/healthz"), ("HEAD", "/healthz"):
                responder.respond(.text("ok\n"))
            case ("GET", "/readyz"), ("HEAD", "/readyz"):
                responder.respond(Self.readiness(health.current))
            case ("GET", "/metrics"), ("HEAD", "/metrics"):
                Task {
                    await queues.refresh()
                    responder.respond(
                        ServerResponse(
                            status: 200, headers: [("Content-Type", Metrics.contentType)],
                            body: Array(metrics.registry.exposition().utf8)))
                }
            case (_, "/healthz"), (_, "/readyz"), (_, "/metrics"):
                var answer = ServerResponse.problem(
                    status: 405, title: "Method not allowed", detail: "\(request.path) takes GET.")
                answer.headers.append(("Allow", "GET, HEAD"))
                responder.respond(answer)
            default:
                responder.respond(
                    .problem(
                        status: 404, title: "Not found", detail: "There are /healthz, /readyz and /metrics."))
            }
        }
    }

    package func stop() async {
        server.stop()
        await session.close()
    }

    private static func readiness(_ report: WorkerHealth.Report) -> ServerResponse {
        let lines = report.lacking.map { $0 + "\n" }.joined()
        if let obstacle = report.obstacle ?? report.silence {
            return .text("not ready: \(obstacle)\n" + lines, status: 503)
        }
        if report.isDraining { return .text("not ready: draining\n" + lines, status: 503) }
        return .text("ready\n" + lines)
    }

    private static func refusal(_ request: ServerRequest, isLoopback: Bool, token: Secret?) -> ServerResponse? {
        let isProbe = request.path == "/healthz" || request.path == "/readyz"
        if isLoopback {
            guard let host = request.headers["host"], Self.isLoopback(host) else {
                return .problem(
                    status: 403, title: "Forbidden",
                    detail: "The Host header names another machine than this one's loopback.")
            }
            if let origin = request.headers["origin"], !Self.isLoopback(authority(of: origin)) {
                return .problem(
                    status: 403, title: "Forbidden",
                    detail: "The Origin header names a page that is not of this machine.")
            }
            return nil
        }
        // Elsewhere no page of another origin has the token.
        guard !isProbe, let token else { return nil }
        guard let given = bearerToken(request.headers["authorization"]), isEqual(given, token.value) else {
            var answer = ServerResponse.problem(
                status: 401, title: "Unauthorized",
                detail: "Send Authorization: Bearer with the value of OUTRIDER_ADMIN_TOKEN.")
            answer.headers.append(("WWW-Authenticate", "Bearer"))
            return answer
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
    package static func isLoopback(_ address: String) -> Bool {
        if address.hasPrefix("[") { return address == "[::1]" || address.hasPrefix("[::1]:") }
        let host = address.prefix { $0 != ":" }.lowercased()
        if host == "localhost" { return true }
        // Four numbers: 127.example.com is a name, which may lead anywhere.
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}

package enum AdminError: Error, Sendable, CustomStringConvertible {
    case tokenMissing(listen: String)

    package var description: String {
        switch self {
        case .tokenMissing(let listen):
            """
            OUTRIDER_LISTEN is \(listen), which others can reach, and OUTRIDER_ADMIN_TOKEN is not set: \
            set a token, or listen on 127.0.0.1
            """
        }
    }
}
