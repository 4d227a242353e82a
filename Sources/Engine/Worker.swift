import Expressions
import Postgres
import Primitives
package import Telemetry

/// The worker of `outrider run`: delivers until it is drained.
///
///     DeliveryLoop  <-- claims, results -->  Dispatcher  <-- requests, answers -->  HTTPClient
///     SagaLoop      <-- claims, decisions -->  SagaDesk    <-- requests, answers -->  an HTTPClient of its own
///     Housekeeper   the beat; of the leader also what is due, and operations
///     Chores        of the leader: partitions, pruning
///     Scheduler     schedules that come due
package final class Worker: Sendable {
    package let health: WorkerHealth
    private let loop: DeliveryLoop
    private let sagas: SagaLoop
    private let dispatcher: Dispatcher
    private let housekeeper: Housekeeper
    private let chores: Chores
    private let scheduler: Scheduler
    private let log: Log

    /// - Parameter health: what the worker tells of itself, for whoever is asked before there is a worker.
    package init(
        _ configuration: WorkerConfiguration, health: WorkerHealth = WorkerHealth(), log: Log, metrics: WorkerMetrics
    ) {
        let wakeup = Wakeup()
        let alarm = BeatAlarm()
        let makeEvaluator = { @Sendable in
            Evaluator(executable: configuration.executable, environment: configuration.exposed)
        }
        let limits = Limits(limit: configuration.concurrency, alarm: alarm, log: log, metrics: metrics)
        let dispatcher = Dispatcher(
            limit: configuration.concurrency, connections: configuration.connections, worker: configuration.name,
            wakeup: wakeup, alarm: alarm, limits: limits, log: log, metrics: metrics, makeEvaluator: makeEvaluator,
            makePool: { connections in
                StatementPool(
                    databaseURL: configuration.databaseURL, worker: configuration.name, connections: connections)
            })
        let loop = DeliveryLoop(
            configuration: configuration, dispatcher: dispatcher, limits: limits, alarm: alarm, health: health,
            log: log,
            metrics: metrics,
            wakeup: wakeup)
        let sagas = SagaLoop(
            configuration: configuration, session: { loop.session },
            beginAnew: { loop.beginAnew($0) }, peers: { loop.peers }, alarm: alarm, limits: limits,
            health: health,
            log: log, metrics: metrics, makeEvaluator: makeEvaluator)
        limits.connect(
            dispatcher.limitedLanes,
            wake: { gate, claimant in
                switch claimant {
                case .lane?, nil: dispatcher.called(at: gate, claimant)
                case .sagas: break
                }
                switch claimant {
                case .sagas?, nil: sagas.called(at: gate.endpoint)
                case .lane: break
                }
            })
        loop.waits(for: { sagas.isDrained })
        let scheduler = Scheduler(
            configuration: configuration, health: health, log: log, metrics: metrics, makeEvaluator: makeEvaluator)
        loop.tells { scheduler.reload() }
        self.scheduler = scheduler
        self.sagas = sagas
        self.health = health
        self.loop = loop
        self.dispatcher = dispatcher
        self.log = log
        chores = Chores(databaseURL: configuration.databaseURL, name: configuration.name, log: log)
        housekeeper = Housekeeper(
            configuration: configuration, loop: loop, dispatcher: dispatcher, limits: limits, sagas: sagas,
            chores: chores,
            alarm: alarm,
            health: health, log: log, metrics: metrics)
    }

    /// Returns when drained.
    ///
    /// - Throws: when it cannot begin at all: a wrong password, an unknown database, a standby, a pooler.
    package func run() async throws {
        // libdispatch, whose threads tasks run on, opens descriptors with the first of them, and ends the process when there are
        // none left: now there are.
        await Task.detached {}.value
        let loop = loop
        let (sagas, housekeeper, chores, scheduler) = (sagas, housekeeper, chores, scheduler)
        let deliveries = DedicatedThread(name: "outrider-loop") { try loop.run() }
        let decisions = DedicatedThread(name: "outrider-sagas") { sagas.run() }
        let beats = DedicatedThread(name: "outrider-beat") { housekeeper.run() }
        let rounds = DedicatedThread(name: "outrider-chores") { chores.run() }
        let firings = DedicatedThread(name: "outrider-cron") { scheduler.run() }
        let result: Result<Void, any Error>
        do {
            result = .success(try await deliveries.join())
        } catch {
            result = .failure(error)
        }
        sagas.stop()
        housekeeper.stop()
        chores.stop()
        scheduler.stop()
        try await decisions.join()
        try await beats.join()
        try await rounds.join()
        try await firings.join()
        dispatcher.close()
        await dispatcher.closeStatements()
        await sagas.close()
        try result.get()
        log.info("worker.stopped")
    }

    /// Claims nothing more, lets what is in flight end within the grace period, records it; then `run` returns.
    package func drain() {
        health.update { $0.isDraining = true }
        log.info("worker.draining", ["in_flight": dispatcher.inFlight])
        scheduler.stop()
        sagas.drain()
        loop.drain()
    }
}
