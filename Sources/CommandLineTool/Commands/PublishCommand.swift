import Primitives
import Store

extension Command {
    static let publish = Command(
        name: "publish", summary: "publishes a message", usage: "TOPIC [PAYLOAD | @FILE | -]",
        details:
            "The payload is JSON: the word itself, a file's content with @, standard input with -; {} when left out.",
        options: Option.database + [
            .value("key", "KEY", "what the message is about; the order of a key, and CloudEvents' subject"),
            .value("header", "NAME=VALUE", "a header for the handler", isRepeatable: true),
            .value("id", "UUID", "an id of your own; refused when it exists", fallback: "a new UUIDv7"),
            .value("deliver-at", "TIME", "not before this time"), .value("expires-at", "TIME", "not after this time"),
            .value("dedupe-key", "KEY", "publish once within the topic's window"),
        ],
        examples: [
            "outrider publish order.created '{\"orderId\": 17}' --key customer-42",
            "jq -c . order.json | outrider publish order.created -",
        ]
    ) { arguments in
        guard let topic = arguments.operands.first, arguments.operands.count <= 2 else {
            throw UsageError("expected a topic and at most one payload, got \(arguments.operands.count) words")
        }
        let payload = try arguments.document(arguments.operands.dropFirst().first ?? "{}", "the payload")
        var message = Operations.Publication(topic: topic, payload: payload)
        message.key = arguments["key"]
        message.id = try arguments["id"].map { try arguments.uuid($0, "a message") }
        message.deliverAt = try arguments.time("deliver-at")
        message.expiresAt = try arguments.time("expires-at")
        message.dedupeKey = arguments["dedupe-key"]
        message.headers = try arguments.headers()
        let published = message
        print(try await arguments.withDatabase { try Operations($0).publish(published) })
        return 0
    }
}
