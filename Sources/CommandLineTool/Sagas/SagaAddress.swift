import Primitives
import Store

/// How a person names one saga: by its id, or by NAME/KEY.
enum SagaAddress: Sendable {
    case id(UUID)
    case key(saga: String, key: String)

    init(_ text: String) throws(UsageError) {
        if let id = UUID(text) {
            self = .id(id)
            return
        }
        // A name has no slash; a key may.
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
            throw UsageError("'\(text)' names no saga; expected its id, or NAME/KEY such as place-order/17")
        }
        self = .key(saga: String(parts[0]), key: String(parts[1]))
    }

    /// The newest, where a key was used again.
    func find(_ operations: Operations) throws -> UUID {
        switch self {
        case .id(let id): return id
        case .key(let saga, let key):
            guard let id = try operations.sagaID(saga, key: key) else { throw unknown }
            return id
        }
    }

    var unknown: CommandFailure {
        switch self {
        case .id(let id): CommandFailure("there is no saga \(id); outrider saga list shows them")
        case .key(let saga, let key):
            CommandFailure("there is no saga \(saga) with the key \(key); outrider saga list --saga \(saga) shows them")
        }
    }
}
