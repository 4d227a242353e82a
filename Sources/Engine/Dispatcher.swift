import Delivery
import Expressions
import HTTPClient
import Postgres
import Primitives
import Store
import Synchronization
import Telemetry
import WorkflowFiles

/// Sends what was claimed and collects what came of it. Holds the lanes; called from the delivery loop, from the HTTP client's
/// thread and from filter tasks, each for a short moment.
final class Dispatcher: Sendable {
    /// A request that a handler is working on.
    struct Sent: Sendable {
        let delivery: ClaimedDelivery
        let lane: Int32
        /// All deliveries of a batch, the first one among them; nil where a message has a request of its own.
        var batch: [ClaimedDelivery]?
        /// Of its endpoint, to be told how it ends.
        var gate: EndpointGate?
        var isProbe = false
    }

    struct State: Sendable {
        var lanes: [Int32: Lane] = [:]
        var sent: [UInt64: Sent] = [:]
        var nextRequest: UInt64 = 1
        var finished: [FinishedTry] = []
        /// Claimed and not sent, to be given back.
        var released: [ClaimedDelivery] = []
        var isDraining = false
        /// Of removed lanes: sleep locks to give back.
        var unlocks: [Int32] = []
        /// Of the session that stands; what carries another one may be somebody else's by now.
        var token: UUID?
        /// Sends are fenced: after this instant another worker may have taken over what is buffered here.
        var leaseEnds = ContinuousClock.now
        /// What to add to this machine's clock to get the database's.
        var clockOffset = Duration.zero
        /// Filters that need jq, each with a process of its own, so that one that runs away delays no other.
        var evaluators: [Int32: Evaluator] = [:]
        /// Of lanes whose target is a statement.
        var pools: [Int32: StatementPool] = [:]
    }

    /// Also of the extensions in files of their own: deciding, filters.
    let state = Mutex(State())
    private let client = Mutex<HTTPClient?>(nil)
    let limit: Int
    let wakeup: Wakeup
    private let alarm: BeatAlarm
    let limits: Limits
    let makeEvaluator: @Sendable () -> Evaluator
    let makePool: @Sendable (_ connections: Int) -> StatementPool
    /// This worker's name.
    let worker: String
    let log: Log
    let metrics: WorkerMetrics

    /// - Parameters:
    ///   - limit: requests in flight over all lanes.
    ///   - connections: see `HTTPClient`.
    init(
        limit: Int, connections: Int, worker: String, wakeup: Wakeup, alarm: BeatAlarm, limits: Limits, log: Log,
        metrics: WorkerMetrics,
        makeEvaluator: @escaping @Sendable () -> Evaluator,
        makePool: @escaping @Sendable (_ connections: Int) -> StatementPool
    ) {
        self.limit = limit
        self.wakeup = wakeup
        self.alarm = alarm
        self.limits = limits
        self.makeEvaluator = makeEvaluator
        self.makePool = makePool
        self.worker = worker
        self.log = log
        self.metrics = metrics
        let client = HTTPClient(connections: connections) { [weak self] exchanges in self?.completed(exchanges) }
        self.client.withLock { $0 = client }
        metrics.registry.gauge(
            "outrider_in_flight", help: "Requests that handlers are working on now.", labels: ["subscription"]
        ) { [weak self] in self?.inFlightBySubscription ?? [] }
        metrics.registry.gauge(
            "outrider_utilisation",
            help: "Requests in flight by what the subscription's concurrency allows this worker: 1 is all of it.",
            labels: ["subscription"]
        ) { [weak self] in self?.utilisation ?? [] }
        metrics.registry.gauge(
            "outrider_concurrency",
            help: "Requests that this worker may have in flight: its share, or what `auto` has found.",
            labels: ["subscription"]
        ) { [weak self] in
            self?.state.withLock { $0.lanes.values.map { ([$0.route.subscription], Double($0.capacity)) } } ?? []
        }
    }

    // MARK: - Lanes

