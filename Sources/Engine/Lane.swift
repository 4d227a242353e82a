import Delivery
import Primitives
import Store
import WorkflowFiles

/// One subscription in this worker: what it holds, how much it has room for, and when it looks for more. A value without I/O;
/// the dispatcher guards it.
struct Lane: Sendable {
    let id: Int32
    let route: Route
    /// What the worker sends at all.
    private let limit: Int
    /// Whether anything but its concurrency holds it back.
    let isGated: Bool
    /// This worker's parts of the subscription's limits; of its concurrency nil where that is `auto`.
    private(set) var share: Share?
    private(set) var rateShare: Share?
    private var bucket: TokenBucket?
    private(set) var adaptive: AdaptiveConcurrency?
    /// Deliveries in flight at once.
    private(set) var capacity = 0
    /// When what is buffered may be sent, if it may not now.
    var heldUntil: ContinuousClock.Instant?
    var isPaused: Bool
    private(set) var buffer = Buffer()
    private(set) var inFlight = 0
    /// Of a subscription with batches: the bytes that wait in the buffer, and since when the first of them does.
    private var bufferedBytes = 0
    private var bufferedSince: ContinuousClock.Instant
    private var enqueuedAt: ContinuousClock.Instant
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
    /// The payloads of one batch together; one that is larger goes alone.
    private static let mostBytesOfBatch = 8_000_000
    /// Rows in one claim, where requests take many: what is claimed is sent before the next claim is back.
    private static let mostClaimedForBatches = 2000

    /// - Parameter limit: requests that the worker has in flight over all lanes.
    init(id: Int32, route: Route, limit: Int, isPaused: Bool, now: ContinuousClock.Instant) {
        self.id = id
        self.route = route
        self.limit = limit
        isGated = route.rate != nil || route.endpoint?.gate != nil
        self.isPaused = isPaused
        switch route.concurrency {
        case .atMost(let count):
            share = Share(
                name: "subscription:\(route.subscription):concurrency", amount: Int64(count),
                need: Int64(min(count, limit)))
        case .auto: adaptive = AdaptiveConcurrency(most: limit)
        }
        rateShare = route.rate.map {
            Share(name: "subscription:\(route.subscription):rate", amount: $0.millionths, need: $0.millionths)
        }
        measuredAt = now
        bufferedSince = now
        enqueuedAt = now
    }

