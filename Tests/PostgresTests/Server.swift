import EmbeddedPostgres
import Postgres
import TestSupport

/// A connection to the tests' server. Tests that work in temporary tables need no database of their own.
func connect(_ change: (inout ConnectionOptions) -> Void = { _ in }) throws -> Connection {
    var options = ConnectionOptions()
    change(&options)
    return try Connection(TestCluster.shared.url(), options: options)
}

extension Connection {
    /// The only value of the only row.
    func value<Value: PostgresDecodable>(_ sql: SQL, as type: Value.Type = Value.self) throws -> Value {
        try query(sql)[0].decode(0, as: type)
    }

    /// Ends the session as an administrator would.
    func terminate() throws {
        _ = try connect().query("select pg_terminate_backend(\(backendPID), 10000)")
    }
}

/// The error that the body throws; fails the test when it throws another one or none.
func postgresError(_ body: () throws -> Void) throws -> PostgresError {
    do {
        try body()
    } catch let error as PostgresError {
        return error
    }
    throw NeverHappened(description: "no error was thrown")
}
