import HTTPServer
import Postgres

/// Why a request is not answered as it wished, by RFC 9457.
struct Problem: Error, CustomStringConvertible {
    let status: Int
    /// The same for all problems of a kind.
    let title: String
    /// What is wrong with this one.
    let detail: String
    /// What to do about it.
    var hint: String?
    var type = "about:blank"
    var headers: [(name: String, value: String)] = []

    init(_ status: Int, _ title: String, _ detail: String, hint: String? = nil) {
        self.status = status
        self.title = title
        self.detail = detail
        self.hint = hint
    }

    static func badRequest(_ detail: String, hint: String? = nil) -> Problem {
        Problem(400, "Bad Request", detail, hint: hint)
    }

    static func notFound(_ detail: String, hint: String? = nil) -> Problem {
        Problem(404, "Not Found", detail, hint: hint)
    }

    /// Passes by itself.
    static func unavailable(_ detail: String, retryAfter seconds: Int = 1) -> Problem {
        var problem = Problem(503, "Service Unavailable", detail)
        problem.headers = [("Retry-After", String(seconds))]
        return problem
    }

    var description: String { "\(title): \(detail)" }

    var response: ServerResponse {
        var response = ServerResponse.problem(status: status, title: title, detail: detail, hint: hint, type: type)
        response.headers += headers
        return response
    }
}

// MARK: - What the database says

extension Problem {
    /// Errors of Outrider's own functions, with the server's words and `urn:outrider:` and their code as the type.
    private static let own: [String: (status: Int, title: String)] = [
        "OR001": (503, "Topic full"),
        "OR002": (429, "Rate exceeded"),
        "OR003": (404, "Unknown saga or topic"),
        "OR004": (409, "Key in use"),
        "OR005": (400, "Invalid argument"),
        "OR006": (409, "Not allowed in this state"),
        "OR007": (404, "Not found"),
        "OR008": (409, "Id exists"),
    ]

    init(_ error: PostgresError) {
        switch error.kind {
        case .server(let state):
            if let (status, title) = Self.own[state.rawValue] {
                let detail = [error.message, error.detail].compactMap(\.self).joined(separator: ". ")
                self.init(status, title, detail, hint: error.hint)
                type = "urn:outrider:\(state)"
                if status == 429 || status == 503 {
                    headers = [("Retry-After", String(Self.secondsToWait(error.detail)))]
                }
                return
            }
            self = Self.refusal(state, error)
        case .connectionLost:
            self = .unavailable(
                "The connection to the database was lost: what was asked for may or may not have happened.")
        case .cannotConnect:
            // Why is for the log and /readyz: it names hosts and users.
            self = .unavailable("The database cannot be reached at the moment.")
        case .decoding:
            self.init(500, "Internal Server Error", "The database's answer could not be read.")
        }
    }

    /// What the database says of when a topic takes the next message: `… in 2.5 s.`
    private static func secondsToWait(_ detail: String?) -> Int {
        let said = detail?.firstMatch(of: #/ in (\d+)(\.\d+)? s\.$/#)
        return max(1, said.flatMap { Int($0.1) }.map { $0 + 1 } ?? 1)
    }

    private static func refusal(_ state: SQLState, _ error: PostgresError) -> Problem {
        switch (state.errorClass, state) {
        case (_, .undefinedTable), (_, .invalidSchemaName), (_, SQLState(rawValue: "42883")):
            return .unavailable("The schema is missing or old: run `outrider migrate`.", retryAfter: 10)
        case (_, .insufficientPrivilege):
            return Problem(
                403, "Forbidden", "The worker's role may not do this: \(error.message).",
                hint: "grant outrider_worker to it")
        // Data exceptions and limits: numbers that numeric cannot hold, U+0000, text that is no JSON to PostgreSQL.
        case ("22", _), ("54", _):
            return .badRequest(
                [error.message, error.detail].compactMap(\.self).joined(separator: ". "), hint: error.hint)
        // Deadlocks, limits of resources, locks, cancelled statements, a server that shuts down.
        case ("40", _), ("53", _), ("55", _), ("57", _), ("58", _):
            return .unavailable("The database could not do it now: \(error.message).")
        default:
            return Problem(500, "Internal Server Error", "The database refused it: \(error.message).", hint: error.hint)
        }
    }
}