    /// The same lane under a new definition: what it holds goes on.
    func redefined(route: Route, limit: Int, isPaused: Bool) -> Lane {
        var lane = Lane(id: id, route: route, limit: limit, isPaused: isPaused, now: measuredAt)
        lane.buffer = buffer
        lane.bufferedBytes = route.batch == nil ? 0 : buffer.bytes
        lane.bufferedSince = bufferedSince
        lane.enqueuedAt = enqueuedAt
        lane.inFlight = inFlight
        lane.inFilter = inFilter
        lane.polling = polling
        lane.polling.startOver()
        lane.rate = rate
        lane.averageBytes = averageBytes
        lane.share = lane.share.map { share?.redefined(as: $0) ?? $0 }
        lane.rateShare = lane.rateShare.map { rateShare?.redefined(as: $0) ?? $0 }
        if lane.rateShare != nil { lane.bucket = bucket }
        if let adaptive, lane.adaptive != nil { lane.adaptive = adaptive }
        lane.measureCapacity()
        // What held it back may be gone.
        if lane.isGated { lane.heldUntil = measuredAt }
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
    ///
    /// - Parameter gate: what the endpoint's limits have room for.
    func wanted(_ gate: (inFlight: Int, ahead: Int)? = nil) -> Int {
        let capacity = min(capacity, gate?.inFlight ?? .max)
        guard !isPaused, capacity > 0 else { return 0 }
        let rows = rowsPerRequest
        // A rate sends no more than that soon, however many it could have in flight.
        let soon = min(rateShare?.claimAhead ?? .max, gate?.ahead ?? .max, 100_000) * rows
        let room = min((capacity - inFlight) * rows + ahead, soon) - buffer.count - inFilter
        let isStarving = buffer.count < rows && inFilter == 0 && inFlight < capacity
        guard isStarving || room * 4 >= min(capacity * rows + ahead, soon) else { return 0 }
        return max(0, route.batch == nil ? room : min(room, max(rows, Self.mostClaimedForBatches)))
    }

    /// How many deliveries a request takes, by all that is known of their size.
    private var rowsPerRequest: Int {
        guard let batch = route.batch else { return 1 }
        return max(1, min(batch.max, Int(Double(Self.mostBytesOfBatch) / averageBytes)))
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

    mutating func enqueued(_ delivery: ClaimedDelivery, now: ContinuousClock.Instant) {
        if route.batch != nil {
            if buffer.isEmpty { bufferedSince = now }
            enqueuedAt = now
            bufferedBytes += delivery.size
        }
        buffer.append(delivery)
    }

    mutating func enteredFilter(_ count: Int) {
        inFilter += count
    }

    mutating func leftFilter(_ count: Int) {
        inFilter -= count
    }

    /// What `next` would give.
    var first: ClaimedDelivery? { inFlight < capacity ? buffer.first : nil }

    /// The next delivery to send, now counted as in flight; nil when there is none or no room.
    mutating func next() -> ClaimedDelivery? {
        guard inFlight < capacity, let delivery = buffer.popFirst() else { return nil }
        inFlight += 1
        return delivery
    }

    /// Until when a batch that is not full waits for more; nil when none does.
    var lingerEnds: ContinuousClock.Instant? {
        guard let batch = route.batch, batch.linger > .zero, !buffer.isEmpty else { return nil }
        return bufferedSince + batch.linger
    }

    /// Whether there is a batch to send, and room for it.
    func isBatchReady(now: ContinuousClock.Instant, lingers: Bool) -> Bool {
        guard let batch = route.batch, inFlight < capacity, !buffer.isEmpty else { return false }
        if !lingers || buffer.count >= batch.max || bufferedBytes >= Self.mostBytesOfBatch { return true }
        return lingerEnds.map { $0 <= now } ?? true
    }

    /// The next batch to send, not counted as in flight yet; nil when there is none, no room, or when it waits for more.
    ///
    /// - Parameter lingers: false sends what there is.
    mutating func nextBatch(now: ContinuousClock.Instant, lingers: Bool) -> [ClaimedDelivery]? {
        guard isBatchReady(now: now, lingers: lingers), let batch = route.batch, let first = buffer.first else {
            return nil
        }
        var deliveries: [ClaimedDelivery] = []
        deliveries.reserveCapacity(min(batch.max, buffer.count))
        var bytes = 0
        var next = Optional(first)
        while deliveries.count < batch.max, let delivery = next {
            guard deliveries.isEmpty || bytes + delivery.size <= Self.mostBytesOfBatch else { break }
            bytes += delivery.size
            deliveries.append(delivery)
            _ = buffer.popFirst()
            next = buffer.first
        }
        bufferedBytes -= bytes
        // Those that are left came with the last ones, or wait for room and not for more.
        bufferedSince = enqueuedAt
        return deliveries
    }

    /// A batch is in flight.
    mutating func began() {
        inFlight += 1
    }

    /// - Parameter count: deliveries of the request that ended.
    mutating func ended(_ count: Int = 1, now: ContinuousClock.Instant) {
        inFlight -= 1
        if share?.ended(inUse: Int64(inFlight)) == true { measureCapacity() }
        completed += count
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
        bufferedBytes = 0
        return dropped
    }

    /// A new session: the locks of the old one are gone, and so are its shares and what its floor was proven by.
    mutating func sessionBegan() {
        polling = Polling()
        floor = 0
        share?.sessionBegan()
        rateShare?.sessionBegan()
        bucket = nil
        measureCapacity()
    }

    // MARK: - Limits

    private mutating func measureCapacity() {
        let before = capacity
        capacity = adaptive?.limit ?? min(limit, Int(share?.granted ?? 0))
        // Who may send nothing must not be the one that is told of work; who may again looks for it.
        if capacity == 0 ? polling.state == .asleep : before == 0 { polling.woken() }
    }

    func holds(_ limit: String) -> Bool { share?.name == limit || rateShare?.name == limit }

    var hasNews: Bool { share?.hasNews == true || rateShare?.hasNews == true }

    /// When its rate lets one more go, if that is not now.
    mutating func waits(now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        guard rateShare != nil else { return nil }
        guard let next = bucket?.next(now: now) else { return now + .seconds(3600) }
        return next > now ? next : nil
    }

    mutating func took(now: ContinuousClock.Instant) {
        _ = bucket?.take(now: now)
    }

    /// What the handler says of the concurrency that it can take.
    mutating func adapt(_ sign: AdaptiveSign, took latency: Duration) {
        guard adaptive != nil else { return }
        switch sign {
        case .pace: adaptive?.answered(in: latency, inFlight: inFlight)
        case .tooMuch: adaptive?.refused()
        case .nothing: return
        }
        measureCapacity()
    }

    /// As of `EndpointGate`.
    mutating func settle(_ name: String, target: Int64, now: ContinuousClock.Instant) -> Int64? {
        if share?.name == name {
            share?.settled(target: target, inUse: Int64(inFlight))
            measureCapacity()
            return share?.granted
        }
        guard rateShare?.name == name else { return nil }
        rateShare?.settled(target: target, inUse: 0)
        fill(now, isFull: false)
        return rateShare?.granted
    }

    mutating func grow(_ name: String, to granted: Int64, isWhole: Bool, now: ContinuousClock.Instant) {
        if share?.name == name {
            share?.grew(to: granted)
            measureCapacity()
        }
        if rateShare?.name == name {
            rateShare?.grew(to: granted)
            fill(now, isFull: isWhole)
            heldUntil = now
        }
    }

    private mutating func fill(_ now: ContinuousClock.Instant, isFull: Bool) {
        let rate = Double(rateShare?.granted ?? 0) / 1_000_000
        if bucket == nil, rate > 0 { bucket = TokenBucket(rate: rate, isFull: isFull, now: now) }
        bucket?.changed(to: rate, now: now)
    }
}

/// A first-in first-out queue that does not move its elements for each one it hands out.
struct Buffer: Sendable {
    private var elements: [ClaimedDelivery] = []
    private var head = 0

    var count: Int { elements.count - head }
    var isEmpty: Bool { head == elements.count }

    var first: ClaimedDelivery? { head < elements.count ? elements[head] : nil }
    /// Of all payloads.
    var bytes: Int { elements[head...].reduce(0) { $0 + $1.size } }

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

extension ClaimedDelivery {
    /// What it takes of a batch, in bytes.
    fileprivate var size: Int { message.map { $0.payload.count + ($0.headers?.count ?? 0) } ?? 0 }
}
