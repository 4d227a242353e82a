import HTTPClient
import Postgres
import Primitives
import Store
import Synchronization

/// What holds requests back that a lane has room for: the rate of its subscription, and the limits and the breaker of its
/// endpoint.
extension Dispatcher {
    /// Whether the next delivery of a lane may go out; nil when it has to wait.
    func admit(
        _ id: Int32, _ state: inout State, _ now: ContinuousClock.Instant
    ) -> (gate: EndpointGate?, isProbe: Bool)? {
        let gate = state.lanes[id]!.route.endpoint?.gate
        guard let first = state.lanes[id]!.first else {
            withdraw(id, from: gate, &state, now)
            return nil
        }
        // It ends without a request.
        if state.lanes[id]!.route.batch == nil, first.message?.isExpired ?? true { return (nil, false) }
        if let instant = state.lanes[id]!.waits(now: now) {
            state.lanes[id]!.heldUntil = instant
            withdraw(id, from: gate, &state, now)
            return nil
        }
        var isProbe = false
        if let gate {
            switch gate.admit(.lane(id), now: now) {
            case .send(let probes): isProbe = probes
            case .wait(let until):
                // It is called when there is room; the instant is the net under that.
                state.lanes[id]!.heldUntil = until ?? now + .milliseconds(200)
                return nil
            }
        }
        state.lanes[id]!.took(now: now)
        return (gate, isProbe)
    }

    /// The lane has nothing for its endpoint now: whose turn it is then is called.
    private func withdraw(
        _ id: Int32, from gate: EndpointGate?, _ state: inout State, _ now: ContinuousClock.Instant
    ) {
        guard let gate, let next = gate.withdraw(.lane(id), now: now) else { return }
        switch next {
        case .sagas: limits.call(next, at: gate)
        case .lane(let other):
            state.lanes[other]?.heldUntil = now
            wakeup.signal()
        }
    }

    /// Sends what may be sent now and could not before.
    ///
    /// - Returns: what the lane's endpoint has room for; nil where it has no limits.
    func sendHeld(
        _ id: Int32, _ state: inout State, _ now: ContinuousClock.Instant, _ work: inout Work
    ) -> (inFlight: Int, ahead: Int)? {
        if let instant = state.lanes[id]!.heldUntil, instant <= now {
            state.lanes[id]!.heldUntil = nil
            pump(id, &state, now, into: &work.requests)
        }
        if let instant = state.lanes[id]!.heldUntil { work.nextPoll = min(work.nextPoll ?? instant, instant) }
        guard let room = state.lanes[id]!.route.endpoint?.gate?.room(now: now) else { return nil }
        if let instant = room.opensAt { work.nextPoll = min(work.nextPoll ?? instant, instant) }
        return (room.inFlight, room.ahead)
    }

    /// There may be room at the gate; nil calls all who send there.
    func called(at gate: EndpointGate, _ claimant: EndpointGate.Claimant?) {
        let now = ContinuousClock.now
        let requests = state.withLock { state in
            var requests: [HTTPRequest] = []
            for (id, lane) in state.lanes where lane.route.endpoint?.gate === gate {
                if let claimant, claimant != .lane(id) { continue }
                pump(id, &state, now, into: &requests)
            }
            return requests
        }
        submit(requests)
        wakeup.signal()
    }

    // MARK: - Shares

    /// The limits of subscriptions, as `Limits` sees them.
    var limitedLanes: Limits.Lanes {
        Limits.Lanes(
            standings: { [weak self] in
                self?.state.withLock { state in
                    state.lanes.values.flatMap { lane in
                        [lane.share, lane.rateShare].compactMap(\.self).map {
                            Standing(
                                name: $0.name, amount: $0.amount, need: $0.need, granted: $0.granted, isCommon: true)
                        }
                    }
                } ?? []
            },
            settle: { [weak self] name, target in
                self?.state.withLock { state in
                    for id in state.lanes.keys {
                        if let kept = state.lanes[id]!.settle(name, target: target, now: .now) { return kept }
                    }
                    return nil
                }
            },
            grow: { [weak self] name, granted, isWhole in self?.grow(name, to: granted, isWhole) },
            hasNews: { [weak self] in
                self?.state.withLock { $0.lanes.values.contains { $0.hasNews } } ?? false
            },
            isSatisfied: { [weak self] in
                self?.state.withLock {
                    $0.lanes.values.allSatisfy { lane in
                        [lane.share, lane.rateShare].allSatisfy { $0?.isSatisfied ?? true }
                    }
                } ?? true
            })
    }

    private func grow(_ name: String, to granted: Int64, _ isWhole: Bool) {
        let now = ContinuousClock.now
        let requests = state.withLock { state in
            var requests: [HTTPRequest] = []
            for id in state.lanes.keys where state.lanes[id]!.holds(name) {
                state.lanes[id]!.grow(name, to: granted, isWhole: isWhole, now: now)
                pump(id, &state, now, into: &requests)
            }
            return requests
        }
        submit(requests)
        wakeup.signal()
    }
}
