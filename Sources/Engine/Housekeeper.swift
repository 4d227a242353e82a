import Postgres
import Primitives
import Store
import Synchronization
import Telemetry

/// A worker's beat, on a connection and a thread of its own, so that no busy queue delays it; and what the one worker that leads
/// does at each beat: moving what is due, carrying out operations, counting backlogs.
final class Housekeeper: Sendable {
    /// How long a beat is apart: twice a second with a little left, so that an idle worker stays below two queries a second.
    static let idleBeat = Duration.milliseconds(550)
    private static let busyBeat = Duration.milliseconds(250)
    /// The longest that a beat waits for the leader's work.
    private static let share = Duration.milliseconds(100)

    private let configuration: WorkerConfiguration
    private let loop: DeliveryLoop
    private let dispatcher: Dispatcher
    private let limits: Limits
    private let sagas: SagaLoop
    private let chores: Chores
    private let health: WorkerHealth
    private let log: Log
    private let metrics: WorkerMetrics
    private let alarm: BeatAlarm
    private let stops = Mutex(false)

    init(
        configuration: WorkerConfiguration, loop: DeliveryLoop, dispatcher: Dispatcher, limits: Limits, sagas: SagaLoop,
        chores: Chores, alarm: BeatAlarm, health: WorkerHealth, log: Log, metrics: WorkerMetrics
    ) {
        self.configuration = configuration
        self.loop = loop
        self.dispatcher = dispatcher
        self.limits = limits
        self.sagas = sagas
        self.chores = chores
        self.alarm = alarm
        self.health = health
        self.log = log
        self.metrics = metrics
    }

    func stop() {
        stops.withLock { $0 = true }
        alarm.ring()
    }

    /// Runs until stopped; a lost connection is made anew.
    func run() {
        var backoff = ReconnectBackoff()
        var lastBeat = ContinuousClock.now
        while !stops.withLock({ $0 }) {
            guard loop.session != nil else {
                lastBeat = .now
                alarm.wait(for: .milliseconds(20))
                continue
            }
            do {
                let connection = try connect()
                try keepHouse(connection) {
                    backoff.reset()
                    lastBeat = .now
                    health.update { $0.silence = nil }
                }
            } catch {
                log.warning("housekeeping.interrupted", ["error": "\(error)"], limitPerSecond: 1)
                if ContinuousClock.now - lastBeat > configuration.lease / 2 {
                    health.update { $0.silence = "no beat succeeds: \(error)" }
                }
                alarm.wait(for: backoff.next())
            }
            lead(false)
        }
    }

    private func connect() throws -> Connection {
        var options = ConnectionOptions()
        options.applicationName = "outrider \(configuration.name) beat"
        options.statementTimeout = .seconds(60)
        options.settings =
            [("jit", "off"), ("enable_seqscan", "off"), ("client_min_messages", "warning")]
            + ConnectionOptions.sessionOfAWorker
        return try Connection(configuration.databaseURL, options: options)
    }

    private func keepHouse(_ connection: Connection, beaten: () -> Void) throws {
        let housekeeping = Housekeeping(connection)
        let connectedAt = ContinuousClock.now
        var leads = false
        var epoch: String?
        var sweepAt = connectedAt
        var backlogs = BacklogWatch(log: log)
        while !stops.withLock({ $0 }), let session = loop.session {
            let began = ContinuousClock.now
            let sweeps = began >= sweepAt
            let beat = try housekeeping.beat(
                Housekeeping.Vitals(
                    token: session.token, connectedFor: began - connectedAt, inFlight: dispatcher.inFlight,
                    isDraining: health.current.isDraining, leads: leads, sweeps: sweeps,
                    floors: dispatcher.floors + sagas.floors))
            let took = ContinuousClock.now - began
            // A sweep reads dead rows when somebody holds an old snapshot: never more than a fiftieth of the time.
            if sweeps { sweepAt = began + max(.seconds(1), took * 50) }
            guard beat.isAlive || loop.session?.token != session.token else {
                loop.beginAnew("another worker took over: this one had not been seen for its lease")
                alarm.wait(for: .milliseconds(50))
                continue
            }
            beaten()
            heard(beat, of: session, began: began)
            try limits.tend(
                beat.limits, peers: beat.peers, on: connection, token: session.token, worker: session.name)
            if let epoch, epoch != beat.epoch {
                loop.reload()
                sagas.reload()
            }
            epoch = beat.epoch
            if beat.leads != leads {
                leads = beat.leads
                lead(leads)
                log.info("housekeeping.leads", ["worker": session.name])
            }
            guard leads else {
                alarm.wait(for: Self.idleBeat)
                continue
            }
            var pause = try work(housekeeping, beat)
            if beat.hasBacklogs { pause = min(pause, try backlogs.tend(housekeeping)) }
            alarm.wait(for: pause)
        }
    }

