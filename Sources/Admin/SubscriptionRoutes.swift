import HTTPServer
import Primitives
import Store

/// What an operator does to a subscription.
struct SubscriptionRoutes {
    let database: AdminDatabase

    var routes: [Route] { [pause, resume, replay, redrive] }

    private static let name = Field.path("name", .text, "the subscription's name")
    private static let operation = [
        Route.Answer(
            status: 202, what: "A worker will carry it out; the operation's id.", schema: .object([("id", .id)]))
    ]

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
            ], answers: Self.operation
        ) { call in
            let name = try call.required("name").text()
            let (from, to) = (try call.required("from").time(), try call["to"]?.time() ?? .now())
            let key = try call["key"]?.text()
            let id = try await database.run { try $0.replay(name, from: from, to: to, key: key) }
            return .json(["id": JSON("\(id)")], status: 202)
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
            let id = try await database.run { try $0.redriveAll(subscription: name, before: before) }
            return .json(["id": JSON("\(id)")], status: 202)
        }
    }
}
