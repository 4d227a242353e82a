import Delivery
import HTTPClient
import Primitives
import Store
import Synchronization
import Telemetry

/// Batches: many messages in one request, each with an end of its own.
extension Dispatcher {
    /// Fills the lane's room from its buffer with batches that are full or have waited long enough.
    func pumpBatches(
        _ id: Int32, _ state: inout State, _ now: ContinuousClock.Instant, into requests: inout [HTTPRequest]
    ) {
        let share = share(state)
        while state.sent.count < limit || state.lanes[id]!.inFlight < share,
            state.lanes[id]!.isBatchReady(now: now, lingers: !state.isDraining),
            let admitted = state.lanes[id]!.isGated ? admit(id, &state, now) : (nil, false),
            let deliveries = state.lanes[id]!.nextBatch(now: now, lingers: !state.isDraining)
        {
            var sent: [ClaimedDelivery] = []
            sent.reserveCapacity(deliveries.count)
            for delivery in deliveries {
                switch sendable(delivery) {
                case .success: sent.append(delivery)
                case .failure(let unsendable): finish([unsendable.result], id, &state)
                }
            }
            guard let first = sent.first else {
                _ = admitted.gate?.ended(.nothing, isProbe: admitted.isProbe, now: now)
                continue
            }
            let request = state.nextRequest
            state.nextRequest += 1
            state.lanes[id]!.began()
            state.sent[request] = Sent(
                delivery: first, lane: id, batch: sent, gate: admitted.gate, isProbe: admitted.isProbe)
            let route = state.lanes[id]!.route
            metrics.batchSize(route.subscription).observe(Double(sent.count))
            requests.append(fenced(BatchRequest.make(id: request, sent, route, now: .now() + state.clockOffset), state))
        }
    }

    /// Sends the batches whose time to wait for more is over.
    ///
    /// - Returns: when the next one's is.
    func sendLingering(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        var requests: [HTTPRequest] = []
        let next = state.withLock { state in
            var next: ContinuousClock.Instant?
            for id in state.lanes.keys {
                guard let ends = state.lanes[id]!.lingerEnds else { continue }
                if ends <= now || state.isDraining { pump(id, &state, now, into: &requests) }
                // One that has no room is sent when a request ends.
                if let ends = state.lanes[id]!.lingerEnds, ends > now { next = min(next ?? ends, ends) }
            }
            return next
        }
        submit(requests)
        return next
    }

    struct AnsweredBatch {
        let exchange: HTTPExchange
        let deliveries: [ClaimedDelivery]
        let lane: Int32
        let route: Route
        /// The database's time.
        let now: Timestamp
        let isForgiven: Bool

        init(
            _ exchange: HTTPExchange, _ deliveries: [ClaimedDelivery], _ lane: Lane, at now: Timestamp, isForgiven: Bool
        ) {
            self.exchange = exchange
            self.deliveries = deliveries
            self.lane = lane.id
            route = lane.route
            self.now = now
            self.isForgiven = isForgiven
        }
    }

    /// Decides on each message of these batches, outside of the lock: there are answers to read.
    func completed(_ batches: [AnsweredBatch], _ now: ContinuousClock.Instant) {
        guard !batches.isEmpty else { return }
        let results = batches.map { finished($0) }
        let requests = state.withLock { state in
            let wasFull = state.sent.count + batches.count >= limit
            for (batch, results) in zip(batches, results) {
                state.lanes[batch.lane]?.ended(results.count, now: now)
                finish(results, batch.lane, &state)
            }
            if wasFull { return pumpAll(&state, now) }
            var requests: [HTTPRequest] = []
            for id in Set(batches.map(\.lane)) where state.lanes[id] != nil {
                pump(id, &state, now, into: &requests)
            }
            return requests
        }
        submit(requests)
    }

    private func finished(_ batch: AnsweredBatch) -> [FinishedTry] {
        let (exchange, route) = (batch.exchange, batch.route)
        metrics.handlerDuration(route.subscription).observe(exchange.duration)
        if case .failure(let failure) = exchange.result, failure.isNotTheHandlers {
            return batch.deliveries.map { notSent($0, failure) }
        }
        let whole = TryOutcome(exchange.result, policy: route.machine.policy, now: batch.now)
        var answer: BatchAnswer?
        if whole == .succeeded, case .success(let response) = exchange.result {
            answer = BatchAnswer(response, now: batch.now)
            report(answer, on: batch)
        }
        return batch.deliveries.map { delivery in
            finished(
                delivery, answer?.outcome(of: delivery.messageID) ?? whole, status: exchange.status,
                took: exchange.duration, route, batch.now, isForgiven: batch.isForgiven,
                answer: answer?.reply(to: delivery.messageID) ?? .null)
        }
    }

    private func report(_ answer: BatchAnswer?, on batch: AnsweredBatch) {
        guard let answer else { return }
        let unknown = answer.count(notAmong: batch.deliveries.map(\.messageID))
        guard unknown > 0 else { return }
        log.warning(
            "batch.unknown_ids",
            [
                "subscription": batch.route.subscription, "count": unknown,
                "hint": "the answer has results of messages that were not in the batch; they are ignored",
            ], limitPerSecond: 1)
    }
}
