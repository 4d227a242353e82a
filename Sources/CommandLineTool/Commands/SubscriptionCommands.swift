import Primitives
import Store

extension Command {
    static let subscriptions: [Command] = [
        Command(
            name: "subscription list", summary: "lists subscriptions with the depth of their queues",
            options: Option.database + [.format]
        ) { arguments in
            try arguments.noOperands()
            let format = try arguments.choice("format", default: OutputFormat.text)
            let rows = try await arguments.withDatabase { try Operations($0).subscriptions() }
            let listing = Listing(
                rows: rows, empty: "no subscriptions; outrider apply brings them in",
                columns: [
                    "name", "topics", "state", "ready", "in_flight", "scheduled", "blocked", "dead", "oldest_age",
                    "workers",
                ])
            print(listing.text(format), terminator: "")
            return 0
        },
        Command(
            name: "subscription show", summary: "shows one with its definition", usage: "NAME",
            options: Option.database + [.format]
        ) { arguments in
            let name = try arguments.operand("the subscription's name")
            let format = try arguments.choice("format", default: OutputFormat.text)
            let names = try await arguments.withDatabase {
                try Operations($0).subscriptions().compactMap { $0["name"]?.string }
            }
            guard let record = try await arguments.withDatabase({ try Operations($0).subscription(name) }) else {
                let hint = closest(to: name, among: names).map { "; did you mean \($0)?" } ?? ""
                throw CommandFailure("there is no subscription \(name)\(hint)")
            }
            print(Record(value: record).text(format), terminator: "")
            return 0
        },
        Command(
            name: "subscription pause", summary: "stops delivering; messages wait", usage: "NAME",
            options: Option.database
        ) { arguments in
            let name = try arguments.operand("the subscription's name")
            try await arguments.withDatabase { try Operations($0).pause(name) }
            print("paused \(name); what is in flight ends as usual")
            return 0
        },
        Command(
            name: "subscription resume", summary: "delivers again", usage: "NAME", options: Option.database
        ) { arguments in
            let name = try arguments.operand("the subscription's name")
            try await arguments.withDatabase { try Operations($0).resume(name) }
            print("resumed \(name)")
            return 0
        },
        Command(
            name: "subscription replay", summary: "sends messages from the log again",
            usage: "NAME --from TIME [--to TIME]",
            details: """
                In the order of publishing; what is still to be delivered is not sent twice. A worker carries it out, step by
                step, and sends the messages behind those that are waiting.
                """,
            options: Option.database + [
                .value("from", "TIME", "published at or after"),
                .value("to", "TIME", "published before", fallback: "now"),
                .value("key", "KEY", "only messages of this key"),
                .value("topic", "TOPIC", "only messages of this topic, which the subscription must take"), .wait,
            ], examples: ["outrider subscription replay order-email --from 2026-11-24T08:00:00Z"]
        ) { arguments in
            let name = try arguments.operand("the subscription's name")
            guard let from = try arguments.time("from") else {
                throw UsageError("--from is missing: --from 2026-11-24T08:00:00Z")
            }
            var replay = Operations.Replay(name, from: from)
            replay.to = try arguments.time("to")
            (replay.key, replay.topic) = (arguments["key"], arguments["topic"])
            let wanted = replay
            let operation = try await arguments.withDatabase { try Operations($0).replay(wanted) }
            return try await arguments.report(operation)
        },
        Command(
            name: "subscription cancel", summary: "stops a replay, redrive or discard where it is", usage: "OPERATION",
            details: "What it has done stays done. `outrider subscription operations` lists them.",
            options: Option.database
        ) { arguments in
            let id = try arguments.uuid(try arguments.operand("the operation's id"), "an operation")
            try await arguments.withDatabase { try Operations($0).cancelOperation(id) }
            print("cancelled \(id)")
            return 0
        },
        Command(
            name: "subscription operations", summary: "lists replays, redrives and discards with their progress",
            options: Option.database + [.value("limit", "N", "at most so many", fallback: "20"), .format]
        ) { arguments in
            try arguments.noOperands()
            let format = try arguments.choice("format", default: OutputFormat.text)
            let limit = try arguments.integer("limit", default: 20, in: 1...10_000)
            let rows = try await arguments.withDatabase { try Operations($0).operations(limit: limit) }
            let listing = Listing(
                rows: rows, empty: "no operations",
                columns: ["id", "kind", "subscription", "status", "done", "created_at", "finished_at"]
                    + ["total", "note"].filter { name in rows.contains { $0[name]?.isNull == false } })
            print(listing.text(format), terminator: "")
            return 0
        },
    ]
}
