import Primitives
import Store

/// Sagas whose ends somebody waits for. They are looked for together, and no connection is held meanwhile.
actor SagaOutcomes {
    /// How many may wait at once.
    static let most = 1000
    /// The longest that one may wait.
    static let longest = Duration.seconds(300)
    private static let firstPause = Duration.milliseconds(20)
    private static let lastPause = Duration.milliseconds(250)

    private struct Waiter {
        let saga: UUID
        let end: ContinuousClock.Instant
        var pause = SagaOutcomes.firstPause
        var due: ContinuousClock.Instant
        let continuation: CheckedContinuation<JSON?, Never>
    }

    private let database: AdminDatabase
    private var waiters: [Int: Waiter] = [:]
    private var lastNumber = 0
    private var isLooking = false
    private var isClosed = false

    init(_ database: AdminDatabase) {
        self.database = database
    }

    var isFull: Bool { waiters.count >= Self.most }

    /// The saga's status, output and failure once it has ended, or needs a person; nil when that does not come within the
    /// limit.
    func outcome(of saga: UUID, within limit: Duration) async -> JSON? {
        guard !isClosed else { return nil }
        return await withCheckedContinuation { continuation in
            let now = ContinuousClock.now
            lastNumber += 1
            waiters[lastNumber] = Waiter(
                saga: saga, end: now + limit, due: now + min(limit, Self.firstPause), continuation: continuation)
            guard !isLooking else { return }
            isLooking = true
            Task { await look() }
        }
    }

    /// Nobody waits any longer.
    func close() {
        isClosed = true
        for waiter in waiters.values { waiter.continuation.resume(returning: nil) }
        waiters = [:]
    }

    /// As long as somebody waits.
    private func look() async {
        while !waiters.isEmpty {
            try? await Task.sleep(for: Self.firstPause)
            let now = ContinuousClock.now
            let due = waiters.filter { $0.value.due <= now }
            guard !due.isEmpty else { continue }
            let sagas = Array(Set(due.values.map(\.saga)))
            // While the database is away nothing ends; the limit does.
            let outcomes = (try? await database.run { try $0.http.outcomes(of: sagas) }) ?? [:]
            for number in due.keys { tell(number, outcomes) }
        }
        isLooking = false
    }

    private func tell(_ number: Int, _ outcomes: [UUID: JSON]) {
        guard let waiter = waiters[number] else { return }
        let now = ContinuousClock.now
        let outcome = outcomes[waiter.saga]
        guard outcome == nil, now < waiter.end else {
            waiters[number] = nil
            waiter.continuation.resume(returning: outcome)
            return
        }
        waiters[number]!.due = min(now + waiter.pause, waiter.end)
        waiters[number]!.pause = min(waiter.pause * 3 / 2, Self.lastPause)
    }
}
