import HTTPServer
import Primitives
import Store

/// Dead letters: looking at them, and what becomes of them.
struct DeadLetterRoutes {
    let database: AdminDatabase

    var routes: [Route] { [list, show, redrive, discard] }

    private static let row: [(name: String, schema: Schema)] = [
        ("id", .id), ("kind", .choice(Operations.HTTP.letterKinds)), ("subscription", .nullable(.text)),
        ("saga_id", .nullable(.id)), ("step", .nullable(.text)), ("message_id", .nullable(.id)),
        ("topic", .nullable(.text)), ("key", .nullable(.text)), ("attempts", .count(0...Int(Int32.max))),
        ("first_tried_at", .nullable(.time)), ("dead_at", .time), ("reason", .text), ("last_error", .nullable(.text)),
        ("redriven_at", .nullable(.time)), ("redriven_by", .nullable(.text)), ("redriven_as", .nullable(.id)),
        ("redrive_of", .nullable(.id)), ("discarded_at", .nullable(.time)), ("discarded_by", .nullable(.text)),
        ("discard_reason", .nullable(.text)),
    ]

    private static let id = Field.path("id", .id, "the dead letter's id")

    private var list: Route {
        let database = database
        return Route(
            .get, "/v1/dead-letters", "listDeadLetters", "Lists dead letters, the newest first",
            fields: [
                .query("subscription", .text, "only those of this subscription"),
                .query("kind", .choice(Operations.HTTP.letterKinds), "only those of this kind"),
                .query("saga_id", .id, "only those of this saga"),
                .query("topic", .text, "only those of this topic"), .query("key", .text, "only those of this key"),
                .query("reason", .text, "only those with this reason: exhausted, refused, …"),
                .query("since", .time, "only those that died at or after"),
                .query("until", .time, "only those that died before"),
                .query("all", .bool, "also those that were redriven or discarded"),
            ] + Page.fields,
            answers: [
                Route.Answer(
                    status: 200, what: "One page, without payloads.", schema: Page.schema("dead_letters", Self.row))
            ]
        ) { call in
            var filter = Operations.DeadLetterFilter()
            filter.subscription = try call["subscription"]?.text()
            filter.kind = try call["kind"]?.choice()
            filter.saga = try call["saga_id"]?.id()
            filter.topic = try call["topic"]?.text()
            filter.key = try call["key"]?.text()
            filter.reason = try call["reason"]?.text()
            filter.since = try call["since"]?.time()
            filter.until = try call["until"]?.time()
            filter.closedToo = try call["all"]?.bool() ?? false
            let page = try Page(call)
            filter.olderThan = page.before
            let wanted = filter
            return try await page.response("dead_letters", from: database) {
                try $0.http.deadLetters(wanted, limit: page.limit)
            }
        }
    }

    private var show: Route {
        let database = database
        return Route(
            .get, "/v1/dead-letters/{id}", "getDeadLetter", "Shows a dead letter with its payload and all errors",
            fields: [Self.id],
            answers: [
                Route.Answer(
                    status: 200, what: "The letter.",
                    schema: .object(
                        Self.row + [
                            ("payload", .any), ("headers", .any), ("published_at", .nullable(.time)),
                            ("errors", .list(.any)),
                        ]))
            ]
        ) { call in
            let id = try call.required("id").id()
            guard let letter = try await database.run({ try $0.http.deadLetter(id) }) else {
                throw Problem.notFound("There is no dead letter \(id).", hint: "GET /v1/dead-letters lists them.")
            }
            return .json(letter)
        }
    }

    private var redrive: Route {
        let database = database
        return Route(
            .post, "/v1/dead-letters/{id}/redrive", "redriveDeadLetter", "Sends it again",
            fields: [
                Self.id,
                .member(
                    "payload", .any,
                    "sent instead, as a message with an id of its own; of a saga's step: the input it is tried with"),
            ],
            answers: [
                Route.Answer(
                    status: 202,
                    what: """
                        It is queued, under the id that is answered: its message's, or that of the copy with the payload. \
                        A saga's step is tried again.
                        """,
                    schema: .object([("id", .id)]))
            ]
        ) { call in
            let (id, payload) = (try call.required("id").id(), call["payload"]?.json.text)
            let message = try await database.run { try $0.redrive(id, payload: payload).id }
            return .json(["id": JSON("\(message)")], status: 202)
        }
    }

    private var discard: Route {
        let database = database
        return Route(
            .post, "/v1/dead-letters/{id}/discard", "discardDeadLetter", "Gives it up",
            fields: [Self.id, .member("reason", .text, "why it is not wanted", isRequired: true)],
            answers: [
                Route.Answer(status: 200, what: "It is closed.", schema: .object([("discarded", .bool)]))
            ]
        ) { call in
            let (id, reason) = (try call.required("id").id(), try call.required("reason").text())
            try await database.run { try $0.discard(id, reason: reason) }
            return .json(["discarded": true])
        }
    }
}
