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

/// The worker's session with the sagas, on a thread and a connection of its own. It lives as long as the worker's life in
/// `DeliveryLoop`, under the same token; when that one begins anew, so does this, and takes its sagas up from their histories.
///
///     SagaLoop  <-- claims, decisions -->  database
///        |      <-- requests, answers -->  HTTPClient
///     SagaDesk  <-- events, effects   -->  SagaMachine, one a saga
final class SagaLoop: Sendable {
    /// Sagas of one type in memory at once. One that only waits is not in memory.
    private static let mostActive = 1000
    /// A saga that was taken over from dead workers so often is stuck.
    private static let mostRescues = 5

    /// What other threads have for this one.
    private struct Inbox: Sendable {
        var exchanges: [HTTPExchange] = []
        var evaluated: [(saga: UUID, evaluation: Int, result: Result<[JSON], ExpressionError>)] = []
        var queried: [(saga: UUID, result: LiveSaga?)] = []
        var woken: [Int32] = []
        var resetFloors: [Int32] = []
        var mustReload = false
        var clockOffset = Duration.zero
        var isDraining = false
        var drainEnds: ContinuousClock.Instant?
        var stops = false
    }

    /// What other threads may know of it.
    private struct Shown: Sendable {
        var floors: [(subscription: Int32, floor: Int64)] = []
        var isIdle = true
    }

    private let configuration: WorkerConfiguration
    private let session: @Sendable () -> DeliveryLoop.Session?
    private let peers: @Sendable () -> Int
    private let alarm: BeatAlarm
    private let health: WorkerHealth
    private let log: Log
    private let metrics: WorkerMetrics
    private let wakeup = Wakeup()
    private let inbox = Mutex(Inbox())
    private let shown = Mutex(Shown())
    private let client = Mutex<HTTPClient?>(nil)
    private let queries: SagaQueries
    private let makeEvaluator: @Sendable () -> Evaluator
    private let evaluators = Mutex<[Int32: Evaluator]>([:])

    init(
        configuration: WorkerConfiguration, session: @escaping @Sendable () -> DeliveryLoop.Session?,
        peers: @escaping @Sendable () -> Int, alarm: BeatAlarm, health: WorkerHealth, log: Log, metrics: WorkerMetrics,
        makeEvaluator: @escaping @Sendable () -> Evaluator
    ) {
        self.configuration = configuration
        self.session = session
        self.peers = peers
        self.alarm = alarm
        self.health = health
        self.log = log
        self.metrics = metrics
        self.makeEvaluator = makeEvaluator
        queries = SagaQueries(
            databaseURL: configuration.databaseURL, worker: configuration.name, exposed: configuration.exposed)
        let client = HTTPClient(connections: configuration.connections) { [weak self] exchanges in
            self?.tell { $0.exchanges += exchanges }
        }
        self.client.withLock { $0 = client }
    }

    // MARK: - From other threads

    private func tell(_ change: (inout Inbox) -> Void) {
        inbox.withLock { change(&$0) }
        wakeup.signal()
    }

    func wake(_ lanes: [Int32]) { tell { $0.woken += lanes } }
    func resetFloors(_ lanes: [Int32]) { tell { $0.resetFloors += lanes } }
    func reload() { tell { $0.mustReload = true } }
    func setClock(_ databaseTime: Timestamp) { inbox.withLock { $0.clockOffset = databaseTime - .now() } }

    func drain() {
        tell {
            $0.isDraining = true
            $0.drainEnds = .now + configuration.grace
        }
    }

    func stop() { tell { $0.stops = true } }

    func close() async {
        client.withLock { $0.take() }?.close()
        await queries.close()
        evaluators.withLock { evaluators in
            for evaluator in evaluators.values { evaluator.close() }
        }
    }

    var floors: [(subscription: Int32, floor: Int64)] { shown.withLock { $0.floors } }
    /// Nothing is in memory and nothing waits to be written.
    var isIdle: Bool { shown.withLock { $0.isIdle } }

    // MARK: - The thread

