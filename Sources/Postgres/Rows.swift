internal import CLibPQ

/// What a statement returned, in binary. The memory is libpq's, read in place.
package final class Rows {
    private let result: OpaquePointer
    private let columns: Int
    package let count: Int

    /// Takes the result over.
    init(_ result: OpaquePointer) {
        self.result = result
        columns = Int(PQnfields(result))
        count = Int(PQntuples(result))
    }

    deinit {
        PQclear(result)
    }

    /// How many rows an INSERT, UPDATE or DELETE touched; of a SELECT how many it returned.
    package var affected: Int {
        Int(String(cString: PQcmdTuples(result))) ?? 0
    }

    /// The columns of a row of a result in text format.
    func textColumns(_ row: Int) -> [(name: String, type: UInt32, text: String?)] {
        (0..<columns).map { column in
            (
                name(column), PQftype(result, Int32(column)),
                PQgetisnull(result, Int32(row), Int32(column)) != 0
                    ? nil : PQgetvalue(result, Int32(row), Int32(column)).map { String(cString: $0) }
            )
        }
    }

    fileprivate func withValue<T, E: Error>(
        _ row: Int, _ column: Int, _ body: (UnsafeRawBufferPointer?, UInt32) throws(E) -> T
    ) throws(E) -> T {
        precondition(column < columns, "the result has \(columns) columns, asked for number \(column)")
        let (row, column) = (Int32(row), Int32(column))
        let type = PQftype(result, column)
        guard PQgetisnull(result, row, column) == 0, let start = PQgetvalue(result, row, column) else {
            return try body(nil, type)
        }
        return try body(UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(result, row, column))), type)
    }

    fileprivate func name(_ column: Int) -> String {
        PQfname(result, Int32(column)).map { String(cString: $0) } ?? "number \(column)"
    }
}

extension Rows: RandomAccessCollection {
    package var startIndex: Int { 0 }
    package var endIndex: Int { count }
    package subscript(index: Int) -> Row {
        precondition(index >= 0 && index < count, "the result has \(count) rows, asked for number \(index)")
        return Row(rows: self, index: index)
    }
}

package struct Row {
    fileprivate let rows: Rows
    fileprivate let index: Int

    /// - Throws: a decoding error that names the column when it holds something else.
    package func decode<Value: PostgresDecodable>(_ column: Int, as type: Value.Type) throws(PostgresError) -> Value {
        do {
            return try rows.withValue(index, column) { (bytes, oid) throws(PostgresError) in
                try Value.decode(bytes, type: oid)
            }
        } catch {
            throw .decoding("column \(rows.name(column)): \(error.message)")
        }
    }

    /// The value as it came, nil for NULL; of a jsonb without its version byte.
    package func bytes(_ column: Int) -> [UInt8]? {
        rows.withValue(index, column) { bytes, type in
            bytes.map { type == PostgresType.jsonb.oid ? Array($0.dropFirst()) : Array($0) }
        }
    }
}
