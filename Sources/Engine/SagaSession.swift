import Delivery
import Expressions
import HTTPClient
import Postgres
import Primitives
import Sagas
import Store
import Synchronization
import Telemetry
import WorkflowFiles

/// What `SagaLoop` does under one token, on one connection: takes what others have for it, has the desk decide, writes the
/// decisions, claims more, and sends out what the decisions ask for.
final class SagaSession {
    /// Sagas of one type in memory at once. One that only waits is not in memory.
    private static let mostActive = 1000
    /// A saga that was taken over from dead workers so often is stuck.
    private static let mostRescues = 5

    private let loop: SagaLoop
    private let connection: Connection
    private let life: DeliveryLoop.Session
    private var lanes: [Int32: SagaLane] = [:]
    private var programs: [String: SagaProgram] = [:]
    private var endpoints: [String: ResolvedEndpoint] = [:]
    private var resolver: RouteResolver?
    private var unlocks: [Int32] = []
    /// Endpoints that may take calls that were held back.
    private var called: Set<String> = []
    private var floor = Floor()
    /// The net under lost notifications of mail.
    private var mailCheckedAt = ContinuousClock.now
    private var horizonReadAt = ContinuousClock.now - .seconds(1)
    /// Claims that failed are not made again at once.
    private var claimsAgainAt = ContinuousClock.now
    private var reloadsAt: ContinuousClock.Instant?
    private var cancelledAt = ContinuousClock.now - .seconds(1)

    init(_ loop: SagaLoop, _ connection: Connection, _ life: DeliveryLoop.Session) {
        self.loop = loop
        self.connection = connection
        self.life = life
    }

    /// Returns when stopped.
    ///
    /// - Throws: when the session is lost, or its worker was given up. Everything else it survives.
    func serve(_ desk: inout SagaDesk, began: () -> Void) throws {
        try connection.listen("outrider_wake")
        let time = try connection.query("select clock_timestamp()")[0].decode(0, as: Timestamp.self)
        loop.setClock(time)
        try load()
        began()
        while true {
            guard loop.session()?.token == life.token else {
                throw PostgresError.connectionLost("the worker began anew")
            }
            guard loop.holdsLease(life.token) else {
                // Others may take its sagas over at any moment, and then the beat says so; until it does, nothing is sent.
                heard(try connection.wait(timeout: .milliseconds(50)), &desk)
                continue
            }
            guard takeInbox(&desk) else { return }
            if let reloadsAt, reloadsAt <= .now { try reload() }
            desk.tick()
            sendOut((desk.takeUnsent(), []), &desk)
            sendHeld(&desk)
            try readMail(&desk)
            var exchange = SagaExchange()
            exchange.commits = desk.commits()
            let pause = ask(&exchange, desk)
            guard !exchange.isEmpty else {
                loop.show(desk, lanes: lanes)
                heard(try connection.wait(timeout: pause, or: loop.wakeup), &desk)
                continue
            }
            try run(exchange, &desk)
            loop.show(desk, lanes: lanes)
            heard(connection.takeNotifications(), &desk)
        }
    }

    // MARK: - From other threads

    /// False when the thread is to stop.
    private func takeInbox(_ desk: inout SagaDesk) -> Bool {
        let inbox = loop.takeInbox()
        desk.clock = inbox.clock
        for exchange in inbox.exchanges { desk.answered(exchange) }
        for (saga, number, evaluation, result) in inbox.evaluated {
            desk.evaluated(saga, number: number, evaluation, result)
        }
        for (saga, number, query, outcome) in inbox.queried {
            desk.queryEnded(saga, number: number, query, outcome)
        }
        for lane in inbox.resetFloors { lanes[lane]?.floor = 0 }
        for lane in inbox.woken + inbox.resetFloors { lanes[lane]?.polling.woken() }
        if inbox.mustReload { reloadsAt = .now }
        called.formUnion(inbox.called)
        if inbox.isDraining, !desk.isDraining { desk.drain() }
        let now = ContinuousClock.now
        if let ends = inbox.drainEnds, ends <= now, !desk.isIdle, now - cancelledAt > .seconds(1) {
            cancelledAt = now
            loop.client.withLock { $0 }?.cancelAll()
            loop.queries.cancelAll()
            desk.giveUpUnsent()
        }
        return !inbox.stops
    }

    // MARK: - What to ask for