    /// Serves these routes from now on. What lanes that are gone hold is given back.
    func serve(_ routes: [(id: Int32, route: Route, isPaused: Bool)]) {
        state.withLock { state in
            var lanes: [Int32: Lane] = [:]
            for (id, route, isPaused) in routes {
                lanes[id] =
                    state.lanes.removeValue(forKey: id)?.redefined(route: route, limit: limit, isPaused: isPaused)
                    ?? Lane(id: id, route: route, limit: limit, isPaused: isPaused, now: .now)
            }
            for var lane in state.lanes.values {
                if lane.polling.holdsLock { state.unlocks.append(lane.id) }
                for delivery in lane.dropBuffer() { giveBack(delivery, &state) }
                state.evaluators[lane.id] = nil
                if lane.held == 0 { state.pools[lane.id] = nil }
                // Requests in flight end as usual; the lane stays for them, and claims nothing.
                if lane.held > 0 {
                    lane.isPaused = true
                    lanes[lane.id] = lane.withoutLock()
                }
            }
            state.lanes = lanes
        }
        wakeup.signal()
    }

    /// Of a delivery that cannot be sent here: another worker may send it, or, at most once, nobody.
    func giveBack(_ delivery: ClaimedDelivery, _ state: inout State) {
        if delivery.owner == nil {
            state.finished.append(
                .notSent(delivery, "dropped", .done, error: "the worker stopped before it was sent", isRecorded: true))
        } else {
            state.released.append(delivery)
        }
    }

    /// A new session began: what was buffered under the old one may be somebody else's by now.
    func sessionBegan(token: UUID) {
        state.withLock { state in
            state.token = token
            state.unlocks = []
            for id in state.lanes.keys {
                state.lanes[id]?.sessionBegan()
                // What was removed before sending has no other owner, and must still be sent.
                if state.lanes[id]?.route.guarantee == .atLeastOnce { _ = state.lanes[id]?.dropBuffer() }
            }
            state.released = []
        }
    }

    /// The session is gone: others may take over what is buffered here at any moment.
    func sessionLost() {
        state.withLock { state in
            state.token = nil
            state.leaseEnds = .now
        }
    }

    /// - Parameter token: of the session whose lease it is; that of one that was lost meanwhile extends nothing.
    func extendLease(of token: UUID, to end: ContinuousClock.Instant) {
        let now = ContinuousClock.now
        let requests = state.withLock { state in
            guard state.token == token else { return [HTTPRequest]() }
            let wasFenced = state.leaseEnds <= now
            state.leaseEnds = end
            // Nothing but this would go on with what is buffered.
            return wasFenced ? pumpAll(&state, now) : []
        }
        submit(requests)
    }

    /// The database's clock, by which signatures are dated and lags are measured.
    func setClock(_ databaseTime: Timestamp) {
        let offset = databaseTime - .now()
        state.withLock { $0.clockOffset = offset }
    }

    func wake(_ subscriptions: [Int32]) {
        state.withLock { state in
            for id in subscriptions { state.lanes[id]?.polling.woken() }
        }
        wakeup.signal()
    }

    /// Looks from the beginning again: rows were found below the floor.
    func resetFloors(_ subscriptions: [Int32]) {
        state.withLock { state in
            for id in subscriptions { state.lanes[id]?.floor = 0 }
        }
        wake(subscriptions)
    }

    var floors: [(subscription: Int32, floor: Int64)] {
        state.withLock { $0.lanes.values.filter { !$0.isPaused }.map { ($0.id, $0.floor) } }
    }

    var inFlight: Int { state.withLock { $0.sent.count } }

    /// A lane that is gone and its successor of the same name count together.
    private var inFlightBySubscription: [(labels: [String], value: Double)] {
        let lanes = state.withLock { $0.lanes.values.map { ($0.route.subscription, $0.inFlight) } }
        return Dictionary(lanes, uniquingKeysWith: +).sorted { $0.key < $1.key }.map { ([$0.key], Double($0.value)) }
    }

    private var utilisation: [(labels: [String], value: Double)] {
        let lanes = state.withLock { $0.lanes.values.map { ($0.route.subscription, $0.inFlight, $0.capacity) } }
        return lanes.filter { $0.2 > 0 }.sorted { $0.0 < $1.0 }.map { ([$0.0], Double($0.1) / Double($0.2)) }
    }

    /// Nothing is in flight and nothing waits to be recorded.
    var isIdle: Bool {
        state.withLock {
            $0.sent.isEmpty && $0.finished.isEmpty && $0.released.isEmpty && !$0.lanes.values.contains { $0.held > 0 }
        }
    }

