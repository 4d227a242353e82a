internal import CLibPQ

/// What went wrong, told apart by what a caller can do about it.
package struct PostgresError: Error, Sendable {
    package enum Kind: Sendable, Hashable {
        /// The server refused a statement; the connection is usable.
        case server(SQLState)
        /// The session is gone, and what was under way may or may not have happened.
        case connectionLost
        /// There never was a session. `retryable` is false for what waiting does not mend: a wrong password, an unknown
        /// database, a malformed connection string.
        case cannotConnect(retryable: Bool)
        /// A result was read as what it is not: a mistake in this program.
        case decoding
    }

    package let kind: Kind
    package let message: String
    package var detail: String?
    package var hint: String?
    package var context: String?

    package var sqlState: SQLState? {
        if case .server(let state) = kind { state } else { nil }
    }

    package static func connectionLost(_ message: String) -> PostgresError {
        PostgresError(kind: .connectionLost, message: message)
    }

    static func decoding(_ message: String) -> PostgresError {
        PostgresError(kind: .decoding, message: message)
    }
}

extension PostgresError: CustomStringConvertible, CustomDebugStringConvertible {
    /// Without the detail, which quotes data.
    package var description: String {
        hint.map { "\(message) (hint: \($0))" } ?? message
    }

    package var debugDescription: String {
        let parts = [("detail", detail), ("hint", hint), ("context", context)].compactMap { name, text in
            text.map { "\(name): \($0)" }
        }
        return (["\(kind): \(message)"] + parts).joined(separator: "\n")
    }
}

extension PostgresError {
    /// From a failed result. A session that ended with the statement makes it `connectionLost`.
    init(_ result: OpaquePointer?, on connection: OpaquePointer) {
        func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
        if PQstatus(connection) == CONNECTION_BAD {
            self = .connectionLost(Self.text(PQerrorMessage(connection)))
            return
        }
        let state = field(Int32(UInt8(ascii: "C"))) ?? "XX000"
        self.init(
            kind: .server(SQLState(rawValue: state)),
            message: field(Int32(UInt8(ascii: "M"))) ?? Self.text(PQresultErrorMessage(result)),
            detail: field(Int32(UInt8(ascii: "D"))), hint: field(Int32(UInt8(ascii: "H"))),
            context: field(Int32(UInt8(ascii: "W"))))
    }

    /// From an attempt to connect. libpq 15 tells no SQLSTATE then, so the text has to do: what is listed here stays wrong
    /// until somebody changes something, everything else may pass.
    static func cannotConnect(_ message: String) -> PostgresError {
        let lasting = [
            "authentication failed", "no password supplied", "no pg_hba.conf entry", "does not exist",
            "invalid connection option", "invalid integer value", "missing \"=\"", "unsupported startup parameter",
            "is not permitted to log in", "invalid port number", "definition of service", "invalid sslmode",
            "certificate verify failed", "server does not support SSL", "could not match",
            "invalid channel_binding value",
            "invalid target_session_attrs value", "invalid gssencmode value", "permission denied for database",
        ]
        // A socket file that does not exist is a server that is not there yet.
        let isMissingSocket = message.contains("No such file or directory") && message.contains("socket")
        let isLasting = !isMissingSocket && lasting.contains { message.contains($0) }
        return PostgresError(kind: .cannotConnect(retryable: !isLasting), message: message)
    }

    static func text(_ pointer: UnsafePointer<CChar>?) -> String {
        let text = pointer.map { String(cString: $0) } ?? "no error message"
        return text.split(separator: "\n", omittingEmptySubsequences: true).joined(separator: "; ")
    }
}
