package import Primitives

package struct ServerResponse: Sendable {
    package var status: Int
    /// `Date`, `Connection` and `Content-Length` are added by the server.
    package var headers: [(name: String, value: String)]
    /// Not sent to `HEAD`, though its length is.
    package var body: [UInt8]

    package init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package static func text(
        _ text: String, status: Int = 200, type: String = "text/plain; charset=utf-8"
    ) -> ServerResponse {
        ServerResponse(status: status, headers: [("Content-Type", type)], body: Array(text.utf8))
    }

    package static func json(_ value: JSON, status: Int = 200) -> ServerResponse {
        json(value, status: status, type: "application/json")
    }

    /// An error for machines and people, by RFC 9457. `title` is the same for all errors of a kind, `detail` tells of this one;
    /// `hint`, which the standard does not know, tells what to do.
    package static func problem(
        status: Int, title: String, detail: String? = nil, hint: String? = nil, type: String = "about:blank"
    ) -> ServerResponse {
        var members: [(name: String, value: JSON)] = [
            ("type", .string(type)), ("title", .string(title)), ("status", JSON(status)),
        ]
        if let detail { members.append(("detail", .string(detail))) }
        if let hint { members.append(("hint", .string(hint))) }
        return json(.object(JSONObject(members)), status: status, type: "application/problem+json")
    }

    private static func json(_ value: JSON, status: Int, type: String) -> ServerResponse {
        var body: [UInt8] = []
        value.write(into: &body)
        return ServerResponse(status: status, headers: [("Content-Type", type)], body: body)
    }
}