    /// - Returns: how long there is nothing to do, if so.
    private func ask(_ exchange: inout SagaExchange, _ desk: SagaDesk) -> Duration {
        let now = ContinuousClock.now
        var pause = desk.sagas.isEmpty && !desk.isDraining ? Duration.seconds(30) : .milliseconds(500)
        if let reloadsAt { pause = min(pause, max(.zero, reloadsAt - now)) }
        swap(&exchange.wake, &unlocks)
        let active = desk.active
        for (id, lane) in lanes {
            if lane.polling.holdsLockAwake {
                exchange.wake.append(id)
                lanes[id]!.polling.gaveLockBack()
            }
            guard !desk.isDraining else { continue }
            guard let room = lane.startsSagas ? 500 : room(active[id, default: 0], of: desk.sagas.count) else {
                continue
            }
            switch lane.polling.state {
            case .asleep, .benched: continue
            case .at(let instant) where max(instant, claimsAgainAt) > now:
                pause = min(pause, max(instant, claimsAgainAt) - now)
                continue
            case .due where claimsAgainAt > now:
                pause = min(pause, claimsAgainAt - now)
                continue
            case .at, .due: break
            }
            if lane.polling.wantsSleep { exchange.sleep.append(id) }
            let request = ClaimRequest(
                subscription: id, count: min(room, 500), floor: lane.floor, removes: lane.startsSagas)
            if lane.startsSagas { exchange.starts.append(request) } else { exchange.requests.append(request) }
        }
        if let instant = desk.heldCalls.firstInstant { pause = min(pause, max(.zero, instant - now)) }
        if let due = desk.due { pause = min(pause, max(.milliseconds(1), due - desk.now)) }
        if !exchange.isEmpty, now - horizonReadAt > .milliseconds(20) {
            exchange.readsHorizon = true
            horizonReadAt = now
        }
        // Else the leading worker might sleep past what is due soon.
        let soonest = exchange.commits.lazy.compactMap(\.rest?.until).min()
        if let soonest, soonest - desk.now < Housekeeper.idleBeat {
            loop.alarm.expect(.now + max(.zero, soonest - desk.now))
            if loop.peers() > 0, !loop.health.current.isHousekeeper { exchange.tellsOfDue = true }
        }
        return pause
    }

    /// How many more sagas of a type that has so many in memory, of all in memory; nil when it is not worth a claim. As a rule
    /// each has one call in flight. When all types together are at the limit, each may still have its share, whatever the
    /// others' handlers do.
    private func room(_ active: Int, of all: Int) -> Int? {
        let limit = loop.configuration.concurrency
        let share = max(1, limit / max(1, lanes.count))
        let most = min(Self.mostActive, max(limit - all + active, share))
        let room = most - active
        // Many small claims would cost more than they bring.
        return room >= max(1, most / 4) ? room : nil
    }

    // MARK: - Mail

    private func readMail(_ desk: inout SagaDesk) throws {
        let now = ContinuousClock.now
        if now - mailCheckedAt > .seconds(1), !desk.sagas.isEmpty {
            mailCheckedAt = now
            for saga in try SagaExchange.withMail(Array(desk.sagas.keys), on: connection) { desk.expectMail(saga) }
        }
        let wanting = desk.wantingMail
        guard !wanting.isEmpty else { return }
        let mail = Dictionary(grouping: try SagaExchange.mail(of: wanting, on: connection), by: \.saga)
        for saga in wanting { desk.deliver(mail[saga] ?? [], to: saga) }
    }

    // MARK: - Exchanges

    private func run(_ exchange: SagaExchange, _ desk: inout SagaDesk) throws {
        // A start may have to wait for somebody's transaction; decisions must not.
        var decisions = exchange
        decisions.starts = []
        if !decisions.isEmpty || !decisions.sleep.isEmpty {
            do {
                try perform(decisions, &desk)
            } catch let error as PostgresError where error.leavesSession {
                try runSingly(decisions, error, &desk)
            }
        }
        for start in exchange.starts {
            var starts = SagaExchange()
            starts.starts = [start]
            do {
                try perform(starts, &desk)
            } catch let error as PostgresError where error.leavesSession {
                postponeClaims(error)
            }
        }
    }