    /// Runs until stopped; a lost session is made anew.
    func run() {
        var backoff = ReconnectBackoff()
        var desk = SagaDesk(
            exposed: configuration.exposed, callbackURL: configuration.callbackURL, log: log, metrics: metrics,
            evaluate: { [weak self] in self?.evaluate($0, $1, $2) })
        while !inbox.withLock({ $0.stops }) {
            guard let life = session() else {
                wakeup.wait(for: .milliseconds(5))
                continue
            }
            do {
                let connection = try connect()
                try SagaSession(self, connection, life).serve(&desk) { backoff.reset() }
            } catch {
                if !inbox.withLock({ $0.stops }), session()?.token == life.token {
                    log.warning("sagas.interrupted", ["error": "\(error)"], limitPerSecond: 1)
                    wakeup.wait(for: backoff.next())
                }
            }
            desk.forgetAll()
            show(desk, lanes: [:])
        }
    }

    private func connect() throws -> Connection {
        var options = ConnectionOptions()
        options.applicationName = "outrider \(configuration.name) sagas"
        options.statementTimeout = .seconds(60)
        options.settings =
            [("enable_seqscan", "off"), ("jit", "off"), ("client_min_messages", "warning")]
            + ConnectionOptions.sessionOfAWorker
        return try Connection(configuration.databaseURL, options: options)
    }

    private func show(_ desk: SagaDesk, lanes: [Int32: SagaLane]) {
        shown.withLock {
            $0.isIdle = desk.isIdle
            $0.floors = lanes.values.map { ($0.id, $0.floor) }
        }
    }

    private func evaluate(_ saga: UUID, _ lane: Int32, _ evaluation: Effect.Evaluation) {
        let evaluator = evaluator(lane)
        Task {
            let result = await Self.values(of: evaluation, by: evaluator)
            tell { $0.evaluated.append((saga, evaluation.id, result)) }
        }
    }

    private func evaluator(_ lane: Int32) -> Evaluator {
        evaluators.withLock { evaluators in
            let evaluator = evaluators[lane] ?? makeEvaluator()
            evaluators[lane] = evaluator
            return evaluator
        }
    }

    private static func values(
        of evaluation: Effect.Evaluation, by evaluator: Evaluator
    ) async -> Result<[JSON], ExpressionError> {
        let input = Array(evaluation.scope.text.utf8)
        var values: [JSON] = []
        for result in await evaluator.evaluate(evaluation.expressions.map { ($0, input) }) {
            switch result {
            case .success(let value): values.append(value)
            case .failure(let error): return .failure(error)
            }
        }
        return .success(values)
    }

    // MARK: - A session

    /// The loop under one token.
    private final class SagaSession {
        let loop: SagaLoop
        let connection: Connection
        let life: DeliveryLoop.Session
        var lanes: [Int32: SagaLane] = [:]
        var programs: [String: SagaProgram] = [:]
        var endpoints: [String: ResolvedEndpoint] = [:]
        var unlocks: [Int32] = []
        var floor = Floor()
        var queryNumber = 0
        /// The net under lost notifications of mail.
        var mailCheckedAt = ContinuousClock.now
        var horizonReadAt = ContinuousClock.now - .seconds(1)

        init(_ loop: SagaLoop, _ connection: Connection, _ life: DeliveryLoop.Session) {
            self.loop = loop
            self.connection = connection
            self.life = life
        }

