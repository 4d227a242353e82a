import Expressions
import Postgres
import Primitives
import Store
import Synchronization
import Telemetry
import WorkflowFiles

/// A worker's session with the database, on a thread of its own: its identity, its notifications, its claims and its
/// acknowledgements all live and die with this one connection.
///
/// A lost session is begun anew with a new token. Results that came in meanwhile still count under the old token as long as
/// nobody took the deliveries over.
final class DeliveryLoop: Sendable {
    /// What housekeeping, on a connection of its own, needs to know of the session.
    struct Session: Sendable {
        var token: UUID
        var name: String
    }

    private struct Control: Sendable {
        var session: Session?
        var isDraining = false
        var drainEnds: ContinuousClock.Instant?
        /// Why it must begin anew, if so.
        var interruption: String?
        var mustReload = false
        var peers = 0
    }

    private let configuration: WorkerConfiguration
    private let dispatcher: Dispatcher
    private let limits: Limits
    private let alarm: BeatAlarm
    private let health: WorkerHealth
    private let log: Log
    private let metrics: WorkerMetrics
    private let wakeup: Wakeup
    private let control = Mutex(Control())
    /// Whether what else belongs to this worker's life is done.
    private let othersAreIdle = Mutex<@Sendable () -> Bool>({ true })
    private let definitionsLoaded = Mutex<@Sendable () -> Void>({})

    init(
        configuration: WorkerConfiguration, dispatcher: Dispatcher, limits: Limits, alarm: BeatAlarm,
        health: WorkerHealth, log: Log,
        metrics: WorkerMetrics, wakeup: Wakeup
    ) {
        self.configuration = configuration
        self.dispatcher = dispatcher
        self.limits = limits
        self.alarm = alarm
        self.health = health
        self.log = log
        self.metrics = metrics
        self.wakeup = wakeup
    }

    // MARK: - From other threads

    var session: Session? { control.withLock { $0.session } }

    func drain() {
        control.withLock {
            $0.isDraining = true
            $0.drainEnds = .now + configuration.grace
        }
        dispatcher.drain()
        limits.drain()
    }

    /// Gives up the session, and all that was claimed under its token.
    func beginAnew(_ reason: String) {
        control.withLock { $0.interruption = reason }
        wakeup.signal()
    }

    func reload() {
        control.withLock { $0.mustReload = true }
        wakeup.signal()
    }

    func sawPeers(_ count: Int) {
        control.withLock { $0.peers = count }
    }

    var peers: Int { control.withLock { $0.peers } }

    /// A drain ends once this is true, too.
    func waits(for others: @escaping @Sendable () -> Bool) {
        othersAreIdle.withLock { $0 = others }
    }

    /// Called when definitions were read, at the beginning of a session and after each change.
    func tells(_ other: @escaping @Sendable () -> Void) {
        definitionsLoaded.withLock { $0 = other }
    }

    // MARK: - The thread

    /// Runs until drained.
    ///
    /// - Throws: what makes it pointless to go on: a wrong password, an unknown database, a standby. Everything else is tried
    ///   again for ever.
    func run() throws {
        var backoff = ReconnectBackoff()
        var isFirst = true
        while true {
            do {
                let connection = try connect(isFirst: isFirst)
                isFirst = false
                try serve(connection) { backoff.reset() }
                return
            } catch let error as PostgresError where isFirst && error.isPermanent {
                throw error
            } catch let error as Obstacle {
                if isFirst && error.isPermanent { throw error }
                health.update { $0.obstacle = error.description }
                log.warning("worker.waiting", ["reason": "\(error)"])
            } catch let error as PostgresError where .insufficientPrivilege ~= error {
                let obstacle = "\(error.message): grant outrider_worker to the role that the worker logs in as"
                health.update { $0.obstacle = obstacle }
                log.warning("worker.waiting", ["reason": obstacle])
            } catch let error as PostgresError {
                health.update { $0.obstacle = "database: \(error.message)" }
                log.warning("database.lost", ["error": error.description])
            }
            control.withLock { $0.session = nil }
            dispatcher.sessionLost()
            metrics.databaseUp().set(0)
            let (isDraining, drainEnds) = control.withLock { ($0.isDraining, $0.drainEnds) }
            if isDraining, isFirst || dispatcher.hasNothingToRecord || drainEnds.map({ $0 < .now }) == true { return }
            wakeup.wait(for: backoff.next())
        }
    }

    /// A reason to wait that an operator removes.
    struct Obstacle: Error, CustomStringConvertible {
        let description: String
        var isPermanent = false
    }

