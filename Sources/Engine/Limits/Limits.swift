import Delivery
import Postgres
import Primitives
import Store
import Synchronization
import Telemetry
import WorkflowFiles

/// The limits that this worker shares with all others: those of subscriptions, which the dispatcher counts, and those of
/// endpoints, with their circuit breakers. Negotiates about its shares in the database.
final class Limits: Sendable {
    /// Who counts what is in use of limits of subscriptions.
    struct Lanes: Sendable {
        var standings: @Sendable () -> [Standing]
        /// As of `EndpointGate`.
        var settle: @Sendable (_ name: String, _ target: Int64) -> Int64?
        var grow: @Sendable (_ name: String, _ granted: Int64, _ isWhole: Bool) -> Void
        var hasNews: @Sendable () -> Bool
        /// Whether all have what they are to have.
        var isSatisfied: @Sendable () -> Bool
    }

    private struct State: Sendable {
        var gates: [String: EndpointGate] = [:]
        var lanes: Lanes?
        /// Calls those who wait at a gate; nil stands for all of them.
        var wake: @Sendable (EndpointGate, EndpointGate.Claimant?) -> Void = { _, _ in }
        var isDraining = false
        /// What the database had when it was last looked at; nil when it is to be looked at again in any case.
        var digest: String?
        /// A limit is less than those who need it: they take turns.
        var isContended = false
    }

    private let state = Mutex(State())
    /// One negotiation at a time: the loop's at its beginning, and the beat's.
    private let negotiation = Mutex(())
    private let limit: Int
    private let alarm: BeatAlarm
    private let log: Log

    /// - Parameter limit: requests that the worker has in flight at all.
    init(limit: Int, alarm: BeatAlarm, log: Log, metrics: WorkerMetrics) {
        self.limit = limit
        self.alarm = alarm
        self.log = log
        let registry = metrics.registry
        registry.gauge(
            "outrider_limit", help: "This worker's share of a limit: requests in flight, or of a rate, a second.",
            labels: ["limit"]
        ) { [weak self] in
            self?.standings.map {
                ([$0.name], $0.name.hasSuffix(":rate") ? Double($0.granted) / 1e6 : Double($0.granted))
            }
                ?? []
        }
        registry.gauge(
            "outrider_limit_in_use", help: "Requests of this worker that an endpoint's limit counts now.",
            labels: ["limit"]
        ) { [weak self] in
            self?.gates.filter { $0.standings.contains { $0.name.hasSuffix(":concurrency") } }
                .map { (labels: ["endpoint:\($0.endpoint):concurrency"], value: Double($0.inUse)) } ?? []
        }
        registry.gauge(
            "outrider_breaker_open", help: "1 while an endpoint's circuit breaker keeps requests from it.",
            labels: ["endpoint"]
        ) { [weak self] in
            self?.gates.compactMap { gate in gate.isOpen.map { ([gate.endpoint], $0 ? 1 : 0) } } ?? []
        }
    }

    func connect(
        _ lanes: Lanes, wake: @escaping @Sendable (EndpointGate, EndpointGate.Claimant?) -> Void
    ) {
        state.withLock {
            $0.lanes = lanes
            $0.wake = wake
        }
    }

    private var gates: [EndpointGate] {
        state.withLock { $0.gates.values.sorted { $0.endpoint < $1.endpoint } }
    }

    private var standings: [Standing] {
        (state.withLock { $0.lanes }?.standings() ?? []) + gates.flatMap(\.standings)
    }

    // MARK: - From those who send

    /// The gate of an endpoint; nil for one without limits and breaker.
    func gate(for definition: EndpointDefinition) -> EndpointGate? {
        let isFree = definition.concurrency == nil && definition.rate == nil && definition.breaker == nil
        let gate = state.withLock { state in
            if isFree {
                state.gates[definition.name] = nil
                return EndpointGate?.none
            }
            let gate = state.gates[definition.name] ?? EndpointGate(definition.name, alarm: alarm)
            state.gates[definition.name] = gate
            return gate
        }
        gate?.define(definition, limit: limit)
        if gate?.hasNews(now: .now, peers: 0) == true { alarm.ring() }
        return gate
    }

    /// Calls whoever waits there.
    func call(_ claimant: EndpointGate.Claimant?, at gate: EndpointGate) {
        state.withLock { $0.wake }(gate, claimant)
    }

    func drain() {
        state.withLock { $0.isDraining = true }
        alarm.ring()
    }

    func sessionBegan() {
        for gate in gates { gate.sessionBegan() }
        state.withLock { $0.digest = nil }
    }

    // MARK: - Negotiating

    /// Negotiates if there is a reason to.
    ///
    /// - Parameters:
    ///   - digest: of the beat.
    ///   - peers: how many other workers there are.
    func tend(
        _ digest: String, peers: Int, on connection: Connection, token: UUID, worker: String
    ) throws {
        let now = ContinuousClock.now
        for gate in gates { gate.review(now: now) }
        let (lanes, known, isContended) = state.withLock { ($0.lanes, $0.digest, $0.isContended) }
        let hasNews =
            known != digest || isContended || lanes?.hasNews() == true
            || gates.contains { $0.hasNews(now: now, peers: peers) }
            || !(lanes?.isSatisfied() ?? true && gates.allSatisfy(\.isSatisfied))
        if hasNews { try negotiate(on: connection, token: token, worker: worker, joins: false) }
    }