    /// The same for a worker without a session, which cannot give anything back.
    var hasNothingToRecord: Bool { state.withLock { $0.sent.isEmpty && $0.finished.isEmpty } }

    // MARK: - The exchange with the database

    /// What the next exchange is about.
    struct Work {
        var exchange = Exchange()
        var released: [ClaimedDelivery] = []
        /// Until when there is nothing to ask for.
        var nextPoll: ContinuousClock.Instant?
        /// What may be sent only now.
        var requests: [HTTPRequest] = []

        var isEmpty: Bool {
            exchange.finished.isEmpty && exchange.requests.isEmpty && exchange.wake.isEmpty && released.isEmpty
        }
    }

    func takeWork(now: ContinuousClock.Instant) -> Work {
        let work = findWork(now)
        submit(work.requests)
        return work
    }

    private func findWork(_ now: ContinuousClock.Instant) -> Work {
        state.withLock { state in
            var work = Work()
            swap(&work.exchange.finished, &state.finished)
            swap(&work.released, &state.released)
            swap(&work.exchange.wake, &state.unlocks)
            for id in state.lanes.keys {
                let gate = state.lanes[id]!.isGated ? sendHeld(id, &state, now, &work) : nil
                let lane = state.lanes[id]!
                if lane.polling.holdsLockAwake {
                    work.exchange.wake.append(id)
                    // It was told of work, and may do none.
                    if lane.capacity == 0 || gate?.inFlight == 0 { work.exchange.help.append(id) }
                    state.lanes[id]?.polling.gaveLockBack()
                }
                guard !state.isDraining else { continue }
                switch lane.polling.state {
                case .asleep, .benched: continue
                case .at(let instant) where instant > now:
                    if lane.wanted(gate) > 0 { work.nextPoll = min(work.nextPoll ?? instant, instant) }
                    continue
                case .at, .due: break
                }
                let wanted = lane.wanted(gate)
                guard wanted > 0 else { continue }
                if lane.polling.wantsSleep { work.exchange.sleep.append(id) }
                work.exchange.requests.append(
                    ClaimRequest(
                        subscription: id, count: wanted, floor: lane.floor, removes: lane.route.guarantee == .atMostOnce
                    ))
            }
            return work
        }
    }

    /// Puts results back that could not be recorded: the database is away.
    func putBack(_ finished: [FinishedTry]) {
        state.withLock { $0.finished.insert(contentsOf: finished, at: 0) }
    }

    /// Takes what the exchange brought, and sends it.
    ///
    /// - Returns: the subscriptions with more than this worker takes: others could help.
    func received(_ outcome: Exchange.Outcome, for exchange: Exchange, floor: Floor) -> [Int32] {
        var bySubscription: [Int32: [ClaimedDelivery]] = [:]
        for delivery in outcome.claimed { bySubscription[delivery.subscription, default: []].append(delivery) }
        let now = ContinuousClock.now
        var toFilter: [(Int32, Expression, [ClaimedDelivery])] = []
        var crowded: [Int32] = []
        let requests = state.withLock { state in
            for attempt in outcome.sleepAttempts { state.lanes[attempt.subscription]?.polling.sleepTried(attempt) }
            var requests: [HTTPRequest] = []
            for request in exchange.requests {
                let id = request.subscription
                let deliveries = bySubscription[id] ?? []
                guard state.lanes[id] != nil else {
                    for delivery in deliveries { giveBack(delivery, &state) }
                    continue
                }
                state.lanes[id]!.claimed(request.count, deliveries, now: now)
                state.lanes[id]!.floor = floor.raised(
                    state.lanes[id]!.floor, asked: request.count, got: deliveries.count, newest: deliveries.last?.id)
                if deliveries.count == request.count { crowded.append(id) }
                if state.isDraining, state.lanes[id]!.route.guarantee == .atLeastOnce {
                    state.released += deliveries
                } else if let filter = state.lanes[id]!.route.filter, !deliveries.isEmpty {
                    state.lanes[id]!.enteredFilter(deliveries.count)
                    toFilter.append((id, filter, deliveries))
                } else {
                    for delivery in deliveries { state.lanes[id]!.enqueued(delivery, now: now) }
                    pump(id, &state, now, into: &requests)
                }
            }
            return requests
        }
        submit(requests)
        for (id, filter, deliveries) in toFilter { self.filter(deliveries, by: filter, lane: id) }
        for (id, deliveries) in bySubscription {
            if let name = deliveries.first.flatMap({ _ in state.withLock { $0.lanes[id]?.route.subscription } }) {
                metrics.exchanges(name).increment(by: deliveries.count)
            }
        }
        return crowded
    }