    private func connect(isFirst: Bool) throws -> Connection {
        var options = ConnectionOptions()
        options.applicationName = "outrider \(configuration.name)"
        options.statementTimeout = .seconds(60)
        // Point queries on queues whose statistics are stale by nature: never let the planner read a whole table.
        options.settings =
            [
                ("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off"),
                ("enable_bitmapscan", "off"), ("plan_cache_mode", "force_generic_plan"),
                ("client_min_messages", "warning"),
            ] + ConnectionOptions.sessionOfAWorker
        let connection = try Connection(configuration.databaseURL, options: options)
        if let reason = try WorkerRegistry(connection).unsuitability() {
            throw Obstacle(description: reason, isPermanent: true)
        }
        if let mismatch = try Migrator().mismatch(on: connection) { throw Obstacle(description: mismatch) }
        return connection
    }

    private func serve(_ connection: Connection, began: () -> Void) throws {
        let token = UUID.random()
        try recordLeftovers(connection)
        dispatcher.sessionBegan(token: token)
        limits.sessionBegan()
        try connection.listen("outrider_wake")
        try apply(connection)
        try WorkerRegistry(connection).register(
            token: token, name: configuration.name, version: outriderVersion, lease: configuration.lease)
        dispatcher.extendLease(of: token, to: .now + configuration.lease * 3 / 4)
        control.withLock {
            $0.session = Session(token: token, name: configuration.name)
            $0.interruption = nil
            $0.mustReload = false
        }
        try load(connection, token)
        began()
        health.update { $0.obstacle = nil }
        metrics.databaseUp().set(1)
        log.info("worker.ready", ["worker": configuration.name, "backend": Int(connection.backendPID)])
        try exchangeUntilDrained(connection, token)
        try WorkerRegistry(connection).unregister(token: token)
        control.withLock { $0.session = nil }
    }

    private func exchangeUntilDrained(_ connection: Connection, _ token: UUID) throws {
        var floor = Floor()
        var horizonRead = ContinuousClock.now - .seconds(1)
        var helpAsked = horizonRead
        var dueTold = horizonRead
        var help: [Int32] = []
        while true {
            let (interruption, mustReload, isDraining, drainEnds, peers) = control.withLock { control in
                defer { control.mustReload = false }
                return (control.interruption, control.mustReload, control.isDraining, control.drainEnds, control.peers)
            }
            if let interruption { throw PostgresError.connectionLost(interruption) }
            if mustReload { try load(connection, token) }
            let now = ContinuousClock.now
            let lingerEnds = dispatcher.sendLingering(now)
            var work = dispatcher.takeWork(now: now)
            if work.isEmpty {
                if isDraining {
                    if dispatcher.isIdle, othersAreIdle.withLock({ $0 })() { return }
                    if let drainEnds, drainEnds <= now {
                        log.warning("worker.grace_over", ["in_flight": dispatcher.inFlight])
                        dispatcher.cancelAll()
                    }
                }
                let next = [work.nextPoll, lingerEnds].compactMap(\.self).min()
                let limit = next.map { $0 - now } ?? (isDraining ? .milliseconds(100) : .seconds(30))
                heard(try connection.wait(timeout: max(limit, .zero), or: wakeup))
                continue
            }
            if now - horizonRead > .milliseconds(20) {
                work.exchange.readsHorizon = true
                horizonRead = now
            }
            if !help.isEmpty, peers > 0, now - helpAsked > .milliseconds(100) {
                work.exchange.help += help
                helpAsked = now
            }
            let soonest = work.exchange.finished.lazy.compactMap(\.delay).min()
            if let soonest, soonest < Housekeeper.idleBeat, peers > 0, !health.current.isHousekeeper,
                now - dueTold > .milliseconds(50)
            {
                work.exchange.tellsOfDue = true
                dueTold = now
            }
            let outcome: Exchange.Outcome
            do {
                let released = work.released.filter { $0.owner == token }
                if !released.isEmpty { try WorkerRegistry(connection).release(released, token: token) }
                outcome = try work.exchange.run(on: connection, token: token, worker: configuration.name)
            } catch let error as PostgresError where error.isAboutData {
                try recordSingly(work.exchange.finished, connection, token)
                // Which locks the exchange took or gave back is not known now: a new session has none.
                throw error
            } catch {
                dispatcher.putBack(work.exchange.finished)
                throw error
            }
            if let soonest { alarm.expect(.now + soonest) }
            if let horizon = outcome.horizon { floor.observed(horizon) }
            help = dispatcher.received(outcome, for: work.exchange, floor: floor)
            metrics.claimDuration("deliveries").observe(ContinuousClock.now - now)
            if outcome.late > 0 { log.warning("delivery.late", ["count": outcome.late], limitPerSecond: 5) }
            heard(connection.takeNotifications())
        }
    }

