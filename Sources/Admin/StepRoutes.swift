import HTTPServer
import Primitives
import Store

/// Callbacks of async steps. Whoever knows the token that came with the request may call; it is good for that try alone.
struct StepRoutes {
    let database: AdminDatabase

    var routes: [Route] { [complete, fail, heartbeat] }

    private var complete: Route {
        callback("complete", "Says that the step has succeeded", [.member("output", .any, "the step's output")]) {
            call in
            let output = call["output"]?.json
            return { try $0.complete(token: $1, output: output) }
        }
    }

    private var fail: Route {
        callback(
            "fail", "Says that the step has failed, for good",
            [
                .member(
                    "error", .object([("type", .text), ("detail", .text)]),
                    "what went wrong; its type is what fail_on and failures name", isRequired: true)
            ]
        ) { call in
            let error = try call.required("error")
            for name in ["type", "detail"] {
                guard error.json.object != nil, error.json[name].map({ $0.isNull || $0.string != nil }) ?? true else {
                    throw error.wrong("{\"type\": \"…\", \"detail\": \"…\"}")
                }
            }
            return { [json = error.json] in try $0.fail(token: $1, error: json) }
        }
    }

    private var heartbeat: Route {
        callback(
            "heartbeat", "Says that the handler is still at work, and how long to wait from now on",
            [.member("extend", .duration, "how long", isRequired: true)]
        ) { call in
            let extend = try call.required("extend").duration()
            return { try $0.heartbeat(token: $1, extend: extend) }
        }
    }

    /// - Parameter read: what is to be done, from what is given. False says that the token is stale.
    private func callback(
        _ name: String, _ summary: String, _ fields: [Field],
        read: @escaping @Sendable (Call) throws -> @Sendable (Operations.HTTP, Secret) throws -> Bool
    ) -> Route {
        let database = database
        return Route(
            .post, "/v1/steps/{token}/\(name)", "\(name)Step", summary, access: .stepToken,
            fields: [.path("token", .text, "the request's Outrider-Callback-Token")] + fields,
            answers: [
                Route.Answer(
                    status: 200,
                    what:
                        "It counts, unless another callback of the same token was faster. A token that is unknown, was used, or "
                        + "belongs to an earlier try or a saga that has ended is answered 410.",
                    schema: .object([("accepted", .bool)]))
            ]
        ) { call in
            let work = try read(call)
            let token = Secret(try call.required("token").text())
            guard try await database.run({ try work($0.http, token) }) else { throw Problem.staleToken }
            return .json(["accepted": true])
        }
    }
}

extension Problem {
    fileprivate static let staleToken: Problem = {
        var problem = Problem(
            410, "Stale token",
            "The token is unknown, was used before, or belongs to an earlier try or to a saga that has ended; nothing changes.",
            hint: "Do not send it again.")
        problem.type = "urn:outrider:stale-token"
        return problem
    }()
}
