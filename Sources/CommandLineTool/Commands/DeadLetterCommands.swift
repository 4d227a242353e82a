import Primitives
import Store

extension Command {
    static let deadLetters: [Command] = [
        Command(
            name: "dead-letters list", summary: "lists what could not be delivered or done, the newest first",
            options: Option.database + [
                .value("subscription", "NAME", "only those of one subscription"),
                .value("saga", "ID", "only those of one saga"), .value("topic", "TOPIC", "only those of one topic"),
                .value("key", "KEY", "only those of one key"),
                .value("reason", "REASON", "only those with this reason: exhausted, refused, …"),
                .value("since", "TIME", "only those that died at or after"),
                .value("before", "TIME", "only those that died before"),
                .value("limit", "N", "at most so many", fallback: "50"),
                .value("older-than", "ID", "only older ones than this one: the last of a page gives the next page"),
                .flag("all", "those too that were redriven or discarded"), .format,
            ],
            examples: [
                "outrider dead-letters list --subscription order-billing",
                "outrider dead-letters list --key customer-42 --since 2026-11-24T08:00:00Z",
            ]
        ) { arguments in
            try arguments.noOperands()
            let format = try arguments.choice("format", default: OutputFormat.text)
            let limit = try arguments.integer("limit", default: 50, in: 1...100_000)
            let (filter, all) = (try arguments.deadLetterFilter(), arguments.has("all"))
            let rows = try await arguments.withDatabase { try Operations($0).deadLetters(filter, limit: limit) }
            // Messages have no saga, and sagas no subscription.
            let places = ["subscription", "topic", "saga", "step"].filter { name in
                rows.contains { $0[name]?.isNull == false }
            }
            let listing = Listing(
                rows: rows, empty: all ? "there were no dead letters" : "no dead letters",
                columns: ["id", "kind"] + places + ["key", "attempts", "dead_at", "reason", "last_error"]
                    + (all ? ["redriven_at", "discarded_at"] : []))
            print(listing.text(format), terminator: "")
            if rows.count == limit, format == .text, let last = rows.last?["id"]?.string {
                complain("there may be more: --older-than \(last)")
            }
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
            name: "dead-letters redrive", summary: "sends dead letters again",
            usage: "ID… | ID --payload JSON | --all --subscription NAME",
            details: """
                The message keeps its id, so that a handler that did succeed recognises it. With another payload it is a
                message of its own, with an id of its own, for this subscription alone; the log keeps the original.
                All letters of a subscription are redriven by a worker, step by step: --wait tells how far it is, and so
                does `outrider subscription operations`.
                The letter of a saga has the saga tried again where it is stuck, as `outrider saga retry` does; with
                --payload as the input of that step.
                """,
            options: Option.database + [
                .value("payload", "JSON", "sent instead: the JSON itself, @FILE, or - for standard input"),
                .value("payload-file", "FILE", "the same from a file"),
                .flag("all", "all open letters of the subscription"),
                .value("subscription", "NAME", "whose letters"),
                .value("before", "TIME", "with --subscription: only those that died before", fallback: "now"), .wait,
            ],
            examples: [
                "outrider dead-letters redrive --all --subscription order-billing --wait",
                "outrider dead-letters redrive 01938f3c-0000-7000-8000-000000000001 --payload-file mended.json",
            ]
        ) { arguments in
            if let subscription = try arguments.subscriptionOfAll(without: ["payload", "payload-file"]) {
                let before = try arguments.time("before")
                return try await arguments.report(
                    try await arguments.withDatabase {
                        try Operations($0).redriveAll(subscription: subscription, before: before)
                    })
            }
            guard !arguments.operands.isEmpty else {
                throw UsageError("which ones? Give ids, or --all --subscription NAME")
            }
            let payload = try arguments.payload()
            if payload != nil { _ = try arguments.operand("the dead letter's id") }
            for id in try arguments.operands.map({ try arguments.uuid($0, "a dead letter") }) {
                switch try await arguments.withDatabase({ try Operations($0).redrive(id, payload: payload) }) {
                case .message(let message): print("redrove \(id) as message \(message)")
                case .saga(let saga): print("redrove \(id): saga \(saga) tries again; see outrider saga show \(saga)")
                }
            }
            return 0
        },
        Command(
            name: "dead-letters discard", summary: "closes dead letters without sending them",
            usage: "ID… --reason TEXT | --all --subscription NAME --reason TEXT",
            details: """
                Not those of sagas, which would stay stuck: see `outrider saga skip` and `outrider saga terminate`.
                All of a subscription are closed by a worker, step by step, also where the subscription was removed.
                """,
            options: Option.database + [
                .value("reason", "TEXT", "why they are not wanted; kept with them"),
                .flag("all", "all open letters of the subscription"), .value("subscription", "NAME", "whose letters"),
                .value("before", "TIME", "with --all: only those that died before", fallback: "now"), .wait,
            ],
            examples: ["outrider dead-letters discard --all --subscription order-billing --reason 'test orders'"]
        ) { arguments in
            guard let reason = arguments["reason"] else {
                throw UsageError("--reason is missing: say why they are not wanted")
            }
            if arguments["subscription"] != nil, !arguments.has("all") {
                throw UsageError("--subscription goes with --all: all its open letters are discarded")
            }
            if let subscription = try arguments.subscriptionOfAll() {
                let before = try arguments.time("before")
                return try await arguments.report(
                    try await arguments.withDatabase {
                        try Operations($0).discardAll(subscription: subscription, reason: reason, before: before)
                    })
            }
            guard !arguments.operands.isEmpty else {
                throw UsageError("the dead letter's id is missing; give ids, or --all --subscription NAME")
            }
            for id in try arguments.operands.map({ try arguments.uuid($0, "a dead letter") }) {
                try await arguments.withDatabase { try Operations($0).discard(id, reason: reason) }
                print("discarded \(id)")
            }
            return 0
        },
    ]
}

extension Arguments {
    fileprivate func deadLetterFilter() throws(UsageError) -> Operations.DeadLetterFilter {
        var filter = Operations.DeadLetterFilter()
        filter.subscription = self["subscription"]
        if let saga = self["saga"] { filter.saga = try uuid(saga, "a saga") }
        filter.topic = self["topic"]
        filter.key = self["key"]
        filter.reason = self["reason"]
        filter.since = try time("since")
        filter.until = try time("before")
        filter.closedToo = has("all")
        if let id = self["older-than"] { filter.olderThan = try uuid(id, "a dead letter") }
        return filter
    }

    /// The subscription all of whose letters are meant; nil when ids are given.
    ///
    /// - Parameter names: options that make sense with one letter only.
    fileprivate func subscriptionOfAll(without names: [String] = []) throws(UsageError) -> String? {
        guard let subscription = self["subscription"] else {
            if has("all") { throw UsageError("all of which? --all needs --subscription NAME") }
            for name in ["before", "wait"] where self[name] != nil || has(name) {
                throw UsageError("--\(name) goes with --all --subscription NAME")
            }
            return nil
        }
        try noOperands()
        for name in names where self[name] != nil {
            throw UsageError("--\(name) is for one dead letter: give its id instead of --subscription")
        }
        return subscription
    }

    /// Of `--payload` or `--payload-file`.
    fileprivate func payload() throws -> String? {
        guard let file = self["payload-file"] else { return try document(option: "payload") }
        guard self["payload"] == nil else { throw UsageError("--payload and --payload-file are given; one is enough") }
        return try document("@\(file)", "the file \(file)")
    }
}
