import HTTPServer
import Primitives
import Store

/// Which part of a listing is asked for. Listings go from the newest id to the oldest; the next page begins before the last
/// id of this one.
struct Page: Sendable {
    let before: UUID?
    let limit: Int

    static let fields: [Field] = [
        .query("limit", .count(1...1000), "at most so many, 50 when left out"),
        .query("before", .id, "only older ones than that of this id; a page's `next` is the id for the next page"),
    ]

    static func schema(_ name: String, _ row: [(name: String, schema: Schema)]) -> Schema {
        .object([(name, .list(.object(row))), ("next", .nullable(.id))])
    }

    init(_ call: Call) throws(Problem) {
        before = try call["before"]?.id()
        limit = try call["limit"]?.count() ?? 50
    }

    func response(
        _ name: String, from database: AdminDatabase,
        read: @escaping @Sendable (Operations) throws -> Operations.HTTP.Page
    ) async throws -> ServerResponse {
        let body = try await database.run { operations in
            let page = try read(operations)
            let next = page.next.map { "\"\($0)\"" } ?? "null"
            return Array("{\"\(name)\":[".utf8) + page.rows.joined(separator: [UInt8(ascii: ",")])
                + Array("],\"next\":\(next)}".utf8)
        }
        return .json(body)
    }
}

extension ServerResponse {
    /// JSON as somebody else wrote it.
    static func json(_ text: [UInt8]) -> ServerResponse {
        ServerResponse(status: 200, headers: [("Content-Type", "application/json")], body: text)
    }
}
