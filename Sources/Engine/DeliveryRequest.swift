import HTTPClient
import Primitives
import Store
import WorkflowFiles

/// Makes the HTTP request of one try: CloudEvents 1.0 in binary mode (CloudEvents HTTP protocol binding, section 3.1) and
/// Outrider's own headers.
enum DeliveryRequest {
    /// - Parameter now: by the database's clock; dates the signature.
    static func make(
        id: UInt64, _ delivery: ClaimedDelivery, _ message: ClaimedDelivery.Message, _ route: Route, now: Timestamp
    ) -> HTTPRequest {
        let messageID = delivery.messageID.description
        var headers = route.headers
        headers.reserveCapacity(headers.count + 12)
        headers.append("Idempotency-Key: \"\(messageID)\"")
        headers.append("Outrider-Attempt: \(delivery.attempts + 1)")
        headers.append("ce-id: \(messageID)")
        headers.append("ce-type: \(message.topic)")
        if let key = message.key { headers.append("ce-subject: \(eventAttribute(key))") }
        headers.append("ce-time: \(message.publishedAt.rfc3339)")
        // Each send of a key is a row of the queue of its own, whose id is larger than those of the rows before.
        if delivery.isKeyed, route.isFenced { headers.append("Outrider-Fence: \(delivery.id)") }
        if delivery.isReplay { headers.append("Outrider-Replay: true") }
        var parent: TraceParent?
        if let own = message.headers { parent = addOwn(own, to: &headers) }
        headers.append("traceparent: \(parent?.child() ?? TraceParent.root(of: delivery.messageID))")
        if let signer = route.endpoint?.signer {
            headers += signer.headers(id: messageID, at: now, body: message.payload)
        }
        return HTTPRequest(
            id: id, method: route.method, url: route.url, headers: headers, body: message.payload,
            timeout: route.timeout,
            tls: route.endpoint?.tls, freshConnection: route.guarantee == .atMostOnce)
    }

    /// Adds the headers that the publisher gave, but for those that are ours or the connection's. Returns the trace they name.
    private static func addOwn(_ json: [UInt8], to headers: inout [String]) -> TraceParent? {
        guard case .object(let object)? = try? JSON(parsing: json) else { return nil }
        var parent: TraceParent?
        for member in object.members {
            let name = member.name.lowercased()
            guard let value = member.value.string, isToken(name), !isReserved(name) else { continue }
            if name == "traceparent" {
                parent = TraceParent(value)
            } else {
                headers.append("\(member.name): \(headerText(value))")
            }
        }
        return parent
    }

    private static func isReserved(_ name: String) -> Bool {
        switch name {
        case "host", "content-length", "content-type", "transfer-encoding", "connection", "expect", "upgrade", "te",
            "trailer",
            "authorization", "idempotency-key", "user-agent":
            true
        default: name.hasPrefix("ce-") || name.hasPrefix("outrider-") || name.hasPrefix("webhook-")
        }
    }

    /// RFC 9110, section 5.6.2.
    private static func isToken(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    /// A text as the value of an event's attribute: what is not printable ASCII, and space, `"` and `%`, is percent-encoded as
    /// UTF-8 (CloudEvents HTTP protocol binding, section 3.1.3.2).
    static func eventAttribute(_ text: String) -> String {
        percentEncoded(text) { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "%") }
    }

    /// A text as the value of a header of the publisher's: as it is, but for what no header can hold (RFC 9110, section 5.5).
    static func headerText(_ text: String) -> String {
        percentEncoded(text) { $0 >= 0x20 && $0 < 0x7F }
    }

    private static func percentEncoded(_ text: String, except isPlain: (UInt8) -> Bool) -> String {
        if text.utf8.allSatisfy(isPlain) { return text }
        var value: [UInt8] = []
        for byte in text.utf8 {
            if isPlain(byte) {
                value.append(byte)
            } else {
                value += [UInt8(ascii: "%")] + percentDigits(byte)
            }
        }
        return String(decoding: value, as: UTF8.self)
    }

    private static func percentDigits(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return [digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
    }
}

/// The header of W3C Trace Context, section 3.2.
struct TraceParent: Sendable {
    private let trace: Substring
    private let flags: Substring

    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "00", parts[1].utf8.count == 32, parts[2].utf8.count == 16,
            parts[3].utf8.count == 2,
            parts[1...].allSatisfy({ $0.utf8.allSatisfy { hexDigit($0) != nil } }),
            parts[1].contains(where: { $0 != "0" })
        else { return nil }
        trace = parts[1]
        flags = parts[3]
    }

    /// The same trace, with a span of its own for this try.
    func child() -> String {
        "00-\(trace)-\(Self.span())-\(flags)"
    }

    /// A trace that the tries of one message share although nobody began one.
    static func root(of message: UUID) -> String {
        "00-\(hex(message.high))\(hex(message.low))-\(span())-00"
    }

    private static func span() -> String {
        hex(UInt64.random(in: 1 ... .max))
    }

    private static func hex(_ word: UInt64) -> String {
        String(unsafeUninitializedCapacity: 16) { buffer in
            for nibble in 0..<16 { buffer[nibble] = hexDigits[Int(word >> UInt64(60 - 4 * nibble) & 0xF)] }
            return 16
        }
    }
}
