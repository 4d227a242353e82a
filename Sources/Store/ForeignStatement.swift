package import Postgres
package import Primitives

/// A statement of a workflow file: it runs inside of a transaction of ours, with the least privilege and limited in time.
package struct ForeignStatement: Sendable {
    /// Who runs it; the owner of what it may touch grants that.
    private static let role = "outrider_step"
    /// How long it waits for a lock, or as long as its own limit if that is shorter.
    private static let longestLockWait = Duration.seconds(5)

    private let text: String
    private let arguments: [String?]
    private let timeout: Duration

    /// - Parameter timeout: of the statement, by the server.
    package init(_ text: String, arguments: [JSON], timeout: Duration) {
        self.text = text
        self.arguments = arguments.map { $0.isNull ? nil : $0.string ?? $0.text }
        self.timeout = timeout
    }

    /// What has to be said before it, in the same transaction.
    package var settings: SQL {
        """
        select set_config('role', \(Self.role), true), set_config('statement_timeout', \(Self.milliseconds(timeout)), true),
            set_config('lock_timeout', \(Self.milliseconds(min(Self.longestLockWait, timeout))), true)
        """
    }

    /// What has to be said after it. What would be checked at the commit only is the statement's affair, too.
    package static let reset =
        "set constraints all immediate; reset role; reset statement_timeout; reset lock_timeout"

    /// Runs it; gives null for no row, one row as an object by column, several as an array of them.
    package func run(on connection: Connection) throws(PostgresError) -> JSON {
        let rows = try connection.run(foreign: text, arguments)
        return rows.count == 1 ? rows[0] : rows.isEmpty ? .null : .array(rows)
    }

    private static func milliseconds(_ duration: Duration) -> String { String(max(1, duration.milliseconds)) }
}