    /// - Parameter joins: whether the session is new.
    func negotiate(on connection: Connection, token: UUID, worker: String, joins: Bool) throws {
        try negotiation.withLock { _ in
            let now = ContinuousClock.now
            let gates = gates
            var changes: [(endpoint: String, change: LimitExchange.BreakerChange)] = []
            for gate in gates { if let change = gate.takeChange() { changes.append((gate.endpoint, change)) } }
            var settlement = Settlement()
            var book: LimitExchange.Book?
            do {
                let digest = try LimitExchange(connection, token: token, worker: worker).run(changes, joins: joins) {
                    found in
                    book = found
                    settlement = settle(found, token, gates, now)
                    return settlement.answer
                }
                state.withLock { $0.digest = digest }
            } catch {
                for gate in gates {
                    for (endpoint, change) in changes where endpoint == gate.endpoint { gate.putBack(change) }
                    gate.forgetPublished()
                }
                state.withLock { $0.digest = nil }
                // Somebody holds the lock for long: the next beat tries again.
                guard let error = error as? PostgresError, .lockNotAvailable ~= error else { throw error }
                return
            }
            for growth in settlement.growths { grow(growth, gates, now) }
            if let book { hear(book, token, gates, now) }
        }
    }

    private struct Settlement {
        var answer = LimitExchange.Answer()
        var growths: [(name: String, granted: Int64, isWhole: Bool)] = []
    }

    private func settle(
        _ book: LimitExchange.Book, _ token: UUID, _ gates: [EndpointGate], _ now: ContinuousClock.Instant
    ) -> Settlement {
        let (lanes, isDraining) = state.withLock { ($0.lanes, $0.isDraining) }
        var settlement = Settlement()
        let standings = standings
        var isContended = false
        for standing in standings {
            let rows = book.shares[standing.name] ?? []
            let row = rows.first { $0.worker == token }
            let need = isDraining ? -1 : standing.need
            var claims = rows.filter { $0.worker != token }
                .map { LimitShares.Claim(holder: $0.worker, need: $0.need, granted: $0.granted) }
            claims.append(LimitShares.Claim(holder: token, need: need, granted: row?.granted ?? 0))
            if !standing.isCommon, Int64(claims.count { $0.need > 0 }) > standing.amount { isContended = true }
            let target =
                isDraining
                ? 0
                : LimitShares.targets(
                    of: standing.amount, among: claims.filter { $0.need >= 0 },
                    turn: standing.isCommon ? nil : book.turn)[token] ?? 0
            guard
                let kept = gates.lazy.compactMap({ $0.settle(standing.name, target: target, now: now) }).first
                    ?? lanes?.settle(standing.name, target)
            else { continue }
            let granted = max(
                kept,
                LimitShares.grant(token, target: target, inUse: kept, of: standing.amount, among: claims))
            if granted > kept {
                settlement.growths.append((standing.name, granted, rows.allSatisfy { $0.worker == token }))
            }
            let share = LimitExchange.Share(
                name: standing.name, worker: token, amount: standing.amount, granted: granted, need: need)
            guard share != row else { continue }
            settlement.answer.shares.append(share)
            // Growing takes nothing from anybody, and gives nobody anything.
            let isOfUse =
                row == nil || need != row?.need || granted < row?.granted ?? 0 || standing.amount != row?.amount
            if isOfUse, rows.contains(where: { $0.worker != token }) { settlement.answer.tells = true }
        }
        state.withLock { $0.isContended = isContended }
        let names = Set(standings.map(\.name))
        settlement.answer.left = book.shares.values.joined().filter { $0.worker == token && !names.contains($0.name) }
            .map(\.name)
        if !settlement.answer.left.isEmpty { settlement.answer.tells = true }
        for gate in gates {
            if let count = gate.takeFailures(now: now) { settlement.answer.failures[gate.endpoint] = count }
        }
        return settlement
    }

    private func grow(
        _ growth: (name: String, granted: Int64, isWhole: Bool), _ gates: [EndpointGate], _ now: ContinuousClock.Instant
    ) {
        let (lanes, wake) = state.withLock { ($0.lanes, $0.wake) }
        lanes?.grow(growth.name, growth.granted, growth.isWhole)
        for gate in gates where growth.name.hasPrefix("endpoint:\(gate.endpoint):") {
            gate.grow(growth.name, to: growth.granted, isWhole: growth.isWhole, now: now)
            wake(gate, nil)
        }
    }

    // MARK: - Breakers

    private func hear(
        _ book: LimitExchange.Book, _ token: UUID, _ gates: [EndpointGate], _ now: ContinuousClock.Instant
    ) {
        let wake = state.withLock { $0.wake }
        for gate in gates {
            let breaker = book.breakers[gate.endpoint]
            let news = gate.heard(
                breaker, isOwn: breaker?.prober == token, failuresElsewhere: book.failures[gate.endpoint] ?? 0, now: now
            )
            if news.hasOpened {
                log.error(
                    "breaker.opened",
                    [
                        "endpoint": gate.endpoint, "by": breaker?.openedBy, "failures": breaker?.failures,
                        "error": breaker?.error, "retry_in": breaker?.retryIn,
                    ])
            }
            if news.hasClosed { log.info("breaker.closed", ["endpoint": gate.endpoint]) }
            if news.hasMoved { wake(gate, nil) }
        }
    }
}
