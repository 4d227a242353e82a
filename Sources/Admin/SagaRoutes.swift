import HTTPServer
import Primitives
import Store

/// Sagas: starting them, looking at them.
struct SagaRoutes {
    let database: AdminDatabase
    let outcomes: SagaOutcomes

    var routes: [Route] { [start, list, show] }

    // MARK: - Starting

    private var start: Route {
        let (database, outcomes) = (database, outcomes)
        let schema = Schema.object([
            ("id", .id), ("status", .choice(Operations.HTTP.sagaStatuses)), ("output", .any),
            ("failure", .nullable(.object([("type", .text), ("detail", .text)]))), ("finished_at", .nullable(.time)),
        ])
        return Route(
            .post, "/v1/sagas/{saga}", "startSaga", "Starts a saga",
            fields: [
                .path("saga", .text, "its name"),
                .query("key", .text, "of sagas with one key there is one; without it the definition's key is used"),
                .query("start_at", .time, "not before then"),
                .query(
                    "wait", .duration,
                    "answers when the saga has ended or needs a person, or after so long, at most \(SagaOutcomes.longest.text)"
                ),
                .header("traceparent", "goes on with the saga's calls"),
            ],
            body: "the input",
            answers: [
                Route.Answer(
                    status: 201, what: "It is started. Output and failure are there once it has ended.", schema: schema),
                Route.Answer(status: 200, what: "It was started before, with the same key and input.", schema: schema),
            ]
        ) { call in
            let name = try call.required("saga").text()
            let (input, headers) = (try call.body(), try call.traceHeaders)
            let (key, startAt) = (try call["key"]?.text(), try call["start_at"]?.time())
            let wait = try call["wait"].map { try Self.wait($0) } ?? .zero
            if wait > .zero { try outcomes.enter() }
            defer { if wait > .zero { outcomes.leave() } }
            let started = try await database.run {
                try $0.http.start(name, input: input, key: key, startAt: startAt, headers: headers)
            }
            // From here on it is started: nothing that goes wrong is told as a failure of the start.
            let outcome = wait > .zero ? await outcomes.outcome(of: started.id, within: wait) : nil
            var response = ServerResponse.json(
                outcome ?? ["id": JSON("\(started.id)"), "status": JSON(started.status)],
                status: started.isNew ? 201 : 200)
            response.headers.append(("Location", "/v1/sagas/\(started.id)"))
            return response
        }
    }

    private static func wait(_ given: Given.Named) throws(Problem) -> Duration {
        let wait = try given.duration()
        guard wait <= SagaOutcomes.longest else { throw given.wrong("at most \(SagaOutcomes.longest.text)") }
        return wait
    }

    // MARK: - Looking

    private static let row: [(name: String, schema: Schema)] = [
        ("id", .id), ("saga", .text), ("version", .count(1...Int(Int32.max))), ("key", .nullable(.text)),
        ("status", .choice(Operations.HTTP.sagaStatuses)), ("suspended", .bool), ("waiting_for", .nullable(.text)),
        ("failure", .nullable(.object([("type", .text), ("detail", .text)]))), ("skipped", .count(0...Int(Int32.max))),
        ("started_at", .time), ("deadline", .nullable(.time)), ("finished_at", .nullable(.time)),
        ("parent_id", .nullable(.id)), ("parent_step", .nullable(.text)), ("worker", .nullable(.text)),
    ]

    private var list: Route {
        let database = database
        return Route(
            .get, "/v1/sagas", "listSagas", "Lists sagas, the newest first",
            fields: [
                .query("status", .choice(Operations.HTTP.sagaStatuses), "only those that are so"),
                .query("saga", .text, "only those of this name"),
                .query("key", .text, "only those with this key"),
            ] + Page.fields,
            answers: [
                Route.Answer(
                    status: 200, what: "One page, without inputs and outputs.", schema: Page.schema("sagas", Self.row))
            ]
        ) { call in
            let status = try call["status"]?.choice()
            let (saga, key) = (try call["saga"]?.text(), try call["key"]?.text())
            let page = try Page(call)
            return try await page.response("sagas", from: database) {
                try $0.http.sagas(status: status, saga: saga, key: key, before: page.before, limit: page.limit)
            }
        }
    }

    private var show: Route {
        let database = database
        let step: [(name: String, schema: Schema)] = [
            ("step", .text), ("start_seq", .nullable(.count(0...Int.max))),
            ("status", .choice(["pending", "running", "waiting", "succeeded", "failed", "unknown", "skipped"])),
            ("attempts", .count(0...Int(Int32.max))), ("input", .any), ("output", .any), ("error", .any),
            (
                "compensation_status",
                .choice(["not_required", "pending", "running", "compensated", "failed", "skipped"])
            ),
            ("compensation_attempts", .count(0...Int(Int32.max))), ("started_at", .nullable(.time)),
            ("finished_at", .nullable(.time)),
        ]
        let fact: [(name: String, schema: Schema)] = [
            ("seq", .count(0...Int.max)), ("at", .time), ("event", .text), ("step", .nullable(.text)),
            ("op", .nullable(.choice(["action", "compensate"]))), ("attempt", .nullable(.count(1...Int(Int32.max)))),
            ("detail", .any), ("worker", .text),
        ]
        return Route(
            .get, "/v1/sagas/{saga}", "getSaga", "Shows a saga with its steps and its history",
            fields: [.path("saga", .id, "its id")],
            answers: [
                Route.Answer(
                    status: 200, what: "The saga.",
                    schema: .object(
                        Self.row + [
                            ("input", .any), ("output", .any), ("trouble", .any), ("hash", .text),
                            ("steps", .list(.object(step))), ("history", .list(.object(fact))),
                        ]))
            ]
        ) { call in
            let id = try call.required("saga").id()
            guard let saga = try await database.run({ try $0.http.saga(id) }) else {
                throw Problem.notFound("There is no saga with the id \(id).", hint: "GET /v1/sagas lists them.")
            }
            return .json(saga)
        }
    }
}