    private func perform(_ exchange: SagaExchange, _ desk: inout SagaDesk) throws {
        let began = ContinuousClock.now
        let outcome = try exchange.run(on: connection, token: life.token, worker: loop.configuration.name)
        guard loop.holdsLease(life.token) else { throw PostgresError.connectionLost("its lease is over") }
        sendOut(desk.committed(exchange.commits), &desk)
        for lane in outcome.called { lanes[lane]?.polling.woken() }
        if let horizon = outcome.horizon { floor.observed(horizon) }
        for attempt in outcome.sleepAttempts { lanes[attempt.subscription]?.polling.sleepTried(attempt) }
        let now = ContinuousClock.now
        loop.metrics.claimDuration("sagas").observe(now - began)
        for request in exchange.requests {
            let claimed = outcome.claimed.filter { $0.lane == request.subscription }
            lanes[request.subscription]?.looked(
                request, got: claimed.count, newest: claimed.map(\.row).max(), floor, now: now)
        }
        for (lane, count, newest) in outcome.started {
            guard let request = exchange.starts.first(where: { $0.subscription == lane }) else { continue }
            lanes[lane]?.looked(request, got: count, newest: newest, floor, now: now)
        }
        do {
            try take(outcome.claimed, &desk)
        } catch {
            // The exchange is done, and what it brought is not in memory: others are to take that over.
            throw PostgresError.connectionLost("\(error)")
        }
    }

    /// One decision that the database refuses, or cannot write now, must not keep the others from being written.
    private func runSingly(_ failed: SagaExchange, _ error: PostgresError, _ desk: inout SagaDesk) throws {
        // Which locks it took or gave back is not known now: those that it was to give back are given back.
        unlocks += failed.wake + failed.sleep
        guard !failed.commits.isEmpty else { return postponeClaims(error) }
        for commit in failed.commits {
            var commit = commit
            while true {
                var exchange = SagaExchange()
                exchange.commits = [commit]
                do {
                    try perform(exchange, &desk)
                    break
                } catch let error as PostgresError where error.leavesSession {
                    guard try decideAgain(commit, error, &desk) else { break }
                    // Evaluations of the new decision may be under way; else it is written at once.
                    guard let again = desk.commits().first(where: { $0.saga == commit.saga && $0.aside == nil }) else {
                        break
                    }
                    commit = again
                }
            }
        }
    }

    /// False when that is of no use.
    private func decideAgain(
        _ commit: SagaCommit, _ error: PostgresError, _ desk: inout SagaDesk
    ) throws -> Bool {
        guard error.isAboutContent else {
            loop.log.warning(
                "saga.write_postponed", ["id": "\(commit.saga)", "error": error.message], limitPerSecond: 5)
            desk.postpone(commit)
            return false
        }
        loop.log.warning("saga.refused", ["id": "\(commit.saga)", "error": error.message], limitPerSecond: 5)
        let refused = try connection.transaction { try SagaExchange.refusedPart(of: commit, on: connection) }
        if let refused, desk.refused(commit, refused, Failure(error)) { return true }
        loop.log.error("saga.not_written", ["id": "\(commit.saga)", "error": error.message], limitPerSecond: 5)
        desk.giveUp(commit)
        return false
    }

    private func postponeClaims(_ error: PostgresError) {
        loop.log.warning("sagas.claims_postponed", ["error": error.message], limitPerSecond: 1)
        claimsAgainAt = .now + .seconds(1)
    }

    // MARK: - What goes out

    private func sendOut(
        _ effects: (calls: [(UUID, Effect.CallEffect)], queries: [(UUID, Effect.QueryEffect)]),
        _ desk: inout SagaDesk
    ) {
        var requests: [HTTPRequest] = []
        for (saga, call) in effects.calls {
            do {
                let endpoint = try call.request.endpoint.map(resolved)
                if let gate = endpoint?.gate {
                    send(saga, call, endpoint, at: gate, &desk, into: &requests)
                } else if let request = desk.request(saga, call, endpoint: endpoint) {
                    requests.append(request)
                }
            } catch {
                desk.cannotSend(saga, call, "\(error)")
            }
        }
        if !requests.isEmpty { loop.client.withLock { $0 }?.submit(requests) }
        for (saga, query) in effects.queries { self.query(saga, query, &desk) }
    }

