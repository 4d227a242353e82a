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
    private struct Sent: Sendable {
        let delivery: ClaimedDelivery
        let lane: Int32
    }

    private struct State: Sendable {
        var lanes: [Int32: Lane] = [:]
        var sent: [UInt64: Sent] = [:]
        var nextRequest: UInt64 = 1
        var finished: [FinishedTry] = []
        /// Claimed and not sent, to be given back.
        var released: [ClaimedDelivery] = []
        var isDraining = false
        /// Sends are fenced: after this instant another worker may have taken over what is buffered here.
        var leaseEnds = ContinuousClock.now
    }

    private let state = Mutex(State())
    private let client = Mutex<HTTPClient?>(nil)
    private let limit: Int
    private let wakeup: Wakeup
    private let evaluator: Evaluator
    private let log: Log
    private let metrics: WorkerMetrics

    /// - Parameter limit: requests in flight over all lanes.
    init(limit: Int, wakeup: Wakeup, evaluator: Evaluator, log: Log, metrics: WorkerMetrics) {
        self.limit = limit
        self.wakeup = wakeup
        self.evaluator = evaluator
        self.log = log
        self.metrics = metrics
        let client = HTTPClient { [weak self] exchanges in self?.completed(exchanges) }
        self.client.withLock { $0 = client }
        metrics.registry.gauge(
            "outrider_in_flight", help: "Requests that handlers are working on now.", labels: ["subscription"]
        ) { [weak self] in self?.inFlightBySubscription ?? [] }
    }

    // MARK: - Lanes

    /// Serves these routes from now on. What lanes that are gone hold is given back.
    func serve(_ routes: [(id: Int32, route: Route, isPaused: Bool)]) {
        state.withLock { state in
            var lanes: [Int32: Lane] = [:]
            for (id, route, isPaused) in routes {
                lanes[id] =
                    state.lanes.removeValue(forKey: id)?.redefined(route: route, isPaused: isPaused)
                    ?? Lane(id: id, route: route, isPaused: isPaused, now: .now)
            }
            for var lane in state.lanes.values {
                state.released += lane.dropBuffer()
                // Requests in flight end as usual; the lane stays for them, and claims nothing.
                if lane.held > 0 {
                    lane.isPaused = true
                    lanes[lane.id] = lane
                }
            }
            state.lanes = lanes
        }
    }

    /// A new session began: what was buffered under the old one may be somebody else's by now.
    func sessionBegan() {
        state.withLock { state in
            for id in state.lanes.keys {
                state.lanes[id]?.sessionBegan()
                // What was removed before sending has no other owner, and must still be sent.
                if state.lanes[id]?.route.guarantee == .atLeastOnce { _ = state.lanes[id]?.dropBuffer() }
            }
            state.released = []
        }
    }

    func extendLease(to end: ContinuousClock.Instant) {
        state.withLock { $0.leaseEnds = end }
    }

    func wake(_ subscriptions: [Int32]) {
        state.withLock { state in
            for id in subscriptions { state.lanes[id]?.woken() }
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

    /// Nothing is in flight and nothing waits to be recorded.
    var isIdle: Bool {
        state.withLock {
            $0.sent.isEmpty && $0.finished.isEmpty && $0.released.isEmpty && !$0.lanes.values.contains { $0.held > 0 }
        }
    }

    // MARK: - The exchange with the database

    /// What the next exchange is about.
    struct Work {
        var exchange = Exchange()
        var released: [ClaimedDelivery] = []
        /// Until when there is nothing to ask for.
        var nextPoll: ContinuousClock.Instant?

        var isEmpty: Bool {
            exchange.finished.isEmpty && exchange.requests.isEmpty && exchange.wake.isEmpty && released.isEmpty
        }
    }

    func takeWork(now: ContinuousClock.Instant) -> Work {
        state.withLock { state in
            var work = Work()
            swap(&work.exchange.finished, &state.finished)
            swap(&work.released, &state.released)
            for (id, lane) in state.lanes {
                if lane.holdsLockAwake {
                    work.exchange.wake.append(id)
                    state.lanes[id]?.gaveLockBack()
                }
                guard !state.isDraining else { continue }
                switch lane.polling {
                case .asleep, .benched: continue
                case .at(let instant) where instant > now:
                    if lane.wanted > 0 { work.nextPoll = min(work.nextPoll ?? instant, instant) }
                    continue
                case .at, .due: break
                }
                let wanted = lane.wanted
                guard wanted > 0 else { continue }
                if lane.wantsSleep { work.exchange.sleep.append(id) }
                work.exchange.requests.append(
                    ClaimRequest(
                        subscription: id, count: wanted, floor: lane.floor, removes: lane.route.guarantee == .atMostOnce
                    ))
            }
            return work
        }
    }

    /// Puts results back that could not be recorded: the database is away.
    func putBack(_ work: Work) {
        state.withLock { $0.finished.insert(contentsOf: work.exchange.finished, at: 0) }
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
            for attempt in outcome.sleepAttempts { state.lanes[attempt.subscription]?.sleepTried(attempt) }
            var requests: [HTTPRequest] = []
            for request in exchange.requests {
                let id = request.subscription
                let deliveries = bySubscription[id] ?? []
                guard state.lanes[id] != nil else {
                    state.released += deliveries
                    continue
                }
                state.lanes[id]!.claimed(request.count, deliveries, now: now)
                state.lanes[id]!.floor = floor.raised(
                    state.lanes[id]!.floor, asked: request.count, got: deliveries.count, newest: deliveries.last?.id)
                if deliveries.count == request.count { crowded.append(id) }
                if let filter = state.lanes[id]!.route.filter, !deliveries.isEmpty {
                    state.lanes[id]!.enteredFilter(deliveries.count)
                    toFilter.append((id, filter, deliveries))
                } else {
                    for delivery in deliveries { state.lanes[id]!.enqueued(delivery) }
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

    // MARK: - Filters

    private func filter(_ deliveries: [ClaimedDelivery], by filter: Expression, lane: Int32) {
        Task {
            let inputs = deliveries.map { (filter, $0.filterInput) }
            let verdicts = await evaluator.evaluate(inputs)
            var passed: [ClaimedDelivery] = []
            var finished: [FinishedTry] = []
            for (delivery, verdict) in zip(deliveries, verdicts) {
                switch verdict {
                case .success(let value) where value.isNull || value == .bool(false):
                    finished.append(ended(delivery, "filtered", .done, isRecorded: false))
                case .success: passed.append(delivery)
                case .failure(let error):
                    finished.append(
                        ended(
                            delivery, "failed", .dead(reason: DeliveryMachine.Reason.expression.rawValue),
                            error: "filter: \(error)", isRecorded: true))
                }
            }
            let requests = state.withLock { state in
                state.lanes[lane]?.leftFilter(deliveries.count)
                finish(finished, lane, &state)
                var requests: [HTTPRequest] = []
                guard state.lanes[lane] != nil, !state.isDraining else {
                    state.released += passed
                    return requests
                }
                for delivery in passed { state.lanes[lane]!.enqueued(delivery) }
                pump(lane, &state, .now, into: &requests)
                return requests
            }
            submit(requests)
            wakeup.signal()
        }
    }

    // MARK: - Sending

    /// Fills the lane's room from its buffer.
    private func pump(
        _ id: Int32, _ state: inout State, _ now: ContinuousClock.Instant, into requests: inout [HTTPRequest]
    ) {
        // A lease that ran out on this side has run out for everybody: what is buffered may be in flight elsewhere.
        guard now < state.leaseEnds || state.lanes[id]!.route.guarantee == .atMostOnce else { return }
        while state.sent.count < limit, let delivery = state.lanes[id]!.next() {
            guard let message = delivery.message else {
                end(
                    ended(
                        delivery, "failed", .dead(reason: "message-missing"), error: "the log holds no such message",
                        isRecorded: true), id, &state, now)
                continue
            }
            guard !message.isExpired else {
                end(ended(delivery, "expired", .done, isRecorded: true), id, &state, now)
                continue
            }
            let request = state.nextRequest
            state.nextRequest += 1
            state.sent[request] = Sent(delivery: delivery, lane: id)
            requests.append(DeliveryRequest.make(id: request, delivery, message, state.lanes[id]!.route))
        }
    }

    private func submit(_ requests: [HTTPRequest]) {
        guard !requests.isEmpty else { return }
        client.withLock { $0 }?.submit(requests)
    }

    /// On the HTTP client's thread: decides on each answer, and sends the next ones without asking the database.
    private func completed(_ exchanges: [HTTPExchange]) {
        let now = ContinuousClock.now
        let wallClock = Timestamp.now()
        let requests = state.withLock { state in
            var touched: Set<Int32> = []
            for exchange in exchanges {
                guard let sent = state.sent.removeValue(forKey: exchange.id), let lane = state.lanes[sent.lane] else {
                    continue
                }
                touched.insert(sent.lane)
                end(finished(exchange, sent, lane.route, wallClock), sent.lane, &state, now)
                metrics.handlerDuration(lane.route.subscription).observe(exchange.duration)
            }
            var requests: [HTTPRequest] = []
            // When all lanes together were at their limit, the room that was made is for any of them.
            let wasFull = state.sent.count + exchanges.count >= limit
            for id in wasFull ? Set(state.lanes.keys) : touched { pump(id, &state, now, into: &requests) }
            return requests
        }
        submit(requests)
        wakeup.signal()
    }

    private func end(_ result: FinishedTry, _ lane: Int32, _ state: inout State, _ now: ContinuousClock.Instant) {
        state.lanes[lane]?.ended(now: now)
        finish([result], lane, &state)
    }

    private func finish(_ results: [FinishedTry], _ lane: Int32, _ state: inout State) {
        state.finished += results
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

    private func ended(
        _ delivery: ClaimedDelivery, _ outcome: String, _ ending: FinishedTry.Ending, error: String? = nil,
        isRecorded: Bool
    ) -> FinishedTry {
        FinishedTry(
            delivery: delivery, attempt: delivery.attempts + 1, outcome: outcome, error: error, ending: ending,
            isRecorded: isRecorded)
    }

    // MARK: - Deciding

    private func finished(_ exchange: HTTPExchange, _ sent: Sent, _ route: Route, _ now: Timestamp) -> FinishedTry {
        let delivery = sent.delivery
        let attempt = delivery.attempts + 1
        var result = FinishedTry(
            delivery: delivery, attempt: attempt, outcome: "succeeded", status: exchange.status,
            duration: exchange.duration,
            ending: .done, isRecorded: route.recordsAll)
        if case .failure(let failure) = exchange.result, case .cancelled(sent: false) = failure.kind {
            // Never sent: goes back as it came.
            result.outcome = "cancelled"
            result.ending = .again(after: .zero, attempts: delivery.attempts)
            result.isRecorded = false
            return result
        }
        let outcome = TryOutcome(exchange.result, policy: route.machine.policy, now: now)
        if outcome == .succeeded {
            if attempt == 1, let message = delivery.message {
                metrics.deliveryLag(route.subscription).observe(now - message.publishedAt)
            }
            return result
        }
        result.isRecorded = true
        let decision: DeliveryMachine.Decision
        switch outcome {
        case .refused(let error) where error.type == DeliveryMachine.Reason.outputTooLarge.rawValue:
            decision = route.machine.giveUp(.outputTooLarge, error)
        default:
            decision = route.machine.decide(
                outcome, attempt: attempt, elapsed: (delivery.elapsed ?? .zero) + exchange.duration,
                random: Double.random(in: 0..<1))
        }
        if case .refused = outcome { result.outcome = "refused" } else { result.outcome = "failed" }
        switch decision {
        case .succeed: break
        case .retry(let delay, let countsAttempt, let error):
            result.error = error?.message
            if !countsAttempt { result.outcome = "ongoing" }
            result.ending = .again(after: delay, attempts: countsAttempt ? attempt : delivery.attempts)
        case .deadLetter(let reason, let error):
            result.error = error.message
            result.ending = .dead(reason: reason.rawValue)
        case .drop(let error):
            result.error = error.message
        }
        if delivery.owner == nil {
            // At most once: whatever it came to, there is no second try.
            result.ending = .done
        }
        report(result, route)
        return result
    }

    private func report(_ result: FinishedTry, _ route: Route) {
        let delivery = result.delivery
        switch result.ending {
        case .dead(let reason):
            log.error(
                "delivery.dead",
                [
                    "subscription": route.subscription, "message": "\(delivery.messageID)", "attempt": result.attempt,
                    "reason": reason, "error": result.error,
                ], limitPerSecond: 20)
        case .again(let delay, _) where result.outcome != "ongoing":
            log.warning(
                "delivery.failed",
                [
                    "subscription": route.subscription, "message": "\(delivery.messageID)", "attempt": result.attempt,
                    "error": result.error, "retry_in": delay,
                ], limitPerSecond: 20)
        case .again: break
        case .done:
            log.warning(
                "delivery.dropped",
                ["subscription": route.subscription, "message": "\(delivery.messageID)", "error": result.error],
                limitPerSecond: 20)
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
        client.withLock { $0 }?.cancelAll()
    }

    func close() {
        client.withLock { $0.take() }?.close()
    }
}

extension HTTPExchange {
    fileprivate var status: Int? {
        if case .success(let response) = result { response.status } else { nil }
    }
}

extension ClaimedDelivery {
    /// What a filter sees: `.payload .topic .key .headers`.
    fileprivate var filterInput: [UInt8] {
        var input = Array(#"{"payload":"#.utf8)
        input += message?.payload ?? Array("null".utf8)
        input += #","topic":"#.utf8
        JSON(message?.topic).write(into: &input)
        input += #","key":"#.utf8
        JSON(message?.key).write(into: &input)
        input += #","headers":"#.utf8
        input += message?.headers ?? Array("{}".utf8)
        input.append(UInt8(ascii: "}"))
        return input
    }
}