    // MARK: - Sending

    /// Fills the lane's room from its buffer.
    func pump(
        _ id: Int32, _ state: inout State, _ now: ContinuousClock.Instant, into requests: inout [HTTPRequest]
    ) {
        // A lease that ran out on this side has run out for everybody: what is buffered may be in flight elsewhere.
        guard now < state.leaseEnds && !state.isDraining || state.lanes[id]!.route.guarantee == .atMostOnce else {
            return
        }
        guard state.lanes[id]!.route.statement == nil else { return pumpStatements(id, &state, now) }
        guard state.lanes[id]!.route.batch == nil else { return pumpBatches(id, &state, now, into: &requests) }
        while let next = takeNext(id, &state, now) {
            requests.append(
                fenced(
                    DeliveryRequest.make(
                        id: next.request, next.delivery, next.message, state.lanes[id]!.route,
                        now: .now() + state.clockOffset), state))
        }
    }

    /// The lane's next delivery that may go out now, counted as sent; nil when there is none or no room. What is not to be sent
    /// ends on the way.
    func takeNext(
        _ id: Int32, _ state: inout State, _ now: ContinuousClock.Instant
    ) -> (request: UInt64, delivery: ClaimedDelivery, message: ClaimedDelivery.Message)? {
        // When all lanes together are at the limit, each may still have its share, whatever the others' handlers do.
        let share = share(state)
        while state.sent.count < limit || state.lanes[id]!.inFlight < share,
            let admitted = state.lanes[id]!.isGated ? admit(id, &state, now) : (nil, false),
            let delivery = state.lanes[id]!.next()
        {
            switch sendable(delivery) {
            case .failure(let unsendable): end(unsendable.result, id, &state, now)
            case .success(let message):
                let request = state.nextRequest
                state.nextRequest += 1
                state.sent[request] = Sent(delivery: delivery, lane: id, gate: admitted.gate, isProbe: admitted.isProbe)
                return (request, delivery, message)
            }
        }
        return nil
    }

    /// Not to be begun once another worker may have taken over what it carries.
    func fenced(_ request: HTTPRequest, _ state: borrowing State) -> HTTPRequest {
        var request = request
        // At most once there is nobody to take over.
        if !request.freshConnection { request.notAfter = state.leaseEnds }
        return request
    }

    /// The message to send; or how the delivery of one that is not to be sent ends.
    func sendable(_ delivery: ClaimedDelivery) -> Result<ClaimedDelivery.Message, Unsendable> {
        guard let message = delivery.message else {
            return .failure(
                Unsendable(
                    result: .notSent(
                        delivery, "failed", .dead(reason: "message-missing"), error: "the log holds no such message",
                        isRecorded: true)))
        }
        guard !message.isExpired else {
            return .failure(Unsendable(result: .notSent(delivery, "expired", .done, isRecorded: true)))
        }
        if let reply = ReplyAddress(headers: message.headers), !reply.isTopic {
            // Found out before the handler has done anything that nobody would hear of.
            return .failure(
                Unsendable(
                    result: .notSent(
                        delivery, "failed", .dead(reason: DeliveryMachine.Reason.reply.rawValue),
                        error: "the header reply_to is \"\(reply.topic.prefix(80))\", which is no name of a topic",
                        isRecorded: true)))
        }
        return .success(message)
    }

    struct Unsendable: Error {
        let result: FinishedTry
    }

    /// Of requests in flight over all lanes: what each may have whatever the others do.
    func share(_ state: borrowing State) -> Int { max(1, limit / state.lanes.count) }

    /// Those with the fewest in flight first: room is for whoever has had least of it.
    func pumpAll(_ state: inout State, _ now: ContinuousClock.Instant) -> [HTTPRequest] {
        var requests: [HTTPRequest] = []
        for lane in state.lanes.values.sorted(by: { $0.inFlight < $1.inFlight }) {
            pump(lane.id, &state, now, into: &requests)
        }
        return requests
    }

