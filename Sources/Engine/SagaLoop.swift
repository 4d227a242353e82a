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
    /// What other threads have for this one.
    struct Inbox: Sendable {
        var exchanges: [HTTPExchange] = []
        var evaluated: [(saga: UUID, number: Int, evaluation: Int, result: Result<[JSON], ExpressionError>)] = []
        var queried: [(saga: UUID, number: Int, query: Effect.QueryEffect, outcome: SagaQueries.Outcome)] = []
        var woken: [Int32] = []
        var resetFloors: [Int32] = []
        var mustReload = false
        /// Endpoints that may take calls that were held back.
        var called: Set<String> = []
        var clock = DatabaseClock(.now())
        var isDraining = false
        var drainEnds: ContinuousClock.Instant?
        var stops = false
    }

    /// What other threads may know of it.
    private struct Shown: Sendable {
        var floors: [(subscription: Int32, floor: Int64)] = []
        var isDrained = false
    }

    /// Until when others leave to this worker what it has.
    private struct Lease: Sendable {
        var token: UUID?
        var ends = ContinuousClock.now
    }

    let configuration: WorkerConfiguration
    let session: @Sendable () -> DeliveryLoop.Session?
    private let beginAnew: @Sendable (_ reason: String) -> Void
    let peers: @Sendable () -> Int
    let alarm: BeatAlarm
    let limits: Limits
    let health: WorkerHealth
    let log: Log
    let metrics: WorkerMetrics
    let wakeup = Wakeup()
    private let inbox = Mutex(Inbox())
    private let shown = Mutex(Shown())
    private let lease = Mutex(Lease())
    let client = Mutex<HTTPClient?>(nil)
    let queries: SagaQueries
    private let makeEvaluator: @Sendable () -> Evaluator
    private let evaluators = Mutex<[Int32: Evaluator]>([:])

    init(
        configuration: WorkerConfiguration, session: @escaping @Sendable () -> DeliveryLoop.Session?,
        beginAnew: @escaping @Sendable (_ reason: String) -> Void,
        peers: @escaping @Sendable () -> Int, alarm: BeatAlarm, limits: Limits, health: WorkerHealth, log: Log,
        metrics: WorkerMetrics,
        makeEvaluator: @escaping @Sendable () -> Evaluator
    ) {
        self.configuration = configuration
        self.session = session
        self.beginAnew = beginAnew
        self.peers = peers
        self.alarm = alarm
        self.limits = limits
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

    func tell(_ change: (inout Inbox) -> Void) {
        inbox.withLock { change(&$0) }
        wakeup.signal()
    }

    func wake(_ lanes: [Int32]) { tell { $0.woken += lanes } }
    func resetFloors(_ lanes: [Int32]) { tell { $0.resetFloors += lanes } }
    func called(at endpoint: String) { tell { $0.called.insert(endpoint) } }
    func reload() { tell { $0.mustReload = true } }
    func setClock(_ databaseTime: Timestamp) { inbox.withLock { $0.clock = DatabaseClock(databaseTime) } }

    func extendLease(of token: UUID, to end: ContinuousClock.Instant) {
        lease.withLock { $0 = Lease(token: token, ends: end) }
    }

    /// A worker that was frozen or cut off must not go on as if nothing had been: others may have what it had.
    func holdsLease(_ token: UUID) -> Bool {
        lease.withLock { $0.token != token || ContinuousClock.now < $0.ends }
    }

    func drain() {
        tell {
            $0.isDraining = true
            $0.drainEnds = .now + configuration.grace
        }
    }

    func stop() { tell { $0.stops = true } }

    func takeInbox() -> Inbox {
        inbox.withLock { inbox in
            let taken = inbox
            inbox.exchanges = []
            inbox.evaluated = []
            inbox.queried = []
            inbox.woken = []
            inbox.resetFloors = []
            inbox.mustReload = false
            inbox.called = []
            return taken
        }
    }

    func close() async {
        client.withLock { $0.take() }?.close()
        await queries.close()
        evaluators.withLock { evaluators in
            for evaluator in evaluators.values { evaluator.close() }
        }
    }

    var floors: [(subscription: Int32, floor: Int64)] { shown.withLock { $0.floors } }
    /// It knows that it is to stop, nothing is in memory, and nothing waits to be written.
    var isDrained: Bool { shown.withLock { $0.isDrained } }

    // MARK: - The thread

    /// Runs until stopped; a lost session is made anew.
    func run() {
        var backoff = ReconnectBackoff()
        var desk = SagaDesk(
            exposed: configuration.exposed, callbackURL: configuration.callbackURL, log: log, metrics: metrics,
            evaluate: { [weak self] in self?.evaluate($0, $1) })
        /// What was claimed under it is lost, and others are to take it over.
        var lost: UUID?
        while !inbox.withLock({ $0.stops }) {
            if inbox.withLock({ $0.isDraining }) { desk.drain() }
            show(desk, lanes: [:])
            guard let life = session(), life.token != lost else {
                wakeup.wait(for: .milliseconds(5))
                continue
            }
            var hasBegun = false
            do {
                let connection = try connect()
                try SagaSession(self, connection, life).serve(&desk) {
                    hasBegun = true
                    backoff.reset()
                }
            } catch {
                if !inbox.withLock({ $0.stops }), session()?.token == life.token {
                    log.warning("sagas.interrupted", ["error": "\(error)"], limitPerSecond: 1)
                    if hasBegun {
                        // What the lost session still had under way must not be written beside that of the next one.
                        lost = life.token
                        beginAnew("the session of its sagas was lost")
                    }
                    wakeup.wait(for: backoff.next())
                }
            }
            desk.forgetAll()
        }
    }

    private func connect() throws -> Connection {
        var options = ConnectionOptions()
        options.applicationName = "outrider \(configuration.name) sagas"
        options.statementTimeout = .seconds(60)
        options.settings =
            [
                ("enable_seqscan", "off"), ("jit", "off"), ("client_min_messages", "warning"),
                // Others may hold what one saga needs, a key that is being started for instance: all the others go on.
                ("lock_timeout", "1s"),
            ] + ConnectionOptions.sessionOfAWorker
        return try Connection(configuration.databaseURL, options: options)
    }

    func show(_ desk: SagaDesk, lanes: [Int32: SagaLane]) {
        shown.withLock {
            $0.isDrained = desk.isDraining && desk.isIdle
            $0.floors = lanes.values.map { ($0.id, $0.floor) }
        }
    }

    // MARK: - Expressions

    private func evaluate(_ saga: LiveSaga, _ evaluation: Effect.Evaluation) {
        let evaluator = evaluator(saga.lane)
        let (id, number) = (saga.context.saga, saga.number)
        Task {
            var result = await Self.values(of: evaluation, by: evaluator)
            // No process could be started: that is no fault of the expression's.
            while case .failure(.unavailable) = result, !inbox.withLock({ $0.stops }) {
                try? await Task.sleep(for: .seconds(1))
                result = await Self.values(of: evaluation, by: evaluator)
            }
            tell { $0.evaluated.append((id, number, evaluation.id, result)) }
        }
    }

    func evaluator(_ lane: Int32) -> Evaluator {
        evaluators.withLock { evaluators in
            let evaluator = evaluators[lane] ?? makeEvaluator()
            evaluators[lane] = evaluator
            return evaluator
        }
    }

    static func values(
        of evaluation: Effect.Evaluation, by evaluator: Evaluator
    ) async -> Result<[JSON], ExpressionError> {
        let input = Array(evaluation.scope.text.utf8)
        var values: [JSON] = []
        for result in await evaluator.evaluate(evaluation.expressions.map { ($0, input) }) {
            do throws(ExpressionError) {
                values.append(try SagaDesk.storable(try result.get()))
            } catch .failed(let message) {
                return .failure(.failed(message: message.storable))
            } catch {
                return .failure(error)
            }
        }
        return .success(values)
    }
}
