import Delivery
import Primitives
import Sagas

/// Calls of sagas that their endpoints keep back, in order. A value without I/O.
struct HeldCalls {
    struct Call {
        let saga: UUID
        /// That of the saga when it was held.
        let number: Int
        let call: Effect.CallEffect
        /// Then its saga is told.
        let patience: Timestamp
    }

    private var calls: [String: [Call]] = [:]
    /// When an endpoint may take one; none where it is told.
    private var instants: [String: ContinuousClock.Instant] = [:]

    var isEmpty: Bool { calls.isEmpty }
    var firstPatience: Timestamp? { calls.values.joined().lazy.map(\.patience).min() }
    var firstInstant: ContinuousClock.Instant? { instants.values.min() }

    func holds(at endpoint: String) -> Bool { calls[endpoint] != nil }
    func instant(at endpoint: String) -> ContinuousClock.Instant? { instants[endpoint] }

    func endpoints(dueBy now: ContinuousClock.Instant) -> [String] {
        instants.filter { $0.value <= now }.map(\.key)
    }

    mutating func append(_ call: Call, at endpoint: String, until: ContinuousClock.Instant?) {
        calls[endpoint, default: []].append(call)
        instants[endpoint] = until
    }

    mutating func remove(at endpoint: String) -> [Call] {
        instants[endpoint] = nil
        return calls.removeValue(forKey: endpoint) ?? []
    }

    mutating func removeAll() -> [Call] {
        defer { self = HeldCalls() }
        return Array(calls.values.joined())
    }

    mutating func removeImpatient(_ now: Timestamp) -> [(call: Call, until: ContinuousClock.Instant?)] {
        var removed: [(Call, ContinuousClock.Instant?)] = []
        for (endpoint, held) in calls where held.contains(where: { $0.patience <= now }) {
            removed += held.filter { $0.patience <= now }.map { ($0, instants[endpoint]) }
            calls[endpoint] = held.filter { $0.patience > now }
            if calls[endpoint]?.isEmpty == true { _ = remove(at: endpoint) }
        }
        return removed
    }
}

extension SagaEvent.TryResult {
    /// A failure while the endpoint's breaker is open uses up no attempt.
    func forgiven(policy: RetryPolicy) -> SagaEvent.TryResult {
        guard case .failed(let error, let happened, let retryAfter) = self else { return self }
        return .postponed(
            error, happened: happened, after: max(policy.initial, min(retryAfter ?? .zero, policy.retryAfterMax)))
    }
}