    /// Notifications: a subscription's number from whoever made work for it, `help:` and the number from a worker that has
    /// more than it can take, `limits` from one whose shares or breakers have changed, `definitions` after an apply, a pause or a resume, `due` when something was scheduled that the
    /// leader should not oversleep.
    private func heard(_ notifications: [Notification]) {
        var woken: [Int32] = []
        for notification in notifications {
            if notification.payload == "definitions" {
                control.withLock { $0.mustReload = true }
            } else if notification.payload == "due" {
                alarm.expect(.now)
            } else if notification.payload == "limits" {
                alarm.ring()
            } else if let subscription = Int32(notification.payload.split(separator: ":").last ?? "") {
                woken.append(subscription)
            }
        }
        if !woken.isEmpty { dispatcher.wake(woken) }
    }

    /// Results that came in while there was no session.
    private func recordLeftovers(_ connection: Connection) throws {
        var work = dispatcher.takeWork(now: .now)
        work.exchange.requests = []
        work.exchange.sleep = []
        work.exchange.wake = []
        guard !work.exchange.finished.isEmpty else { return }
        let nobody = UUID(high: 0, low: 0)
        do {
            _ = try work.exchange.run(on: connection, token: nobody, worker: configuration.name)
        } catch let error as PostgresError where error.isAboutData {
            try recordSingly(work.exchange.finished, connection, nobody)
        } catch {
            dispatcher.putBack(work.exchange.finished)
            throw error
        }
    }

    /// One result that the database refuses must not keep the others from being recorded.
    private func recordSingly(_ results: [FinishedTry], _ connection: Connection, _ token: UUID) throws {
        for (index, result) in results.enumerated() {
            var exchange = Exchange()
            exchange.finished = [result]
            do {
                _ = try exchange.run(on: connection, token: token, worker: configuration.name)
            } catch let error as PostgresError where error.isAboutData {
                log.error(
                    "delivery.not_recorded",
                    ["message": "\(result.delivery.messageID)", "outcome": result.outcome, "error": error.message])
            } catch {
                dispatcher.putBack(Array(results[index...]))
                throw error
            }
        }
    }

    // MARK: - Definitions

    private func apply(_ connection: Connection) throws {
        let applied = try DefinitionStore(connection).apply(
            configuration.definitions, by: configuration.name, restores: false)
        for definition in applied {
            switch definition.change {
            case .created, .changed, .removed:
                log.info("definition.\(definition.change)", ["kind": definition.kind, "name": definition.name])
            case .superseded:
                log.warning(
                    "definition.superseded",
                    [
                        "kind": definition.kind, "name": definition.name,
                        "hint": "the database holds newer content; `outrider apply` would put this one back",
                    ])
            case .unchanged: break
            }
        }
    }

    private func load(_ connection: Connection, _ token: UUID) throws {
        let store = DefinitionStore(connection)
        let own = configuration.definitions.filter { $0.kind == .subscription }.map(\.name)
        let resolver = RouteResolver(
            endpoints: try store.endpoints(), secrets: configuration.secrets, exposed: configuration.exposed,
            source: configuration.source, limits: limits)
        var lacking: [String] = []
        var routes: [(id: Int32, route: Route, isPaused: Bool)] = []
        for stored in try store.subscriptions(named: configuration.servesAll ? nil : own) {
            do {
                routes.append((stored.id, try resolver.resolve(stored.definition.get()), stored.isPaused))
            } catch {
                lacking.append("subscription \(stored.name) is not served: \(error)")
                log.error("subscription.not_served", ["subscription": stored.name, "reason": "\(error)"])
            }
        }
        dispatcher.serve(routes)
        // Before the first claim, so that the first deliveries wait for no beat.
        try limits.negotiate(on: connection, token: token, worker: configuration.name, joins: true)
        health.update { $0.lackingSubscriptions = lacking }
        definitionsLoaded.withLock { $0 }()
    }
}

extension ConnectionOptions {
    /// What a worker's sessions rely on, whatever the database's or the role's own settings say. The server's keepalives
    /// end the session of a host that was cut off, and give its locks back. What a worker itself publishes is not refused or
    /// held up by the limits of a topic.
    static let sessionOfAWorker: [(name: String, value: String)] = [
        ("default_transaction_isolation", "read committed"), ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"), ("tcp_keepalives_count", "3"), ("tcp_user_timeout", "15000"),
        ("outrider.exempt", "on"),
    ]
}

extension PostgresError {
    fileprivate var isPermanent: Bool {
        if case .cannotConnect(retryable: false) = kind { true } else { false }
    }

    /// The server refuses this very content, and would refuse it again: data exceptions, violated constraints, limits.
    fileprivate var isAboutData: Bool {
        guard let state = sqlState else { return false }
        return ["22", "23", "54"].contains(state.errorClass)
    }
}