    private func heard(
        _ beat: Housekeeping.Beat, of session: DeliveryLoop.Session, began: ContinuousClock.Instant
    ) {
        dispatcher.setClock(beat.at)
        sagas.setClock(beat.at)
        let leaseEnds = began + configuration.lease * 3 / 4
        dispatcher.extendLease(of: session.token, to: leaseEnds)
        sagas.extendLease(of: session.token, to: leaseEnds)
        loop.sawPeers(beat.peers)
        if beat.rescued > 0 {
            metrics.rescued().increment(by: beat.rescued)
            log.warning("worker.rescued", ["deliveries": beat.rescued])
        }
        if !beat.ready.isEmpty {
            dispatcher.wake(beat.ready)
            sagas.wake(beat.ready)
        }
        if !beat.stranded.isEmpty {
            dispatcher.resetFloors(beat.stranded)
            sagas.resetFloors(beat.stranded)
        }
    }

    private func lead(_ leads: Bool) {
        health.update { $0.isHousekeeper = leads }
        metrics.leader().set(leads ? 1 : 0)
        chores.lead(leads)
    }

    // MARK: - Leading

    /// Does the leader's share of work for one beat, and returns how long to wait for the next.
    private func work(_ housekeeping: Housekeeping, _ beat: Housekeeping.Beat) throws -> Duration {
        var pause = beat.dueIn == nil ? Self.idleBeat : Self.busyBeat
        if let dueIn = beat.dueIn {
            pause = min(pause, max(dueIn, .milliseconds(5)))
            let ends = ContinuousClock.now + Self.share
            while dueIn <= .zero, try housekeeping.moveDue(most: 1000) == 1000, ContinuousClock.now < ends {}
        }
        if beat.hasUnsettledSlots {
            try housekeeping.settleSlots()
            pause = min(pause, Self.busyBeat)
        }
        if beat.hasOperations, try stepOperations(housekeeping) { pause = .milliseconds(10) }
        return pause
    }

    /// Goes on with every open operation in turn. True when any of them can go on at once.
    private func stepOperations(_ housekeeping: Housekeeping) throws -> Bool {
        let ends = ContinuousClock.now + Self.share
        var open = try housekeeping.openOperations()
        while !open.isEmpty, ContinuousClock.now < ends {
            open = try open.filter { operation in
                do {
                    return try housekeeping.stepOperation(operation, most: 1000)
                } catch let error as PostgresError where error.isOfStatement {
                    log.error("operation.failed", ["operation": "\(operation)", "error": error.message])
                    try housekeeping.fail(operation, error.message)
                    return false
                }
            }
        }
        return !open.isEmpty
    }
}

extension PostgresError {
    /// The server refuses the statement for what it says, not for the moment's sake: neither a lost connection nor a
    /// conflict (class 40), a lack of resources (53), a lock or timeout (55, 57) or trouble of the system (58).
    fileprivate var isOfStatement: Bool {
        guard let state = sqlState else { return false }
        return !["40", "53", "55", "57", "58"].contains(state.errorClass)
    }
}
