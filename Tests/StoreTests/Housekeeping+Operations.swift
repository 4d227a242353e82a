import Postgres
import Primitives
import Store
import TestSupport

extension Housekeeping {
    /// What the leading worker does, beat for beat, until no operation is left.
    func carryOutOperations(most: Int) throws {
        while true {
            let open = try openOperations()
            if open.isEmpty { return }
            for operation in open { _ = try stepOperation(operation, most: most) }
        }
    }
}

extension TestDatabase {
    /// One step; true while there is more.
    func step(_ operation: UUID, most: Int32 = 500) async throws -> Bool {
        try await value("select outrider.operation_step(\(operation), \(most))")
    }

    func status(of operation: UUID) async throws -> String {
        try await value("select status || ' ' || done from outrider.operations where id = \(operation)")
    }
}
