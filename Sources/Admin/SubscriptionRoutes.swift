import HTTPServer
import Primitives
import Store

/// What an operator does to a subscription.
struct SubscriptionRoutes {
    let database: AdminDatabase

    var routes: [Route] { [pause, resume, replay, redrive, discard] }

    private static let name = Field.path("name", .text, "the subscription's name")
    private static let operation = [
        Route.Answer(
            status: 202,
            what: "A worker will carry it out; the operation's id, and a note where the log does not reach so far.",
            schema: .object([("id", .id), ("note", .nullable(.text))]))
    ]

    private static func answer(_ ordered: Operations.Ordered) -> ServerResponse {
        let note: JSON = ordered.note.map { .string($0) } ?? .null
        return .json(["id": JSON("\(ordered.id)"), "note": note], status: 202)
    }

    private var pause: Route {
        let database = database
        return Route(
            .post, "/v1/subscriptions/{name}/pause", "pauseSubscription", "Stops delivering; messages wait",
            fields: [Self.name],
            answers: [Route.Answer(status: 200, what: "It is paused.", schema: .object([("paused", .bool)]))]
        ) { call in
            let name = try call.required("name").text()
            try await database.run { try $0.pause(name) }
            return .json(["paused": true])
        }
    }

    private var resume: Route {
        let database = database
        return Route(
            .post, "/v1/subscriptions/{name}/resume", "resumeSubscription", "Delivers again", fields: [Self.name],
            answers: [Route.Answer(status: 200, what: "It is not paused.", schema: .object([("paused", .bool)]))]
        ) { call in
            let name = try call.required("name").text()
            try await database.run { try $0.resume(name) }
            return .json(["paused": false])
        }
    }

    private var replay: Route {
        let database = database
        return Route(
            .post, "/v1/subscriptions/{name}/replay", "replaySubscription", "Sends messages from the log again",
            fields: [
                Self.name, .member("from", .time, "published at or after", isRequired: true),
                .member("to", .time, "published before; now when left out"),
                .member("key", .text, "only messages of this key"),
                .member("topic", .text, "only messages of this topic, which the subscription must take"),
            ], answers: Self.operation
        ) { call in
            let name = try call.required("name").text()
            var replay = Operations.Replay(name, from: try call.required("from").time())
            replay.to = try call["to"]?.time()
            replay.key = try call["key"]?.text()
            replay.topic = try call["topic"]?.text()
            let wanted = replay
            return Self.answer(try await database.run { try $0.replay(wanted) })
        }
    }

    private var redrive: Route {
        let database = database
        return Route(
            .post, "/v1/subscriptions/{name}/redrive", "redriveSubscription", "Sends all its open dead letters again",
            fields: [Self.name, .member("before", .time, "only those that died before; now when left out")],
            answers: Self.operation
        ) { call in
            let name = try call.required("name").text()
            let before = try call["before"]?.time()
            return Self.answer(try await database.run { try $0.redriveAll(subscription: name, before: before) })
        }
    }

    private var discard: Route {
        let database = database
        return Route(
            .post, "/v1/subscriptions/{name}/discard", "discardOfSubscription", "Gives all its open dead letters up",
            fields: [
                Self.name, .member("reason", .text, "why they are not wanted", isRequired: true),
                .member("before", .time, "only those that died before; now when left out"),
            ],
            answers: Self.operation
        ) { call in
            let (name, reason) = (try call.required("name").text(), try call.required("reason").text())
            let before = try call["before"]?.time()
            return Self.answer(
                try await database.run { try $0.discardAll(subscription: name, reason: reason, before: before) })
        }
    }
}
