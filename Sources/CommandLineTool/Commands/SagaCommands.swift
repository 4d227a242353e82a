import Primitives
import Sagas
import Store

extension Command {
    static let start = Command(
        name: "start", summary: "starts a saga, and prints its id", usage: "SAGA [INPUT | @FILE | -]",
        details: """
            The input is JSON: the word itself, a file's content with @, standard input with -; {} when left out.
            The same key with the same input gives the saga that exists; with another input it is refused.
            """,
        options: Option.database + [
            .value("key", "KEY", "the business key", fallback: "what the definition's key: makes of the input"),
            .value("start-at", "TIME", "not before this time", fallback: "now"),
            .value("header", "NAME=VALUE", "kept with it: traceparent=…", isRepeatable: true),
        ],
        examples: [
            "outrider start place-order '{\"orderId\": 17, \"total\": 42.50}'",
            "jq -c . order.json | outrider start place-order - --key 17",
        ]
    ) { arguments in
        guard let saga = arguments.operands.first, arguments.operands.count <= 2 else {
            throw UsageError("expected a saga and at most one input, got \(arguments.operands.count) words")
        }
        let input = try arguments.document(arguments.operands.dropFirst().first ?? "{}", "the input")
        var start = Operations.SagaStart(saga: saga, input: input)
        start.key = arguments["key"]
        start.startAt = try arguments.time("start-at")
        start.headers = try arguments.headers()
        let wanted = start
        print(try await arguments.withDatabase(tellingNotices: true) { try Operations($0).start(wanted) })
        return 0
    }

    /// `saga list`, `show`, `history`, `signal`; what is done to sagas is in `sagaActs`.
    static let sagas: [Command] = [list, show, history, signal]

    private enum Status: String, CaseIterable {
        case running, compensating, stuck, suspended, completed, compensated, failed, terminated
    }

    private static let list = Command(
        name: "saga list", summary: "lists sagas, the newest first",
        options: Option.database + [
            .value(
                "status", "STATUS", "only those that are \(Status.allCases.map(\.rawValue).joined(separator: ", "))"),
            .value("saga", "NAME", "only those of one definition"), .value("key", "KEY", "only those of one key"),
            .value("limit", "N", "at most so many", fallback: "50"), .format,
        ], examples: ["outrider saga list --status stuck", "outrider saga list --saga place-order --key 17"]
    ) { arguments in
        try arguments.noOperands()
        let format = try arguments.choice("format", default: OutputFormat.text)
        let limit = try arguments.integer("limit", default: 50, in: 1...100_000)
        var filter = Operations.SagaFilter()
        filter.saga = arguments["saga"]
        filter.key = arguments["key"]
        if arguments["status"] != nil {
            let status = try arguments.choice("status", default: Status.running)
            filter.suspendedOnly = status == .suspended
            filter.status = status == .suspended ? nil : status.rawValue
        }
        let wanted = filter
        let rows = try await arguments.withDatabase { try Operations($0).sagas(wanted, limit: limit) }
        let listing = Listing(
            rows: format == .text ? rows.map(inShort) : rows, empty: "no sagas",
            columns: ["id", "saga", "key", "status", "started_at", "waiting_for", "failure"])
        print(listing.text(format), terminator: "")
        return 0
    }

    /// A row of the list, its failure in words.
    private static func inShort(_ row: JSON) -> JSON {
        guard var members = row.object else { return row }
        members["failure"] = row["failure"].flatMap { $0.isNull ? nil : .string(Failure($0).words) }
        if row["suspended"] == true { members["status"] = .string("\(row["status"]?.string ?? ""), suspended") }
        return .object(members)
    }

