/// An option of a command: how it is written, what it does, where else its value can come from.
struct Option: Sendable {
    let name: String
    /// What stands for the value in the help; nil for a switch.
    let value: String?
    let summary: String
    /// The environment variables that give the value when the option is not there, the first that is set.
    var environment: [String] = []
    /// As shown in the help.
    var fallback: String?
    var isRepeatable = false

    static func flag(_ name: String, _ summary: String) -> Option {
        Option(name: name, value: nil, summary: summary)
    }

    static func value(
        _ name: String, _ value: String, _ summary: String, environment: [String] = [], fallback: String? = nil,
        isRepeatable: Bool = false
    ) -> Option {
        Option(
            name: name, value: value, summary: summary, environment: environment, fallback: fallback,
            isRepeatable: isRepeatable)
    }

    static let databaseURL = value(
        "database-url", "URL", "the database, as libpq understands it (URL or keywords)",
        environment: ["OUTRIDER_DATABASE_URL", "DATABASE_URL"], fallback: "libpq's PG… variables")
    static let connectTimeout = value(
        "connect-timeout", "DURATION", "how long to try to connect", environment: ["OUTRIDER_CONNECT_TIMEOUT"],
        fallback: "5s")
    static let format = value("format", "text|json", "how to print", fallback: "text")
    static let database = [databaseURL, connectTimeout]
}
