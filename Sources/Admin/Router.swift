import HTTPServer
import Postgres
import Telemetry

/// Finds the route of each request, and answers what goes wrong on the way as a problem.
struct Router: Sendable {
    let routes: [Route]
    let gate: Gate
    let log: Log

    func answer(_ request: ServerRequest) async -> ServerResponse {
        let segments = request.segments
        let here = routes.compactMap { route in route.match(segments).map { (route: route, values: $0) } }
        // HEAD is GET without the body, which the server leaves out.
        let method = request.method == "HEAD" ? "GET" : request.method
        let found = here.first { $0.route.method.name == method }
        if let problem = gate.objection(to: request, for: (found ?? here.first)?.route.access) {
            return problem.response
        }
        guard let found else { return Self.problem(allowing: here.map(\.route.method)).response }
        do {
            let call = try Call(request, found.route, path: found.values, routes: routes)
            return try await found.route.handle(call)
        } catch {
            let problem = Self.problem(error)
            if problem.status >= 500 {
                // By its name: the path may hold a token.
                log.warning("http.failed", ["route": found.route.name, "error": "\(error)"], limitPerSecond: 1)
            }
            return problem.response
        }
    }

    private static func problem(allowing methods: [Route.Method]) -> Problem {
        guard !methods.isEmpty else {
            return .notFound("There is nothing at this path.", hint: "/openapi.json tells what there is.")
        }
        let allowed = methods.flatMap { $0 == .get ? ["GET", "HEAD"] : [$0.name] }.joined(separator: ", ")
        var problem = Problem(405, "Method Not Allowed", "What is at this path takes \(allowed).")
        problem.headers = [("Allow", allowed)]
        return problem
    }

    private static func problem(_ error: any Error) -> Problem {
        switch error {
        case let error as Problem: error
        case let error as PostgresError: Problem(error)
        default: Problem(500, "Internal Server Error", "It failed in a way that nobody expected; see the worker's log.")
        }
    }
}
