import Primitives
import Sagas

extension [ExpectedMessage] {
    func difference(from messages: [Performance.Message]) -> Difference? {
        let found = messages.map(\.content)
        return ListComparison(
            noun: "message", expectedNames: map(\.topic), foundNames: found.map(\.topic),
            expectedLine: { self[$0].line }, foundLine: { found[$0].line },
            isSame: { self[$0].topic == found[$1].topic }, mismatches: { self[$0].mismatches(found[$1]) }
        ).difference("published")
    }
}

extension ExpectedMessage {
    fileprivate func mismatches(_ message: Effect.Message) -> [String] {
        var wrong: [String] = []
        if let key, key != message.key { wrong.append("the key is \(message.key ?? "none"); expected \(key)") }
        if let payload { wrong += message.payload.mismatches(with: payload, at: "payload") }
        for (name, value) in headers.sorted(by: { $0.key < $1.key }) {
            let found = message.headers.first { $0.name.lowercased() == name.lowercased() }?.value
            if found != value { wrong.append("the header \(name) is \(found ?? "none"); expected \(value)") }
        }
        return wrong
    }

    fileprivate var line: String {
        ([topic, key.map { "key \($0)" }, payload?.text].compactMap(\.self)
            + headers.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }).joined(separator: " ")
    }
}

extension Effect.Message {
    fileprivate var line: String {
        ([topic, key.map { "key \($0)" }, payload.text].compactMap(\.self)
            + headers.map { "\($0.name): \($0.value)" }).joined(separator: " ")
    }
}
