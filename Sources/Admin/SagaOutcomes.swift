import Primitives
import Store
import Synchronization

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
    /// Those that wait, and those that will once their saga is started.
    private let count = Mutex(0)
    private var waiters: [Int: Waiter] = [:]
    private var lastNumber = 0
    private var isLooking = false
    private var isClosed = false

    init(_ database: AdminDatabase) {
        self.database = database
    }

    /// Takes a place among those that wait, which `leave` gives back.
    nonisolated func enter() throws(Problem) {
        let isAdmitted = count.withLock { count in
            guard count < Self.most else { return false }
            count += 1
            return true
        }
        guard isAdmitted else {
            throw .unavailable("\(Self.most) requests wait for their sagas already, so this one was not started.")
        }
    }

    nonisolated func leave() { count.withLock { $0 -= 1 } }

    /// How the saga stands once it has ended, or needs a person, or when the limit is over; nil when that cannot be told.
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
            // While the database is away no saga ends, but the limit is over some time.
            let standings = (try? await database.run { try $0.http.standings(of: sagas) }) ?? [:]
            for number in due.keys { tell(number, standings) }
        }
        isLooking = false
    }

    private func tell(_ number: Int, _ standings: [UUID: Operations.HTTP.Standing]) {
        guard let waiter = waiters[number] else { return }
        let now = ContinuousClock.now
        let standing = standings[waiter.saga]
        guard standing?.isSettled != true, now < waiter.end else {
            waiters[number] = nil
            waiter.continuation.resume(returning: standing?.json)
            return
        }
        waiters[number]!.due = min(now + waiter.pause, waiter.end)
        waiters[number]!.pause = min(waiter.pause * 3 / 2, Self.lastPause)
    }
}
