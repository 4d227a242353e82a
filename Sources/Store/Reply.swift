package import Primitives

/// Where a message asks to be answered to: its headers `reply_to`, a topic, and `correlation_id`.
package struct ReplyAddress: Sendable, Hashable {
    package let topic: String
    package let correlation: String?
    /// The trace of the request goes on in its answer.
    package let traceparent: String?

    /// Nil without `reply_to`. Costs a look at the bytes where there are headers at all.
    ///
    /// - Parameter headers: a JSON object of strings.
    package init?(headers: [UInt8]?) {
        guard let headers, Self.isMentioned(in: headers), let object = (try? JSON(parsing: headers))?.object,
            let topic = object["reply_to"]?.string
        else { return nil }
        self.topic = topic
        correlation = object["correlation_id"]?.string
        traceparent = object["traceparent"]?.string
    }

    private static let name = Array("\"reply_to\"".utf8)

    private static func isMentioned(in headers: [UInt8]) -> Bool {
        headers.withUnsafeBufferPointer { bytes in
            var start = 0
            while start + name.count <= bytes.count {
                if bytes[start] == name[0], bytes[start + 1] == name[1],
                    bytes[start..<start + name.count].elementsEqual(name)
                {
                    return true
                }
                start += 1
            }
            return false
        }
    }

    /// Whether a topic can be called so; see `is_malformed` in the migrations.
    package var isTopic: Bool {
        guard let first = topic.utf8.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first) else {
            return false
        }
        return topic.utf8.count <= 255
            && topic.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-")
            }
    }

    /// The headers of the answer.
    func headers(inReplyTo message: UUID) -> JSON {
        var members: [(name: String, value: JSON)] = [("in_reply_to", .string(message.description))]
        if let correlation { members.append(("correlation_id", .string(correlation))) }
        if let traceparent { members.append(("traceparent", .string(traceparent))) }
        return .object(JSONObject(members))
    }
}

/// An answer to a message, to be published in the transaction that acknowledges it.
package final class Reply: Sendable {
    package let address: ReplyAddress
    package let payload: JSON

    package init(_ address: ReplyAddress, payload: JSON) {
        self.address = address
        self.payload = payload
    }
}
