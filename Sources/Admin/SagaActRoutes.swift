import HTTPServer
import Primitives
import Store

/// What can be said to a saga. It goes into the saga's mailbox: the engine takes it up in order, and has the last word.
struct SagaActRoutes {
    let database: AdminDatabase

    var routes: [Route] {
        let reason = Field.member("reason", .text, "why, for whoever reads the history", isRequired: true)
        let anyReason = Field.member("reason", .text, "why, for whoever reads the history")
        let step = Field.member("step", .text, "the step that it is stuck at", isRequired: true)
        let output = Field.member("output", .any, "what counts as the step's output")
        return [
            act(
                "signal", "Tells it an event, as await and approve wait for",
                [
                    .member("event", .text, "the event's name; of an approval the step's id", isRequired: true),
                    .member(
                        "payload", .any,
                        "the output of await; {\"approved\": true} or {\"approved\": false} of an approval"),
                ]
            ) { call, id in
                let (event, payload) = (try call.required("event").text(), call["payload"]?.json.text)
                return { try $0.signal(id, event: event, payload: payload) }
            },
            act("cancel", "Has it abort, and undo what was done", [reason]) { call, id in
                let reason = try call.required("reason").text()
                return { try $0.cancel(id, reason: reason) }
            },
            act("terminate", "Ends it at once; nothing is undone", [reason]) { call, id in
                let reason = try call.required("reason").text()
                return { try $0.terminate(id, reason: reason) }
            },
            act("suspend", "Has it begin nothing new; its deadlines stand still", [anyReason]) { call, id in
                let reason = try call["reason"]?.text()
                return { try $0.suspend(id, reason: reason) }
            },
            act("resume", "Lets a suspended one go on", [anyReason]) { call, id in
                let reason = try call["reason"]?.text()
                return { try $0.resumeSaga(id, reason: reason) }
            },
            act(
                "retry", "Lets a stuck one try again",
                [.member("input", .any, "the step's request body, if it is to be another one"), anyReason]
            ) { call, id in
                let (input, reason) = (call["input"]?.json.text, try call["reason"]?.text())
                return { try $0.retry(id, input: input, reason: reason) }
            },
            act("skip", "Leaves out the step that it is stuck at", [step, reason, output]) { call, id in
                let (step, reason) = (try call.required("step").text(), try call.required("reason").text())
                let output = call["output"]?.json.text
                return { try $0.skip(id, step: step, reason: reason, output: output) }
            },
            act(
                "resolve", "Says whether the step that it is stuck at has happened",
                [step, .member("happened", .bool, "whether it has", isRequired: true), output, anyReason]
            ) { call, id in
                let (step, happened) = (try call.required("step").text(), try call.required("happened").bool())
                let (output, reason) = (call["output"]?.json.text, try call["reason"]?.text())
                return { try $0.resolve(id, step: step, happened: happened, output: output, reason: reason) }
            },
        ]
    }

    /// - Parameter read: what is to be done, from what is given.
    private func act(
        _ act: String, _ summary: String, _ fields: [Field],
        read: @escaping @Sendable (Call, UUID) throws -> @Sendable (Operations) throws -> Void
    ) -> Route {
        let database = database
        return Route(
            .post, "/v1/sagas/{id}/\(act)", "\(act)Saga", summary, fields: [.path("id", .id, "the saga's id")] + fields,
            answers: [
                Route.Answer(
                    status: 202, what: "The engine will take it up.", schema: .object([("accepted", .bool)]))
            ]
        ) { call in
            let work = try read(call, try call.required("id").id())
            try await database.run { try work($0) }
            return .json(["accepted": true], status: 202)
        }
    }
}