    private static let show = Command(
        name: "saga show", summary: "shows all that happened to one, and what helps when it is stuck", usage: "ID",
        details: """
            ID is the saga's id, or NAME/KEY: place-order/17, the newest of that key.

            Steps stand in the order of their starts, with the time since the saga's start and how long they took:
            ✓ succeeded   ✗ failed   ? may have happened   … waits   ▸ at work   – skipped   · to come
            ↶ undone      ! the saga's decision            @ what people and others said   ~ too late
            """,
        options: Option.database + [.format], examples: ["outrider saga show place-order/17"]
    ) { arguments in
        let address = try SagaAddress(try arguments.operand("the saga's id"))
        let format = try arguments.choice("format", default: OutputFormat.text)
        let saga = try await arguments.withDatabase { connection -> JSON in
            let operations = Operations(connection)
            guard let saga = try operations.saga(try address.find(operations)) else { throw address.unknown }
            return saga
        }
        switch format {
        case .json: print(saga.text)
        case .text: print(SagaDrawing(SagaRecord(saga)).text, terminator: "")
        }
        return 0
    }

    private static let history = Command(
        name: "saga history", summary: "lists every transition and try of one, the oldest first", usage: "ID",
        details: "ID is the saga's id, or NAME/KEY: place-order/17.", options: Option.database + [.format]
    ) { arguments in
        let address = try SagaAddress(try arguments.operand("the saga's id"))
        let format = try arguments.choice("format", default: OutputFormat.text)
        let rows = try await arguments.withDatabase { connection -> [JSON] in
            let operations = Operations(connection)
            let id = try address.find(operations)
            let rows = try operations.sagaHistory(id)
            // One that has not begun has no history.
            if rows.isEmpty, try operations.saga(id) == nil { throw address.unknown }
            return rows
        }
        var listing = Listing(
            rows: format == .text ? rows.map(inWords) : rows, empty: "nothing has happened yet",
            columns: ["seq", "at", "event", "step", "op", "attempt", "detail", "worker"])
        listing.cellWidth = 160
        print(listing.text(format), terminator: "")
        return 0
    }

    /// A row of the history, its time to the millisecond and its detail in words.
    private static func inWords(_ row: JSON) -> JSON {
        guard var members = row.object else { return row }
        if let at = row["at"]?.string.flatMap({ Timestamp(rfc3339: $0) }) {
            // A whole second is written without its fraction.
            let fraction = at.rfc3339.count > 20 ? String(at.rfc3339.dropFirst(20).prefix(3)) : "000"
            members["at"] = .string("\(at.rfc3339.prefix(19)).\(fraction)")
        }
        if let fact = Fact(row: row) { members["detail"] = fact.words.isEmpty ? .null : .string(fact.words) }
        return .object(members)
    }

    private static let signal = Command(
        name: "saga signal", summary: "gives one an event that a step awaits, or an approval",
        usage: "ID EVENT [PAYLOAD] | --saga NAME --key KEY EVENT [PAYLOAD]",
        details: """
            ID is the saga's id, or NAME/KEY: place-order/17. The payload is JSON: the word itself, a file's content
            with @, standard input with -; null when left out. An event that comes before its step waits for it.
            A step with approve: takes its own id as the event: true approves; {"approved": false, "reason": "…"}
            rejects.
            """,
        options: Option.database + [
            .value("saga", "NAME", "with --key: instead of an id"), .value("key", "KEY", "with --saga"),
        ],
        examples: [
            "outrider saga signal place-order/17 parcel-handed-over '{\"by\": \"courier\"}'",
            "outrider saga signal --saga refund --key 4711 approve_refund true",
        ]
    ) { arguments in
        var operands = arguments.operands[...]
        let address: SagaAddress
        switch (arguments["saga"], arguments["key"]) {
        case (nil, nil):
            guard let text = operands.popFirst() else { throw UsageError("the saga's id is missing") }
            address = try SagaAddress(text)
        case (let saga?, let key?): address = .key(saga: saga, key: key)
        case (nil, _?), (_?, nil): throw UsageError("--saga and --key go together: --saga place-order --key 17")
        }
        guard let event = operands.popFirst() else { throw UsageError("the event is missing") }
        let payload = try operands.popFirst().map { try arguments.document($0, "the payload") }
        if let word = operands.first { throw UsageError("'\(word)' is one word too many") }
        try await arguments.withDatabase(tellingNotices: true) { connection in
            switch address {
            case .id(let id): try Operations(connection).signal(id, event: event, payload: payload)
            case .key(let saga, let key):
                try Operations(connection).signal(saga, key: key, event: event, payload: payload)
            }
        }
        print("\(event) is on its way")
        return 0
    }
}
