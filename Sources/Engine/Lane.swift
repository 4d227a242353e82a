import Delivery
import Primitives
import Store
import WorkflowFiles

/// One subscription in this worker: what it holds, how much it has room for, and when it looks for more. A value without I/O;
/// the dispatcher guards it.
struct Lane: Sendable {
    let id: Int32
    let route: Route
    /// Deliveries in flight at once: as the file says, but no more than the worker sends at all.
    let capacity: Int
    var isPaused: Bool
    private(set) var buffer = Buffer()
    private(set) var inFlight = 0
    /// Claimed, and with the filter's evaluator at the moment.
    private(set) var inFilter = 0
    var floor: Int64 = 0
    var polling = Polling()
    private var rate = 0.0
    private var completed = 0
    private var measuredAt: ContinuousClock.Instant
    private var averageBytes = 1024.0

    /// How far ahead of the handler's pace rows are claimed: long enough to cover a round trip to the database.
    private static let lookahead = 0.04
    private static let mostAhead = 1000.0
    private static let mostBytesAhead = 8_000_000.0

    /// - Parameter limit: requests that the worker has in flight over all lanes.
    init(id: Int32, route: Route, limit: Int, isPaused: Bool, now: ContinuousClock.Instant) {
        self.id = id
        self.route = route
        capacity = min(route.concurrency, limit)
        self.isPaused = isPaused
        measuredAt = now
    }

    /// The same lane under a new definition: what it holds goes on.
    func redefined(route: Route, limit: Int, isPaused: Bool) -> Lane {
        var lane = Lane(id: id, route: route, limit: limit, isPaused: isPaused, now: measuredAt)
        lane.buffer = buffer
        lane.inFlight = inFlight
        lane.inFilter = inFilter
        lane.polling = polling
        lane.polling.startOver()
        lane.rate = rate
        lane.averageBytes = averageBytes
        return lane
    }

    /// The same lane once its sleep lock is given back elsewhere.
    func withoutLock() -> Lane {
        var lane = self
        lane.polling = Polling()
        return lane
    }

    var held: Int { buffer.count + inFlight + inFilter }

    // MARK: - Room

    /// How many rows to claim now; 0 when it is not worth a claim.
    var wanted: Int {
        guard !isPaused else { return 0 }
        let room = capacity + ahead - held
        let isStarving = buffer.isEmpty && inFilter == 0 && inFlight < capacity
        return isStarving || room * 4 >= capacity + ahead ? max(0, room) : 0
    }

    /// Rows that are claimed beyond what can be in flight, so that the handler never waits for the database. They grow with
    /// the pace: a slow handler's worker holds nothing that another worker could send. Nothing ahead at most once: what is
    /// removed before it is sent must be sent at once.
    private var ahead: Int {
        guard route.guarantee == .atLeastOnce else { return 0 }
        return Int(min(rate * Self.lookahead, Self.mostAhead, Self.mostBytesAhead / averageBytes))
    }

    // MARK: - Events

    mutating func claimed(_ asked: Int, _ deliveries: [ClaimedDelivery], now: ContinuousClock.Instant) {
        for delivery in deliveries {
            averageBytes += (Double(delivery.message?.payload.count ?? 0) + 256 - averageBytes) / 64
        }
        polling.found(deliveries.count, of: asked, now: now)
    }

    mutating func enqueued(_ delivery: ClaimedDelivery) {
        buffer.append(delivery)
    }

    mutating func enteredFilter(_ count: Int) {
        inFilter += count
    }

    mutating func leftFilter(_ count: Int) {
        inFilter -= count
    }

    /// The next delivery to send, now counted as in flight; nil when there is none or no room.
    mutating func next() -> ClaimedDelivery? {
        guard inFlight < capacity, let delivery = buffer.popFirst() else { return nil }
        inFlight += 1
        return delivery
    }

    mutating func ended(now: ContinuousClock.Instant) {
        inFlight -= 1
        completed += 1
        let window = (now - measuredAt).seconds
        if window >= 0.02 {
            let weight = min(1, window / 0.1)
            rate += (Double(completed) / window - rate) * weight
            completed = 0
            measuredAt = now
        }
    }

    /// Empties the buffer: of what was claimed, all that was not sent.
    mutating func dropBuffer() -> [ClaimedDelivery] {
        var dropped: [ClaimedDelivery] = []
        while let delivery = buffer.popFirst() { dropped.append(delivery) }
        return dropped
    }

    /// A new session: the locks of the old one are gone, and so is what its floor was proven by.
    mutating func sessionBegan() {
        polling = Polling()
        floor = 0
    }
}

/// A first-in first-out queue that does not move its elements for each one it hands out.
struct Buffer: Sendable {
    private var elements: [ClaimedDelivery] = []
    private var head = 0

    var count: Int { elements.count - head }
    var isEmpty: Bool { head == elements.count }

    mutating func append(_ delivery: ClaimedDelivery) {
        elements.append(delivery)
    }

    mutating func popFirst() -> ClaimedDelivery? {
        guard head < elements.count else { return nil }
        let first = elements[head]
        head += 1
        if head == elements.count || head > 1024 {
            elements.removeFirst(head)
            head = 0
        }
        return first
    }
}
