import Delivery
import Primitives
import Store
import Synchronization
import WorkflowFiles

/// What keeps requests from an endpoint: its limits and its circuit breaker, for all that one worker sends to it, messages and
/// calls of sagas alike. Whoever sends asks first; whoever was told to wait comes again at the instant, or is called.
final class EndpointGate: Sendable {
    /// Who sends: those of an endpoint come in turn.
    enum Claimant: Hashable, Sendable {
        case lane(Int32)
        case sagas
    }

    enum Admission: Sendable, Equatable {
        /// One request may go out now; its end is to be told.
        case send(isProbe: Bool)
        /// Not before the instant; nil for when it is called.
        case wait(until: ContinuousClock.Instant?)
    }

    /// What the end of a request says of the endpoint.
    enum Word: Sendable {
        case works
        case fails(String)
        case nothing
    }

    struct Ending: Sendable {
        /// It failed, and the breaker is open: that uses up no attempt.
        var isForgiven = false
        /// Whose turn it is for the room that was made.
        var next: Claimant?
    }

    fileprivate struct Place: Sendable {
        let claimant: Claimant
        /// When it ought to have come; nil while it waits to be called.
        var expected: ContinuousClock.Instant?
    }

    fileprivate struct State: Sendable {
        var concurrency: Share?
        var rate: Share?
        var bucket: TokenBucket?
        var breaker: CircuitBreaker?
        var inUse = 0
        /// Those who wait, in order.
        var places: [Place] = []
        // Since the last review
        var mostInUse = 0
        var sent = 0
        var wasHeld = false
        var reviewedAt = ContinuousClock.now
        var couldBeLessSince: ContinuousClock.Instant?
        /// For the database.
        var change: LimitExchange.BreakerChange?
        var publishedFailures = 0
        var lastError = ""
        var isToldOpen = false
        /// Since when it has a probe that it does not send.
        var idleProbeSince: ContinuousClock.Instant?
    }

    let endpoint: String
    private let alarm: BeatAlarm
    private let state: Mutex<State>
    /// How long one that was called, or whose time came, may take to come.
    private static let patience = Duration.seconds(1)
    /// How long less has to be enough before less is asked for.
    private static let reluctance = Duration.seconds(3)

    init(_ endpoint: String, alarm: BeatAlarm) {
        self.endpoint = endpoint
        self.alarm = alarm
        state = Mutex(State())
    }

    /// - Parameter limit: what the worker sends at all.
    func define(_ definition: EndpointDefinition, limit: Int) {
        state.withLock { state in
            func share(_ old: Share?, _ kind: String, _ amount: Int64?) -> Share? {
                guard let amount else { return nil }
                var share = old ?? Share(name: "endpoint:\(endpoint):\(kind)", amount: amount, need: 0)
                share.amount = amount
                return share
            }
            state.concurrency = share(state.concurrency, "concurrency", definition.concurrency.map { Int64($0) })
            state.rate = share(state.rate, "rate", definition.rate?.millionths)
            if state.rate == nil { state.bucket = nil }
            if let policy = definition.breaker {
                if state.breaker == nil { state.breaker = CircuitBreaker(policy) }
                state.breaker?.policy = policy
            } else {
                state.breaker = nil
                state.change = nil
            }
        }
    }

    // MARK: - Sending

    func admit(_ claimant: Claimant, now: ContinuousClock.Instant) -> Admission {
        state.withLock { state in
            switch state.breaker?.state {
            case .open(let retryAt) where retryAt > now: return .wait(until: retryAt)
            case .asking, .probing(sentAt: .some): return .wait(until: nil)
            case nil, .closed, .open, .probing(sentAt: nil): break
            }
            state.places.removeAll { $0.expected.map { $0 + Self.patience < now } ?? false }
            let place = state.places.firstIndex { $0.claimant == claimant }
            let ahead = place ?? state.places.count
            if let share = state.concurrency, Int(share.granted) - state.inUse <= ahead {
                state.concurrency?.need = share.amount
                if state.concurrency?.hasNews == true { alarm.ring() }
                state.wait(claimant, at: place, until: nil)
                return .wait(until: nil)
            }
            if state.rate != nil {
                guard let next = state.bucket?.next(behind: ahead, now: now) else {
                    state.wait(claimant, at: place, until: nil)
                    return .wait(until: nil)
                }
                if next > now {
                    if let amount = state.rate?.amount { state.rate?.need = amount }
                    if state.rate?.hasNews == true { alarm.ring() }
                    state.wait(claimant, at: place, until: next)
                    return .wait(until: next)
                }
            }
            var isProbe = false
            switch state.breaker?.admission(now: now) {
            case nil: break
            case .send(let probes): isProbe = probes
            case .wait(let until): return .wait(until: until)
            case .ask:
                state.change = .askedForProbe
                alarm.ring()
                return .wait(until: nil)
            case .waitForWord: return .wait(until: nil)
            }
            if let place { state.places.remove(at: place) }
            _ = state.bucket?.take(now: now)
            state.inUse += 1
            state.sent += 1
            state.mostInUse = max(state.mostInUse, state.inUse)
            return .send(isProbe: isProbe)
        }
    }

