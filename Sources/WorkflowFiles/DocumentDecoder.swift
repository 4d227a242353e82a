internal import Primitives

/// Tells by its key what a document declares, and has it read.
enum DocumentDecoder {
    static func definition(_ document: Node, _ report: Report) -> Definition? {
        let kinds = Definition.Kind.allCases.map(\.rawValue)
        guard case .mapping(let mapping) = document else {
            report.error(
                at: document.position, "\(document.called) stands where a document begins",
                expected: "a mapping with one of \(kinds.joined(separator: ", "))")
            return nil
        }
        let named = mapping.entries.filter { kinds.contains($0.name) }
        guard let first = named.first else {
            let meant = mapping.entries.lazy.compactMap { entry in
                closest(to: entry.name, among: kinds).map { (entry, $0) }
            }.first
            report.error(
                at: meant?.0.namePosition ?? mapping.position,
                meant.map { "unknown key '\($0.0.name)' and no key that tells what the document declares" }
                    ?? "a document that declares nothing",
                expected: "one of \(kinds.joined(separator: ", "))", suggestion: meant.map { "did you mean '\($0.1)'?" }
            )
            return nil
        }
        guard named.count == 1 else {
            report.error(
                at: named[1].namePosition, "a document with '\(first.name)' and '\(named[1].name)'",
                expected: "exactly one of them", suggestion: "put '---' on a line between two documents")
            return nil
        }
        switch Definition.Kind(rawValue: first.name) {
        case .saga: return SagaDecoder.saga(mapping, report).map(Definition.saga)
        case .subscription: return SubscriptionDecoder.subscription(mapping, report).map(Definition.subscription)
        case .topic: return TopicDecoder.topic(mapping, report).map(Definition.topic)
        case .endpoint: return EndpointDecoder.endpoint(mapping, report).map(Definition.endpoint)
        case .schedule: return ScheduleDecoder.schedule(mapping, report).map(Definition.schedule)
        case nil: return nil
        }
    }
}
