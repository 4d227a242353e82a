/// A SQLSTATE: five characters, of which the first two are the class (PostgreSQL manual, appendix A).
package struct SQLState: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: String

    package init(rawValue: String) {
        self.rawValue = rawValue
    }

    package var errorClass: Substring { rawValue.prefix(2) }
    package var description: String { rawValue }

    package static let featureNotSupported = SQLState(rawValue: "0A000")
    package static let uniqueViolation = SQLState(rawValue: "23505")
    package static let insufficientPrivilege = SQLState(rawValue: "42501")
    package static let undefinedTable = SQLState(rawValue: "42P01")
    package static let invalidSchemaName = SQLState(rawValue: "3F000")
    package static let lockNotAvailable = SQLState(rawValue: "55P03")
    package static let queryCanceled = SQLState(rawValue: "57014")

    /// For `catch let error as PostgresError where .lockNotAvailable ~= error`.
    package static func ~= (state: SQLState, error: PostgresError) -> Bool {
        error.sqlState == state
    }
}