    /// It has nothing to send now. Returns whose turn it is, if there is room.
    func withdraw(_ claimant: Claimant, now: ContinuousClock.Instant) -> Claimant? {
        state.withLock { state in
            guard let place = state.places.firstIndex(where: { $0.claimant == claimant }) else { return nil }
            state.places.remove(at: place)
            return state.next(now)
        }
    }

    func ended(_ word: Word, isProbe: Bool, now: ContinuousClock.Instant) -> Ending {
        state.withLock { state in
            state.inUse -= 1
            state.concurrency?.ended(inUse: Int64(state.inUse))
            var ending = Ending()
            switch word {
            case .works:
                if state.breaker?.succeeded(isProbe: isProbe) == .close { state.change = .closed }
            case .nothing: state.breaker?.endedWithoutWord(isProbe: isProbe)
            case .fails(let error):
                state.lastError = error
                if state.breaker?.failed(isProbe: isProbe, now: now) == .open { state.opened(now) }
                ending.isForgiven = state.breaker.map { $0.state != .closed } ?? false
            }
            ending.next = state.next(now)
            if state.change != nil || state.concurrency?.hasNews == true { alarm.ring() }
            return ending
        }
    }

    /// How much a lane may claim: never far more than what may be sent soon.
    func room(now: ContinuousClock.Instant) -> (inFlight: Int, ahead: Int, opensAt: ContinuousClock.Instant?) {
        state.withLock { state in
            var inFlight = Int.max
            switch state.breaker?.state {
            case .open(let retryAt) where retryAt > now: return (0, 0, retryAt)
            case .open, .asking, .probing: inFlight = 1
            case nil, .closed: break
            }
            if let share = state.concurrency { inFlight = min(inFlight, Int(share.granted)) }
            guard let share = state.rate else { return (inFlight, .max, nil) }
            return (share.granted > 0 ? inFlight : 0, share.claimAhead, nil)
        }
    }

    // MARK: - Shares

    var standings: [Standing] {
        state.withLock { state in
            [state.concurrency, state.rate].compactMap { share in
                share.map {
                    Standing(name: $0.name, amount: $0.amount, need: $0.need, granted: $0.granted, isCommon: false)
                }
            }
        }
    }

    /// What it has, once what it can do without is given up; nil for a limit that is not its own.
    func settle(_ name: String, target: Int64, now: ContinuousClock.Instant) -> Int64? {
        state.withLock { state in
            if state.concurrency?.name == name {
                state.concurrency?.settled(target: target, inUse: Int64(state.inUse))
                return state.concurrency?.granted
            }
            guard state.rate?.name == name else { return nil }
            state.rate?.settled(target: target, inUse: 0)
            state.fillAtRate(now)
            return state.rate?.granted
        }
    }

    func grow(_ name: String, to granted: Int64, isWhole: Bool, now: ContinuousClock.Instant) {
        state.withLock { state in
            if state.concurrency?.name == name { state.concurrency?.grew(to: granted) }
            guard state.rate?.name == name else { return }
            state.rate?.grew(to: granted)
            state.fillAtRate(now, isFull: isWhole)
        }
    }

    func sessionBegan() {
        state.withLock { state in
            state.concurrency?.sessionBegan()
            state.rate?.sessionBegan()
            state.bucket = nil
            state.publishedFailures = 0
        }
    }

    /// What it needs by what it has sent: more at once, less only when it has been enough for a while. A probe that it does not
    /// send goes back.
    func review(now: ContinuousClock.Instant) {
        state.withLock { state in
            let elapsed = max(0.01, (now - state.reviewedAt).seconds)
            let isHeld = state.wasHeld
            let perSecond = Double(state.sent) / elapsed
            var couldBeLess = false
            func need(of share: Share?, _ used: Double) -> Int64? {
                guard let share else { return nil }
                // In steps of two, so that it seldom changes.
                var need: Int64 = used > 0 ? 1 : 0
                while need > 0, need < share.amount, Double(need) < used * 2 { need *= 2 }
                if isHeld { need = share.amount }
                need = min(need, share.amount)
                guard need < share.need else { return need }
                couldBeLess = true
                let since = state.couldBeLessSince ?? now
                return now - since > Self.reluctance ? need : share.need
            }
            if let need = need(of: state.concurrency, Double(state.mostInUse)) { state.concurrency?.need = need }
            if let need = need(of: state.rate, perSecond * 1_000_000) { state.rate?.need = need }
            state.couldBeLessSince = couldBeLess ? state.couldBeLessSince ?? now : nil
            if case .probing(sentAt: nil)? = state.breaker?.state, state.change == nil {
                let since = state.idleProbeSince ?? now
                state.idleProbeSince = since
                if now - since > Self.patience {
                    state.breaker?.wasOpen(retryAt: now, isOwn: false)
                    state.change = .gaveProbeBack
                }
            } else {
                state.idleProbeSince = nil
            }
            state.reviewedAt = now
            state.mostInUse = state.inUse
            state.sent = 0
            state.wasHeld = !state.places.isEmpty
        }
    }

