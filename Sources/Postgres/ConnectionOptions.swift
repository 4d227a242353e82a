import Primitives

/// How to connect; what the connection string says itself wins.
package struct ConnectionOptions: Sendable {
    /// Shown in `pg_stat_activity`.
    package var applicationName = "outrider"
    /// Of each host that the connection string names.
    package var connectTimeout: Duration = .seconds(5)
    /// The longest that a statement may take. Default: the server's setting.
    package var statementTimeout: Duration?
    /// Settings of the session, made right after connecting.
    package var settings: [(name: String, value: String)] = []
    /// Is told on the connection's thread what the server raises beside its results. Default: it goes nowhere but to the
    /// server's log.
    package var onNotice: (@Sendable (Notice) -> Void)?

    package init() {}

    /// A peer that is gone is noticed within seconds: the first probe after 2 s of silence, three of them a second apart, and
    /// sent data unacknowledged for 5 s (tcp(7), TCP_USER_TIMEOUT).
    var parameters: [(name: String, value: String)] {
        [
            ("fallback_application_name", applicationName),
            ("connect_timeout", String(max(2, Int(connectTimeout.seconds)))),
            ("keepalives_idle", "2"), ("keepalives_interval", "1"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "5000"),
            ("client_encoding", "UTF8"),
        ]
    }
}
