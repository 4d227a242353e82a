import Primitives
import Store

extension Command {
    /// What operators do to one saga. Each is a letter to the saga: its engine carries it out, or refuses it and says so in the
    /// history.
    static let sagaActs: [Command] = [
        act(
            "cancel", "aborts one: what was started is undone", usage: "ID --reason WHY",
            details: """
                Not after its pivot, when nothing is undone any more. While the pivot is under way it is only noted: if
                the pivot succeeds the note is dropped.
                """, options: [.reason]
        ) { arguments, _ in
            let reason = try arguments.reason()
            return { try $0.cancel($1, reason: reason) }
        },
        act(
            "terminate", "stops one by force, and undoes nothing", usage: "ID --reason WHY", options: [.reason]
        ) { arguments, _ in
            let reason = try arguments.reason()
            return { try $0.terminate($1, reason: reason) }
        },
        act(
            "suspend", "stops one from starting anything new; its deadlines stand still", usage: "ID [--reason WHY]",
            options: [.reason]
        ) { arguments, _ in
            let reason = arguments["reason"]
            return { try $0.suspend($1, reason: reason) }
        },
        act("resume", "lets a suspended one go on", usage: "ID [--reason WHY]", options: [.reason]) { arguments, _ in
            let reason = arguments["reason"]
            return { try $0.resumeSaga($1, reason: reason) }
        },
        act(
            "retry", "has a stuck one try again what it is stuck at", usage: "ID [--input JSON] [--reason WHY]",
            options: [
                .value("input", "JSON", "another body for the request, which then has another idempotency key"),
                .reason,
            ]
        ) { arguments, _ in
            let (input, reason) = (try arguments.document(option: "input"), arguments["reason"])
            return { try $0.retry($1, input: input, reason: reason) }
        },
        act(
            "skip", "lets a stuck one go on without the step that it is stuck at", usage: "ID STEP --reason WHY",
            details: "A compensation that is skipped is counted: the saga ends compensated, with skipped > 0.",
            takesStep: true,
            options: [.reason, .value("output", "JSON", "what later steps see as the step's output", fallback: "null")]
        ) { arguments, step in
            let (reason, output) = (try arguments.reason(), try arguments.document(option: "output"))
            return { try $0.skip($1, step: step, reason: reason, output: output) }
        },
        act(
            "resolve", "says what became of the step that a stuck one is stuck at",
            usage: "ID STEP --happened yes|no [--reason WHY]",
            details: """
                Yes: it is done, and the saga goes on. No: a pivot is known not to have happened, and the saga aborts;
                anything else is tried again.
                """, takesStep: true,
            options: [
                .value("happened", "yes|no", "whether it was done"),
                .value("output", "JSON", "with yes: what later steps see as the step's output", fallback: "null"),
                .reason,
            ]
        ) { arguments, step in
            guard arguments["happened"] != nil else { throw UsageError("--happened is missing: yes or no") }
            let happened = try arguments.choice("happened", default: YesOrNo.no) == .yes
            let (output, reason) = (try arguments.document(option: "output"), arguments["reason"])
            return { try $0.resolve($1, step: step, happened: happened, output: output, reason: reason) }
        },
    ]

    private enum YesOrNo: String, CaseIterable { case yes, no }

    private typealias Act = @Sendable (Operations, UUID) throws -> Void

    /// - Parameter prepare: makes of the arguments, and of the step where one is taken, what is done with the database.
    private static func act(
        _ name: String, _ summary: String, usage: String, details: String = "", takesStep: Bool = false,
        options: [Option] = [], _ prepare: @escaping @Sendable (Arguments, String) throws -> Act
    ) -> Command {
        Command(
            name: "saga \(name)", summary: summary, usage: usage,
            details: (details.isEmpty ? "" : details + "\n\n") + "ID is the saga's id, or NAME/KEY: place-order/17.",
            options: Option.database + options
        ) { arguments in
            var operands = arguments.operands[...]
            guard let text = operands.popFirst() else { throw UsageError("the saga's id is missing") }
            let address = try SagaAddress(text)
            let step = takesStep ? operands.popFirst() : ""
            guard let step else { throw UsageError("the step is missing: outrider saga show \(text) names it") }
            if let word = operands.first { throw UsageError("'\(word)' is one word too many") }
            let act = try prepare(arguments, step)
            let id = try await arguments.withDatabase(tellingNotices: true) { connection in
                let operations = Operations(connection)
                let id = try address.find(operations)
                try act(operations, id)
                return id
            }
            print("\(name) is on its way; see outrider saga show \(id)")
            return 0
        }
    }
}

extension Option {
    fileprivate static let reason = value("reason", "WHY", "kept in the history, with your name")
}