    private func send(
        _ saga: UUID, _ call: Effect.CallEffect, _ endpoint: ResolvedEndpoint?, at gate: EndpointGate,
        _ desk: inout SagaDesk, into requests: inout [HTTPRequest]
    ) {
        let now = ContinuousClock.now
        // Those that came before come first.
        guard !desk.heldCalls.holds(at: gate.endpoint) else {
            return desk.hold(saga, call, at: gate, until: desk.heldCalls.instant(at: gate.endpoint))
        }
        switch gate.admit(.sagas, now: now) {
        // It is called when there is room; the instant is the net under that.
        case .wait(let until): desk.hold(saga, call, at: gate, until: until ?? now + .milliseconds(200))
        case .send(let isProbe):
            if let request = desk.request(saga, call, endpoint: endpoint, isProbe: isProbe) {
                requests.append(request)
            } else if let next = gate.ended(.nothing, isProbe: isProbe, now: now).next {
                loop.limits.call(next, at: gate)
            }
        }
    }

    /// Calls that their endpoints kept back, where that may be over.
    private func sendHeld(_ desk: inout SagaDesk) {
        for (gate, next) in desk.takeFreed() {
            if next == .sagas { called.insert(gate.endpoint) } else { loop.limits.call(next, at: gate) }
        }
        guard !called.isEmpty || !desk.heldCalls.isEmpty else { return }
        let now = ContinuousClock.now
        for endpoint in called where !desk.heldCalls.holds(at: endpoint) {
            // Others are not to wait for calls that are not there any more.
            if let gate = endpoints[endpoint]?.gate, let next = gate.withdraw(.sagas, now: now) {
                loop.limits.call(next, at: gate)
            }
        }
        for endpoint in called.union(desk.heldCalls.endpoints(dueBy: now)) {
            sendOut((desk.takeHeld(at: endpoint), []), &desk)
        }
        called = []
        desk.releaseImpatient(now: now)
    }

    /// Also of a definition that is not the newest any more.
    private func resolved(_ name: String) throws -> ResolvedEndpoint {
        if let endpoint = endpoints[name] { return endpoint }
        guard let resolver else { throw RouteError(description: "there is no endpoint \(name)") }
        let endpoint = try resolver.endpoint(name)
        endpoints[name] = endpoint
        return endpoint
    }

    private func query(_ id: UUID, _ query: Effect.QueryEffect, _ desk: inout SagaDesk) {
        guard let saga = desk.queryBegins(id, query) else { return }
        let (loop, token, clock) = (loop, life.token, desk.clock)
        Task {
            let evaluator = loop.evaluator(saga.lane)
            let outcome = await loop.queries.run(saga, query, token: token, clock: clock) { evaluation in
                blocking { await SagaLoop.values(of: evaluation, by: evaluator) }
            }
            loop.tell { $0.queried.append((id, saga.number, query, outcome)) }
        }
    }

    // MARK: - Claims

    private func take(_ claimed: [ClaimedSaga], _ desk: inout SagaDesk) throws {
        let fresh = claimed.filter { $0.head != nil }
        let resumed = fresh.filter { $0.head?.hasBegun == true && $0.rescues < Self.mostRescues }.map(\.saga)
        let histories = resumed.isEmpty ? [:] : try SagaExchange.histories(of: resumed, on: connection)
        var waits = 0
        for row in fresh {
            guard let head = row.head else { continue }
            guard row.rescues < Self.mostRescues else {
                try SagaExchange.park(row, on: connection, token: life.token, worker: loop.configuration.name)
                loop.metrics.sagas(head.name, "stuck").increment()
                loop.log.error("saga.abandoned", ["saga": head.name, "id": "\(row.saga)"])
                continue
            }
            if row.isSuspect {
                guard !desk.hasSuspect else {
                    waits += 1
                    desk.release(row, for: .milliseconds(100 * waits), because: nil)
                    continue
                }
                try SagaExchange.takeUp(row, on: connection, token: life.token)
            }
            switch try program(head) {
            case .success(let program): desk.take(row, head, program, history: histories[row.saga] ?? [])
            case .failure(let error):
                loop.log.error("saga.unreadable", ["saga": head.name, "id": "\(row.saga)", "error": "\(error)"])
                desk.release(row, for: .seconds(60), because: "a worker that can read its definition")
            }
        }
        let elsewhere = claimed.filter { $0.head == nil && !desk.hold($0) }
        if !elsewhere.isEmpty { try SagaExchange.forward(elsewhere, on: connection, token: life.token) }
    }

