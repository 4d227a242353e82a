import HTTPServer
import Primitives
import Store

/// Publishing. A service that has the database at hand publishes in its own transaction instead.
struct TopicRoutes {
    let database: AdminDatabase

    var routes: [Route] { [publish] }

    private var publish: Route {
        let database = database
        return Route(
            .post, "/v1/topics/{topic}", "publish", "Publishes a message",
            fields: [
                .path("topic", .text, "the topic"),
                .query("key", .text, "messages of one key are delivered in order where a subscription asks for it"),
                .query("deliver_at", .time, "not before then"),
                .query("expires_at", .time, "not after then"),
                .query(
                    "dedupe_key", .text, "a second message with the same key within the topic's window is not written"),
                .header("Idempotency-Key", "the same as dedupe_key, which wins"),
                .header("traceparent", "goes on with the message"),
            ],
            body: "the payload",
            answers: [
                Route.Answer(
                    status: 202, what: "It is written, or was before; its id.", schema: .object([("id", .id)]))
            ]
        ) { call in
            var message = Operations.Publication(
                topic: try call.required("topic").text(), payload: try call.body())
            message.key = try call["key"]?.text()
            message.headers = try call.traceHeaders
            message.deliverAt = try call["deliver_at"]?.time()
            message.expiresAt = try call["expires_at"]?.time()
            message.dedupeKey = try call["dedupe_key"]?.text() ?? call["Idempotency-Key"].map { try $0.text().unquoted }
            let id = try await database.run { [message] in try $0.publish(message) }
            return .json(["id": JSON("\(id)")], status: 202)
        }
    }
}

extension Call {
    /// The trace that the caller belongs to (W3C Trace Context), as headers of a message or saga.
    var traceHeaders: JSON? {
        get throws(Problem) {
            try self["traceparent"].map { (value) throws(Problem) in ["traceparent": JSON(try value.text())] }
        }
    }
}

extension String {
    /// Without the quotes of a structured field's string (RFC 8941, section 3.3.3), as handlers are sent theirs.
    fileprivate var unquoted: String {
        guard utf8.count >= 2, hasPrefix("\""), hasSuffix("\"") else { return self }
        return String(dropFirst().dropLast().replacing("\\\"", with: "\"").replacing("\\\\", with: "\\"))
    }
}