    /// Whether the others are to know something at once.
    func hasNews(now: ContinuousClock.Instant, peers: Int) -> Bool {
        state.withLock { state in
            if state.change != nil { return true }
            if let count = state.breaker?.count(now: now), count != state.publishedFailures, peers > 0 { return true }
            return state.concurrency?.hasNews == true || state.rate?.hasNews == true
        }
    }

    var isSatisfied: Bool {
        state.withLock { state in
            (state.concurrency?.isSatisfied ?? true) && (state.rate?.isSatisfied ?? true)
        }
    }

    // MARK: - Breaker

    func takeChange() -> LimitExchange.BreakerChange? {
        state.withLock { $0.change.take() }
    }

    /// It could not be written.
    func putBack(_ change: LimitExchange.BreakerChange) {
        state.withLock { if $0.change == nil { $0.change = change } }
    }

    /// The number of failures that the database is to have, if it is another than it has.
    func takeFailures(now: ContinuousClock.Instant) -> Int? {
        state.withLock { state in
            guard let count = state.breaker?.count(now: now), count != state.publishedFailures else { return nil }
            state.publishedFailures = count
            return count
        }
    }

    /// It could not be written.
    func forgetPublished() {
        state.withLock { $0.publishedFailures = -1 }
    }

    /// What the database's word changes here.
    struct News: Sendable {
        /// Since it was last told.
        var hasOpened = false
        var hasClosed = false
        /// Those who wait are to come again.
        var hasMoved = false
    }

    /// What the database holds.
    ///
    /// - Parameter isOwn: whether this worker has the probe.
    func heard(
        _ breaker: LimitExchange.Breaker?, isOwn: Bool, failuresElsewhere: Int, now: ContinuousClock.Instant
    ) -> News {
        state.withLock { state in
            var news = News()
            // What it has found out itself meanwhile is newer.
            guard state.change == nil, let before = state.breaker?.state else { return news }
            if let breaker {
                // While another one has the probe, its word is awaited.
                let retryIn = breaker.prober == nil || isOwn ? breaker.retryIn : max(breaker.retryIn, .seconds(1))
                state.breaker?.wasOpen(retryAt: now + retryIn, isOwn: isOwn)
                news.hasOpened = !state.isToldOpen
                state.isToldOpen = true
            } else {
                state.breaker?.wasClosed()
                news.hasClosed = state.isToldOpen
                state.isToldOpen = false
                if state.breaker?.counted(elsewhere: failuresElsewhere, now: now) == .open {
                    state.opened(now)
                    alarm.ring()
                }
            }
            news.hasMoved = state.breaker?.state != before || news.hasClosed
            return news
        }
    }

    // MARK: - Telling

    var isOpen: Bool? { state.withLock { $0.breaker.map { $0.state != .closed } } }
    var lastError: String { state.withLock { $0.lastError } }
    var inUse: Int { state.withLock { $0.inUse } }
}

extension EndpointGate.State {
    fileprivate mutating func wait(
        _ claimant: EndpointGate.Claimant, at place: Int?, until: ContinuousClock.Instant?
    ) {
        wasHeld = true
        if let place {
            places[place].expected = until
        } else {
            places.append(.init(claimant: claimant, expected: until))
        }
    }

    /// Whose turn it is, if there is room: it is expected now.
    fileprivate mutating func next(_ now: ContinuousClock.Instant) -> EndpointGate.Claimant? {
        guard let first = places.first, first.expected == nil,
            concurrency.map({ Int($0.granted) > inUse }) ?? true
        else { return nil }
        places[0].expected = now
        return first.claimant
    }

    fileprivate mutating func opened(_ now: ContinuousClock.Instant) {
        guard let policy = breaker?.policy else { return }
        change = .opened(for: policy.openFor, failures: isToldOpen ? 1 : policy.failures, error: lastError)
        places = []
    }

    fileprivate mutating func fillAtRate(_ now: ContinuousClock.Instant, isFull: Bool = false) {
        guard let share = rate else { return }
        let rate = Double(share.granted) / 1_000_000
        if bucket == nil, rate > 0 { bucket = TokenBucket(rate: rate, isFull: isFull, now: now) }
        bucket?.changed(to: rate, now: now)
    }
}

extension Share {
    /// Of a rate: what it allows in about a tenth of a second.
    var claimAhead: Int { max(1, Int(granted / 10_000_000)) }
}
