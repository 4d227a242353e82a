import Delivery
import HTTPClient
import Primitives

/// What a handler says of each message of a batch: `{"results": [{"id": …, "result": "succeeded|failed|retry", "error": …}]}`.
struct BatchAnswer: Sendable {
    private let status: Int
    private let retryAfter: Duration?
    private var results: [UUID: TryOutcome] = [:]
    /// Of those that have something to say.
    private var replies: [UUID: JSON] = [:]
    /// Results whose ids are no ids at all.
    private var strays = 0
    /// Why nothing can be told of a message that has no result.
    private var omission = "the answer's results leave this message out"

    /// Nil without results: the status is the answer for all. An object that cannot be read is not taken for one without.
    init?(_ response: HTTPResponse, now: Timestamp) {
        guard let first = response.body.first(where: { $0 > 0x20 }), first == UInt8(ascii: "{") else { return nil }
        status = response.status
        retryAfter = response.headers["retry-after"].flatMap { Duration(retryAfter: $0, now: now) }
        guard let body = try? JSON(parsing: response.body) else {
            omission = "the answer is not JSON"
            return
        }
        guard let member = body["results"] else { return nil }
        guard let items = member.array else {
            omission = "the answer's results are not an array"
            return
        }
        results.reserveCapacity(items.count)
        for item in items { add(item) }
    }

    private mutating func add(_ item: JSON) {
        guard let id = item["id"]?.string.flatMap({ UUID($0) }) else {
            strays += 1
            return
        }
        // Of an id that stands twice, whatever is not a success counts.
        if let earlier = results[id], earlier != .succeeded { return }
        let said = item["error"].flatMap { $0.isNull ? nil : $0.string ?? $0.text }
        switch item["result"]?.string {
        case "succeeded":
            results[id] = .succeeded
            if let reply = item["reply"]?.storable { replies[id] = reply }
        case "failed": results[id] = .refused(error("result failed", said))
        case "retry": results[id] = .failed(error("result retry", said), happened: .unknown, retryAfter: retryAfter)
        default:
            let found = item["result"].map { $0.text.prefix(40) } ?? "none"
            results[id] = .failed(
                error("result \(found); expected succeeded, failed or retry", said), happened: .unknown,
                retryAfter: retryAfter)
        }
    }

    /// Of a message of the batch; one that is left out is tried again.
    func outcome(of message: UUID) -> TryOutcome {
        results[message] ?? .failed(error(omission, nil), happened: .unknown, retryAfter: retryAfter)
    }

    /// What is published where the message asks for an answer.
    func reply(to message: UUID) -> JSON { replies[message] ?? .null }

    /// How many results are of none of these.
    func count(notAmong messages: [UUID]) -> Int {
        strays + results.count - Set(messages).lazy.filter { results[$0] != nil }.count
    }

    private func error(_ what: String, _ said: String?) -> TryError {
        TryError(status: status, message: "HTTP \(status), \(what)" + (said.map { ": \($0.prefix(1000))" } ?? ""))
    }
}