        func serve(_ desk: inout SagaDesk, began: () -> Void) throws {
            try connection.listen("outrider_wake")
            let time = try connection.query("select clock_timestamp()")[0].decode(0, as: Timestamp.self)
            desk.clockOffset = time - .now()
            loop.inbox.withLock { $0.clockOffset = desk.clockOffset }
            try load()
            began()
            while true {
                guard loop.session()?.token == life.token else {
                    throw PostgresError.connectionLost("the worker began anew")
                }
                let (stops, drainEnds) = try takeInbox(&desk)
                if stops { return }
                if let drainEnds, drainEnds <= .now, !desk.isIdle { loop.client.withLock { $0 }?.cancelAll() }
                desk.tick()
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

        private func takeInbox(_ desk: inout SagaDesk) throws -> (stops: Bool, drainEnds: ContinuousClock.Instant?) {
            let inbox = loop.inbox.withLock { inbox in
                let taken = inbox
                inbox.exchanges = []
                inbox.evaluated = []
                inbox.queried = []
                inbox.woken = []
                inbox.resetFloors = []
                inbox.mustReload = false
                return taken
            }
            desk.clockOffset = inbox.clockOffset
            for exchange in inbox.exchanges { desk.answered(exchange) }
            for (saga, evaluation, result) in inbox.evaluated { desk.evaluated(saga, evaluation, result) }
            for (saga, result) in inbox.queried { desk.queryEnded(saga, result) }
            for lane in inbox.resetFloors { lanes[lane]?.floor = 0 }
            for lane in inbox.woken + inbox.resetFloors { lanes[lane]?.polling.woken() }
            if inbox.mustReload { try load() }
            if inbox.isDraining, !desk.isDraining { desk.drain() }
            return (inbox.stops, inbox.isDraining ? inbox.drainEnds : nil)
        }

        /// - Returns: how long there is nothing to do, if so.
        private func ask(_ exchange: inout SagaExchange, _ desk: SagaDesk) -> Duration {
            let now = ContinuousClock.now
            var pause = Duration.seconds(30)
            swap(&exchange.wake, &unlocks)
            for (id, lane) in lanes {
                if lane.polling.holdsLockAwake {
                    exchange.wake.append(id)
                    lanes[id]!.polling.gaveLockBack()
                }
                guard !desk.isDraining else { continue }
                let room = lane.startsSagas ? 500 : SagaLoop.mostActive - desk.active(in: id)
                // Many small claims would cost more than they bring.
                guard room >= SagaLoop.mostActive / 4 else { continue }
                switch lane.polling.state {
                case .asleep, .benched: continue
                case .at(let instant) where instant > now:
                    pause = min(pause, instant - now)
                    continue
                case .at, .due: break
                }
                if lane.polling.wantsSleep { exchange.sleep.append(id) }
                let request = ClaimRequest(
                    subscription: id, count: min(room, 500), floor: lane.floor, removes: lane.startsSagas)
                if lane.startsSagas { exchange.starts.append(request) } else { exchange.requests.append(request) }
            }
            if let due = desk.due { pause = min(pause, max(.milliseconds(1), due - desk.now)) }
            if !desk.sagas.isEmpty { pause = min(pause, .milliseconds(500)) }
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
            let outcome: SagaExchange.Outcome
            do {
                outcome = try exchange.run(on: connection, token: life.token, worker: loop.configuration.name)
            } catch let error as PostgresError where error.isAboutContent {
                // Which locks it took or gave back is not known now: those that it was to give back are given back.
                unlocks += exchange.wake + exchange.sleep
                try runSingly(exchange.commits, &desk)
                return
            }
            sendOut(desk.committed(exchange.commits), &desk)
            for lane in outcome.called { lanes[lane]?.polling.woken() }
            if let horizon = outcome.horizon { floor.observed(horizon) }
            for attempt in outcome.sleepAttempts { lanes[attempt.subscription]?.polling.sleepTried(attempt) }
            let now = ContinuousClock.now
            for request in exchange.requests {
                let claimed = outcome.claimed.filter { $0.lane == request.subscription }
                lanes[request.subscription]?.looked(
                    request, got: claimed.count, newest: claimed.map(\.row).max(), floor, now: now)
            }
            for (lane, count, newest) in outcome.started {
                guard let request = exchange.starts.first(where: { $0.subscription == lane }) else { continue }
                lanes[lane]?.looked(request, got: count, newest: newest, floor, now: now)
            }
            try take(outcome.claimed, &desk)
        }

        /// One decision that the database refuses must not keep the others from being written.
        private func runSingly(_ commits: [SagaCommit], _ desk: inout SagaDesk) throws {
            for commit in commits {
                var commit = commit
                while true {
                    var exchange = SagaExchange()
                    exchange.commits = [commit]
                    do {
                        _ = try exchange.run(on: connection, token: life.token, worker: loop.configuration.name)
                        sendOut(desk.committed([commit]), &desk)
                        break
                    } catch let error as PostgresError where error.isAboutContent {
                        loop.log.warning(
                            "saga.refused", ["id": "\(commit.saga)", "error": error.message], limitPerSecond: 5)
                        guard desk.refused(commit.saga, Failure(error)) else {
                            loop.log.error("saga.not_written", ["id": "\(commit.saga)", "error": error.message])
                            desk.drop(commit.saga)
                            break
                        }
                        // Evaluations of the new decision may be under way; else it is written at once.
                        guard let again = desk.commits().first(where: { $0.saga == commit.saga }) else { break }
                        commit = again
                    }
                }
            }
        }

        private func sendOut(
            _ effects: (calls: [(UUID, Effect.CallEffect)], queries: [(UUID, Effect.QueryEffect)]),
            _ desk: inout SagaDesk
        ) {
            var requests: [HTTPRequest] = []
            for (saga, call) in effects.calls {
                let endpoint = call.request.endpoint.flatMap { endpoints[$0] }
                if let request = desk.request(saga, call, endpoint: endpoint) { requests.append(request) }
            }
            if !requests.isEmpty { loop.client.withLock { $0 }?.submit(requests) }
            for (saga, query) in effects.queries { self.query(saga, query, &desk) }
        }

        private func query(_ id: UUID, _ query: Effect.QueryEffect, _ desk: inout SagaDesk) {
            guard let saga = desk.queryBegins(id, query) else { return }
            queryNumber += 1
            let (loop, token, offset, number) = (loop, life.token, desk.clockOffset, queryNumber)
            Task {
                let evaluator = loop.evaluator(saga.lane)
                let result = await loop.queries.run(
                    saga, query, token: token, clockOffset: offset, number: number
                ) { evaluation in
                    blocking { await SagaLoop.values(of: evaluation, by: evaluator) }
                }
                loop.tell { $0.queried.append((id, result)) }
            }
        }

        // MARK: - Claims

        private func take(_ claimed: [ClaimedSaga], _ desk: inout SagaDesk) throws {
            let fresh = claimed.filter { $0.head != nil }
            let resumed = fresh.filter { $0.head?.hasBegun == true && $0.rescues < SagaLoop.mostRescues }.map(\.saga)
            let histories = resumed.isEmpty ? [:] : try SagaExchange.histories(of: resumed, on: connection)
            for row in fresh {
                guard let head = row.head else { continue }
                guard row.rescues < SagaLoop.mostRescues else {
                    try SagaExchange.park(row, on: connection, token: life.token, worker: loop.configuration.name)
                    loop.log.error("saga.abandoned", ["saga": head.name, "id": "\(row.saga)"])
                    continue
                }
                switch try program(head) {
                case .success(let program): desk.take(row, head, program, history: histories[row.saga] ?? [])
                case .failure(let error):
                    loop.log.error("saga.unreadable", ["saga": head.name, "id": "\(row.saga)", "error": "\(error)"])
                    desk.release(row, for: .seconds(60))
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

        private func load() throws {
            let configuration = loop.configuration
            let own = configuration.definitions.filter { $0.kind == .saga }.map(\.name)
            let names = configuration.servesAll ? nil : own
            let store = SagaDefinitions(connection)
            let resolver = RouteResolver(
                endpoints: try DefinitionStore(connection).endpoints(), secrets: configuration.secrets,
                exposed: configuration.exposed, source: configuration.source)
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
}

/// One queue of sagas, or of messages that start them.
struct SagaLane: Sendable {
    let id: Int32
    let startsSagas: Bool
    var floor: Int64 = 0
    var polling = Polling()

    init(id: Int32, startsSagas: Bool) {
        self.id = id
        self.startsSagas = startsSagas
    }

    mutating func looked(
        _ request: ClaimRequest, got: Int, newest: Int64?, _ floor: Floor, now: ContinuousClock.Instant
    ) {
        polling.found(got, of: request.count, now: now)
        self.floor = floor.raised(self.floor, asked: request.count, got: got, newest: newest)
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