    func submit(_ requests: [HTTPRequest]) {
        guard !requests.isEmpty else { return }
        client.withLock { $0 }?.submit(requests)
    }

    /// On the HTTP client's thread: decides on each answer, and sends the next ones without asking the database.
    private func completed(_ exchanges: [HTTPExchange]) {
        let now = ContinuousClock.now
        var batches: [AnsweredBatch] = []
        /// Gates with room whose turn is not a lane's.
        var others: [EndpointGate] = []
        let (requests, hasNews) = state.withLock { state in
            let databaseTime = .now() + state.clockOffset
            var touched: Set<Int32> = []
            for exchange in exchanges {
                guard let sent = state.sent.removeValue(forKey: exchange.id) else { continue }
                var isForgiven = false
                if let gate = sent.gate {
                    let ending = gate.ended(exchange.word, isProbe: sent.isProbe, now: now)
                    isForgiven = ending.isForgiven
                    switch ending.next {
                    case .lane(let next): touched.insert(next)
                    case .sagas: others.append(gate)
                    case nil: break
                    }
                }
                guard let lane = state.lanes[sent.lane] else { continue }
                if lane.adaptive != nil {
                    state.lanes[sent.lane]?.adapt(exchange.adaptiveSign, took: exchange.duration)
                }
                if let deliveries = sent.batch {
                    batches.append(
                        AnsweredBatch(exchange, deliveries, lane, at: databaseTime, isForgiven: isForgiven))
                    continue
                }
                touched.insert(sent.lane)
                let result = finished(exchange, sent.delivery, lane.route, databaseTime, isForgiven: isForgiven)
                end(result, sent.lane, &state, now)
                metrics.handlerDuration(lane.route.subscription).observe(exchange.duration)
            }
            let hasNews = touched.contains { state.lanes[$0]?.hasNews == true }
            // When all lanes together were at their limit, the room that was made is for any of them.
            if state.sent.count + exchanges.count >= limit { return (pumpAll(&state, now), hasNews) }
            var requests: [HTTPRequest] = []
            for id in touched where state.lanes[id] != nil { pump(id, &state, now, into: &requests) }
            return (requests, hasNews)
        }
        submit(requests)
        for gate in others { limits.call(.sagas, at: gate) }
        completed(batches, now)
        wakeup.signal()
        if hasNews { alarm.ring() }
    }

    func end(_ result: FinishedTry, _ lane: Int32, _ state: inout State, _ now: ContinuousClock.Instant) {
        state.lanes[lane]?.ended(now: now)
        finish([result], lane, &state)
    }

    func finish(_ results: [FinishedTry], _ lane: Int32, _ state: inout State) {
        state.finished += results
        // The exchange that records them may make the next messages of their keys ready.
        if results.contains(where: \.delivery.isKeyed) { state.lanes[lane]?.polling.woken() }
        guard let name = state.lanes[lane]?.route.subscription else { return }
        for result in results {
            let outcome =
                switch (result.outcome, result.ending) {
                case (_, .dead): "dead"
                case ("failed", .done), ("refused", .done): "dropped"
                default: result.outcome
                }
            metrics.deliveries(name, outcome).increment()
        }
    }

    // MARK: - Ending

    /// Sends nothing new; what is buffered is given back.
    func drain() {
        state.withLock { state in
            state.isDraining = true
            for id in state.lanes.keys where state.lanes[id]?.route.guarantee == .atLeastOnce {
                state.released += state.lanes[id]?.dropBuffer() ?? []
            }
        }
        wakeup.signal()
    }

    /// Gives up on what is still in flight: it is reported as cancelled.
    func cancelAll() {
        state.withLock { state in
            // What was removed before it was sent, and never could be.
            for id in state.lanes.keys {
                for delivery in state.lanes[id]?.dropBuffer() ?? [] { giveBack(delivery, &state) }
            }
        }
        client.withLock { $0 }?.cancelAll()
        cancelStatements()
    }

    func close() {
        client.withLock { $0.take() }?.close()
        state.withLock { state in
            for evaluator in state.evaluators.values { evaluator.close() }
        }
    }
}
