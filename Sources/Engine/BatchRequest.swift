import HTTPClient
import Primitives
import Store
import WorkflowFiles

/// Makes the HTTP request of a batch: CloudEvents 1.0 in batched content mode (CloudEvents HTTP protocol binding, section 3.3;
/// JSON event format, section 4). The body is put together from bytes: the payloads are not looked into.
enum BatchRequest {
    /// A handler may answer a batch at more length than a message alone.
    private static let longestAnswer = 8 << 20

    /// - Parameters:
    ///   - deliveries: at least one, each with its message.
    ///   - now: by the database's clock; dates the signature.
    static func make(id: UInt64, _ deliveries: [ClaimedDelivery], _ route: Route, now: Timestamp) -> HTTPRequest {
        var body: [UInt8] = []
        body.reserveCapacity(
            deliveries.reduce(2) { $0 + 400 + ($1.message?.payload.count ?? 0) + ($1.message?.headers?.count ?? 0) })
        var separator = UInt8(ascii: "[")
        for delivery in deliveries {
            guard let message = delivery.message else { continue }
            body.append(separator)
            separator = UInt8(ascii: ",")
            append(delivery, message, head: route.batch?.eventHead ?? [], isFenced: route.isFenced, to: &body)
        }
        body.append(UInt8(ascii: "]"))

        // Of its own: what is sent together now may be parted at the next try.
        let own = UUID.random()
        var headers = route.headers
        headers.append("Outrider-Attempt: \(1 + (deliveries.lazy.map(\.attempts).max() ?? 0))")
        headers.append("traceparent: \(TraceParent.root(of: own))")
        if let signer = route.endpoint?.signer { headers += signer.headers(id: "\(own)", at: now, body: body) }
        return HTTPRequest(
            id: id, method: route.method, url: route.url, headers: headers, body: body, timeout: route.timeout,
            tls: route.endpoint?.tls, freshConnection: route.guarantee == .atMostOnce,
            maxResponseBytes: longestAnswer)
    }

    /// How every event begins, up to the first quote of its id.
    static func eventHead(source: String) -> [UInt8] {
        var head = Array(#"{"specversion":"1.0","datacontenttype":"application/json","source":"#.utf8)
        JSON.string(source).write(into: &head)
        head += #","id":""#.utf8
        return head
    }

    private static func append(
        _ delivery: ClaimedDelivery, _ message: ClaimedDelivery.Message, head: [UInt8], isFenced: Bool,
        to body: inout [UInt8]
    ) {
        body += head
        body += delivery.messageID.description.utf8
        body += #"","type":""#.utf8
        // A topic's name has nothing to escape.
        body += message.topic.utf8
        if let key = message.key, !key.isEmpty {
            body += #"","subject":"#.utf8
            JSON.string(key).write(into: &body)
            body += #","time":""#.utf8
        } else {
            body += #"","time":""#.utf8
        }
        body += message.publishedAt.rfc3339.utf8
        body += #"","outriderattempt":"#.utf8
        body += String(delivery.attempts + 1).utf8
        if delivery.isKeyed, isFenced {
            body += #","outriderfence":""#.utf8
            body += String(delivery.id).utf8
            body.append(UInt8(ascii: "\""))
        }
        if delivery.isReplay { body += #","outriderreplay":true"#.utf8 }
        var parent: TraceParent?
        if let own = message.headers { parent = addOwn(own, to: &body) }
        body += #","traceparent":""#.utf8
        body += (parent?.child() ?? TraceParent.root(of: delivery.messageID)).utf8
        body += #"","data":"#.utf8
        body += message.payload
        body.append(UInt8(ascii: "}"))
    }

    /// Adds the headers that the publisher gave as extension attributes. Returns the trace they name.
    private static func addOwn(_ json: [UInt8], to body: inout [UInt8]) -> TraceParent? {
        guard case .object(let object)? = try? JSON(parsing: json) else { return nil }
        var parent: TraceParent?
        var seen: Set<String> = []
        for member in object.members {
            guard let value = member.value.string else { continue }
            let name = attributeName(member.name)
            if name == "traceparent" {
                parent = TraceParent(value)
            } else if !name.isEmpty, !isReserved(name), seen.insert(name).inserted {
                body += ",\"\(name)\":".utf8
                member.value.write(into: &body)
            }
        }
        return parent
    }

    /// The name of a header as that of an attribute: lower-case letters and digits (CloudEvents, "Naming Conventions"). What
    /// else stands between them is left out: `correlation_id` is `correlationid`.
    static func attributeName(_ header: String) -> String {
        String(
            decoding: header.lowercased().utf8.filter {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
            }, as: UTF8.self)
    }

    /// The attributes of every event, and ours.
    private static func isReserved(_ name: String) -> Bool {
        switch name {
        case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data",
            "database64":
            true
        // What a header of a message alone could not be, either.
        case "authorization", "idempotencykey", "webhookid", "webhooktimestamp", "webhooksignature": true
        default: name.hasPrefix("outrider")
        }
    }
}
