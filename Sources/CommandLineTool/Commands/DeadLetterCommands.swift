import Primitives
import Store

extension Command {
    static let deadLetters: [Command] = [
        Command(
            name: "dead-letters list", summary: "lists what could not be delivered or done, the newest first",
            options: Option.database + [
                .value("subscription", "NAME", "only those of one subscription"),
                .value("limit", "N", "at most so many", fallback: "50"),
                .flag("all", "those too that were redriven or discarded"), .format,
            ], examples: ["outrider dead-letters list --subscription order-billing"]
        ) { arguments in
            try arguments.noOperands()
            let format = try arguments.choice("format", default: OutputFormat.text)
            let limit = try arguments.integer("limit", default: 50, in: 1...100_000)
            let (subscription, all) = (arguments["subscription"], arguments.has("all"))
            let rows = try await arguments.withDatabase {
                try Operations($0).deadLetters(subscription: subscription, closedToo: all, limit: limit)
            }
            // Messages have no saga, and sagas no subscription.
            let places = ["subscription", "topic", "saga", "step"].filter { name in
                rows.contains { $0[name]?.isNull == false }
            }
            let listing = Listing(
                rows: rows, empty: all ? "there were no dead letters" : "no dead letters",
                columns: ["id", "kind"] + places + ["key", "attempts", "dead_at", "reason", "last_error"]
                    + (all ? ["redriven_at", "discarded_at"] : []))
            print(listing.text(format), terminator: "")
            return 0
        },
        Command(
            name: "dead-letters show", summary: "shows one with its payload, headers and every error", usage: "ID",
            options: Option.database + [.format]
        ) { arguments in
            let id = try arguments.uuid(try arguments.operand("the dead letter's id"), "a dead letter")
            let format = try arguments.choice("format", default: OutputFormat.text)
            guard let letter = try await arguments.withDatabase({ try Operations($0).deadLetter(id) }) else {
                throw CommandFailure("there is no dead letter \(id); outrider dead-letters list shows them")
            }
            print(Record(value: letter).text(format), terminator: "")
            return 0
        },
        Command(
            name: "dead-letters redrive", summary: "sends dead letters again", usage: "ID… | --subscription NAME",
            details: """
                The message keeps its id, so that a handler that did succeed recognises it. All letters of a
                subscription are redriven by a worker, step by step: see `outrider subscription operations`.
                The letter of a saga has the saga tried again where it is stuck, as `outrider saga retry` does.
                """,
            options: Option.database + [
                .value("subscription", "NAME", "all open letters of this subscription"),
                .value("before", "TIME", "with --subscription: only those that died before", fallback: "now"),
            ], examples: ["outrider dead-letters redrive --subscription order-billing"]
        ) { arguments in
            if let subscription = arguments["subscription"] {
                try arguments.noOperands()
                let before = try arguments.time("before")
                let operation = try await arguments.withDatabase {
                    try Operations($0).redriveAll(subscription: subscription, before: before)
                }
                print("operation \(operation) is queued; a worker carries it out")
                return 0
            }
            guard !arguments.operands.isEmpty else { throw UsageError("which ones? Give ids, or --subscription NAME") }
            for id in try arguments.operands.map({ try arguments.uuid($0, "a dead letter") }) {
                switch try await arguments.withDatabase({ try Operations($0).redrive(id) }) {
                case .message(let message): print("redrove \(id) as message \(message)")
                case .saga(let saga): print("redrove \(id): saga \(saga) tries again; see outrider saga show \(saga)")
                }
            }
            return 0
        },
        Command(
            name: "dead-letters discard", summary: "closes one without sending it", usage: "ID --reason TEXT",
            details:
                "Not that of a saga, which would stay stuck: see `outrider saga skip` and `outrider saga terminate`.",
            options: Option.database + [.value("reason", "TEXT", "why it is not wanted; kept with it")]
        ) { arguments in
            let id = try arguments.uuid(try arguments.operand("the dead letter's id"), "a dead letter")
            guard let reason = arguments["reason"] else {
                throw UsageError("--reason is missing: say why it is not wanted")
            }
            try await arguments.withDatabase { try Operations($0).discard(id, reason: reason) }
            print("discarded \(id)")
            return 0
        },
    ]
}
