import Postgres
import Primitives
import Store
import Synchronization
import Telemetry

/// A worker's beat, on a connection and a thread of its own, so that no busy queue delays it; and the chores of the one worker
/// that leads: moving what is due, carrying out operations, making and dropping partitions, pruning.
final class Housekeeper: Sendable {
    /// How long a beat is apart: twice a second with a little left, so that an idle worker stays below two queries a second.
    private static let idleBeat = Duration.milliseconds(550)
    private static let busyBeat = Duration.milliseconds(250)

    private let configuration: WorkerConfiguration
    private let loop: DeliveryLoop
    private let dispatcher: Dispatcher
    private let health: WorkerHealth
    private let log: Log
    private let metrics: WorkerMetrics
    private let wakeup: Wakeup
    private let stops = Mutex(false)

    init(
        configuration: WorkerConfiguration, loop: DeliveryLoop, dispatcher: Dispatcher, health: WorkerHealth, log: Log,
        metrics: WorkerMetrics, wakeup: Wakeup
    ) {
        self.configuration = configuration
        self.loop = loop
        self.dispatcher = dispatcher
        self.health = health
        self.log = log
        self.metrics = metrics
        self.wakeup = wakeup
    }

    func stop() {
        stops.withLock { $0 = true }
        wakeup.signal()
    }

    /// Runs until stopped; a lost connection is made anew.
    func run() {
        var backoff = ReconnectBackoff()
        while !stops.withLock({ $0 }) {
            guard loop.session != nil else {
                wakeup.wait(for: .milliseconds(20))
                continue
            }
            do {
                var options = ConnectionOptions()
                options.applicationName = "outrider \(configuration.name) housekeeping"
                options.statementTimeout = .seconds(120)
                options.settings = [("jit", "off"), ("enable_seqscan", "off"), ("client_min_messages", "warning")]
                let connection = try Connection(configuration.databaseURL, options: options)
                backoff.reset()
                try keepHouse(connection)
            } catch {
                log.debug("housekeeping.interrupted", ["error": "\(error)"])
                wakeup.wait(for: backoff.next())
            }
            metrics.leader().set(0)
            health.update { $0.isHousekeeper = false }
        }
    }

    private func keepHouse(_ connection: Connection) throws {
        let housekeeping = Housekeeping(connection)
        let connectedAt = ContinuousClock.now
        var leads = false
        var epoch: String?
        var sweepAt = connectedAt
        var chores = Chores(now: connectedAt)
        while !stops.withLock({ $0 }), let session = loop.session {
            let began = ContinuousClock.now
            let sweeps = began >= sweepAt
            let beat = try housekeeping.beat(
                Housekeeping.Vitals(
                    token: session.token, connectedFor: began - connectedAt, inFlight: dispatcher.inFlight,
                    isDraining: health.current.isDraining, leads: leads, sweeps: sweeps, floors: dispatcher.floors))
            let took = ContinuousClock.now - began
            // A sweep reads dead rows when somebody holds an old snapshot: never more than a fiftieth of the time.
            if sweeps { sweepAt = began + max(.seconds(1), took * 50) }
            guard beat.isAlive || loop.session?.token != session.token else {
                loop.beginAnew()
                wakeup.wait(for: .milliseconds(50))
                continue
            }
            dispatcher.extendLease(to: began + configuration.lease * 3 / 4)
            loop.sawPeers(beat.peers)
            if beat.rescued > 0 {
                metrics.rescued().increment(by: beat.rescued)
                log.warning("worker.rescued", ["deliveries": beat.rescued])
            }
            if !beat.ready.isEmpty { dispatcher.wake(beat.ready) }
            if !beat.stranded.isEmpty { dispatcher.resetFloors(beat.stranded) }
            if let epoch, epoch != beat.epoch { loop.reload() }
            epoch = beat.epoch
            if beat.leads != leads {
                leads = beat.leads
                health.update { $0.isHousekeeper = leads }
                metrics.leader().set(leads ? 1 : 0)
                log.info("housekeeping.leads", ["worker": session.name])
            }
            var pause = beat.dueIn == nil ? Self.idleBeat : Self.busyBeat
            if leads {
                if let dueIn = beat.dueIn {
                    if dueIn <= .zero { while try housekeeping.moveDue(most: 1000) == 1000 {} }
                    pause = min(pause, max(dueIn, .milliseconds(5)))
                }
                if beat.hasOperations {
                    // A bounded share of the time, so that the beat goes on.
                    let ends = ContinuousClock.now + .milliseconds(100)
                    while try housekeeping.stepOperation(most: 500), ContinuousClock.now < ends {}
                    pause = .milliseconds(10)
                }
                try chores.run(housekeeping, log)
            }
            wakeup.wait(for: pause)
        }
    }
}

/// What the leader does now and then.
private struct Chores {
    private var partitionsAt: ContinuousClock.Instant
    private var pruneAt: ContinuousClock.Instant

    init(now: ContinuousClock.Instant) {
        partitionsAt = now
        // Not while a worker starts: its first deliveries come first.
        pruneAt = now + .seconds(10)
    }

    mutating func run(_ housekeeping: Housekeeping, _ log: Log) throws {
        let now = ContinuousClock.now
        if now >= partitionsAt {
            partitionsAt = now + .seconds(600)
            try whenTheTableIsFree(log) {
                let made = try housekeeping.makePartitions()
                if made > 0 { log.info("partitions.made", ["count": made]) }
                while let dropped = try housekeeping.dropExpiredPartition() {
                    log.info("partition.dropped", ["partition": dropped])
                }
            }
        }
        if now >= pruneAt {
            let pruned = try housekeeping.prune(most: 5000)
            pruneAt = now + (pruned >= 5000 ? .seconds(1) : .seconds(60))
            if pruned > 0 { log.debug("pruned", ["rows": pruned]) }
        }
    }

    /// Partitions are attached and dropped only when no transaction stands in the way; else at the next occasion.
    private mutating func whenTheTableIsFree(_ log: Log, _ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as PostgresError where .lockNotAvailable ~= error {
            partitionsAt = .now + .seconds(5)
            log.debug("partitions.postponed", ["reason": error.message])
        }
    }
}