    private func program(_ head: ClaimedSaga.Head) throws -> Result<SagaProgram, DefinitionError> {
        if let program = programs[head.hash] { return .success(program) }
        let program = try SagaDefinitions(connection).definition(head.name, hash: head.hash).map { SagaProgram($0) }
        if case .success(let program) = program { programs[head.hash] = program }
        return program
    }

    private func heard(_ notifications: [Notification], _ desk: inout SagaDesk) {
        for notification in notifications {
            if notification.payload == "definitions" {
                loop.reload()
            } else if notification.payload.hasPrefix("mail:") {
                if let saga = UUID(notification.payload.dropFirst(5)) { desk.expectMail(saga) }
            } else if let lane = Int32(notification.payload) {
                lanes[lane]?.polling.woken()
            }
        }
    }

    // MARK: - Definitions

    private func reload() throws {
        reloadsAt = nil
        do {
            try load()
        } catch let error as PostgresError where error.leavesSession {
            loop.log.warning("sagas.reload_postponed", ["error": error.message], limitPerSecond: 1)
            reloadsAt = .now + .seconds(1)
        }
    }

    private func load() throws {
        let configuration = loop.configuration
        let own = configuration.definitions.filter { $0.kind == .saga }.map(\.name)
        let names = configuration.servesAll ? nil : own
        let store = SagaDefinitions(connection)
        let resolver = RouteResolver(
            endpoints: try DefinitionStore(connection).endpoints(), secrets: configuration.secrets,
            exposed: configuration.exposed, source: configuration.source, limits: loop.limits)
        self.resolver = resolver
        // Those that were resolved before may have changed.
        endpoints = [:]
        var lacking: [String] = []
        var unserved: Set<String> = []
        for definition in try store.current(named: names) {
            guard case .success(let saga) = definition else { continue }
            for endpoint in saga.endpoints {
                do {
                    endpoints[endpoint] = try resolver.endpoint(endpoint)
                } catch {
                    lacking.append("saga \(saga.name) is not served: \(error)")
                    loop.log.error("saga.not_served", ["saga": saga.name, "reason": "\(error)"])
                    unserved.insert(saga.name)
                }
            }
        }
        var served: [Int32: SagaLane] = [:]
        for type in try store.types(named: names) where !unserved.contains(type.name) {
            served[type.lane] = lanes.removeValue(forKey: type.lane) ?? SagaLane(id: type.lane, startsSagas: false)
            if let start = type.startedBy {
                served[start] = lanes.removeValue(forKey: start) ?? SagaLane(id: start, startsSagas: true)
            }
        }
        for lane in lanes.values where lane.polling.holdsLock { unlocks.append(lane.id) }
        lanes = served
        for id in lanes.keys { lanes[id]!.polling.startOver() }
        loop.health.update { $0.lackingSagas = lacking }
    }
}

extension SagaExchange {
    var isEmpty: Bool {
        commits.isEmpty && requests.isEmpty && starts.isEmpty && wake.isEmpty
    }
}

extension SagaDefinition {
    /// The endpoints that its calls name.
    fileprivate var endpoints: Set<String> {
        Set(
            allSteps.flatMap { step -> [String?] in
                var calls: [Call] = []
                if case .call(let call) = step.action { calls.append(call) }
                if case .call(let call)? = step.compensation?.action { calls.append(call) }
                return calls.map { if case .http(let http) = $0 { http.endpoint } else { nil } }
            }.compactMap(\.self))
    }
}

extension PostgresError {
    /// The server refused something, and the session and the worker live on.
    fileprivate var leavesSession: Bool {
        guard let state = sqlState else { return false }
        // Such as "this worker was given up for dead".
        return !["08", "25"].contains(state.errorClass) && !state.rawValue.hasPrefix("57P")
    }
}

/// Blocks this thread, which is one of our own, until the task is done.
private func blocking<T: Sendable>(_ body: @escaping @Sendable () async -> T) -> T {
    let signal = ThreadSignal()
    let box = BlockingBox<T>()
    Task {
        let value = await body()
        box.set(value)
        signal.signal()
    }
    signal.wait()
    return box.take()
}

private final class BlockingBox<T: Sendable>: Sendable {
    private let value = Mutex<T?>(nil)

    func set(_ new: T) { value.withLock { $0 = new } }

    func take() -> T {
        guard let taken = value.withLock({ $0 }) else { preconditionFailure("signalled before it was done") }
        return taken
    }
}
