internal import CLibPQ
package import Primitives

extension Connection {
    /// Runs a statement that somebody else wrote, as one unprepared statement (libpq manual, `PQexecParams`: more than one is
    /// an error). Arguments go as texts whose types the server infers; null is NULL.
    ///
    /// - Returns: one object a row, by column; numbers, booleans and JSON as what they are, everything else as text.
    package func run(foreign text: String, _ arguments: [String?]) throws(PostgresError) -> [JSON] {
        let rows = try foreignRows(text, arguments)
        return (0..<rows.count).map { rows.textObject($0) }
    }
}

extension Rows {
    /// Of a result in text format.
    fileprivate func textObject(_ row: Int) -> JSON {
        .object(JSONObject(textColumns(row).map { (name: $0.name, value: Self.value($0.text, type: $0.type)) }))
    }

    private static func value(_ text: String?, type: UInt32) -> JSON {
        guard let text else { return .null }
        switch type {
        case PostgresType.bool.oid: return .bool(text == "t")
        case 20, 21, 23, 26, 700, 701, 1700:  // int8, int2, int4, oid, float4, float8, numeric
            return text.utf8.last.map { $0 >= 0x30 && $0 <= 0x39 } == true
                ? .number(JSONNumber(digits: text)) : .string(text)
        case 114, PostgresType.jsonb.oid: return (try? JSON(parsing: Array(text.utf8))) ?? .string(text)
        default: return .string(text)
        }
    }
}
