import Postgres
import Primitives
import Store
import Synchronization
import Telemetry

/// What the leading worker does now and then: making and dropping partitions of the log, pruning. On a thread of its own, with a
/// connection for each round, because a large partition takes its time and no beat may wait for it.
final class Chores: Sendable {
    private let databaseURL: String
    private let name: String
    private let log: Log
    private let wakeup = Wakeup()
    private let state = Mutex(State())

    private struct State {
        var leads = false
        var stops = false
        /// Of the round under way.
        var canceller: Canceller?
    }

    init(databaseURL: String, name: String, log: Log) {
        self.databaseURL = databaseURL
        self.name = name
        self.log = log
    }

    func lead(_ leads: Bool) {
        state.withLock { $0.leads = leads }
        wakeup.signal()
    }

    /// Ends the round under way, too: its transaction is rolled back, and the next leader does it again.
    func stop() {
        let canceller = state.withLock { state in
            state.stops = true
            return state.canceller
        }
        wakeup.signal()
        // When the server cannot be reached there is nothing to cancel.
        try? canceller?.cancel()
    }

    /// Runs until stopped.
    func run() {
        var partitionsAt = ContinuousClock.now
        // Not while a worker starts: its first deliveries come first.
        var pruneAt = partitionsAt + .seconds(10)
        while true {
            let (leads, stops) = state.withLock { ($0.leads, $0.stops) }
            if stops { return }
            let now = ContinuousClock.now
            guard leads, now >= min(partitionsAt, pruneAt) else {
                wakeup.wait(for: leads ? min(partitionsAt, pruneAt) - now : .seconds(3600))
                continue
            }
            do {
                let connection = try connect()
                state.withLock { $0.canceller = connection.canceller() }
                defer { state.withLock { $0.canceller = nil } }
                let housekeeping = Housekeeping(connection)
                if now >= partitionsAt { partitionsAt = now + (try tendPartitions(housekeeping)) }
                if now >= pruneAt { pruneAt = now + (try prune(housekeeping)) }
            } catch {
                guard !state.withLock({ $0.stops }) else { return }
                log.warning("housekeeping.failed", ["error": "\(error)"], limitPerSecond: 1)
                partitionsAt = max(partitionsAt, now + .seconds(10))
                pruneAt = max(pruneAt, now + .seconds(10))
            }
        }
    }

    private func connect() throws -> Connection {
        var options = ConnectionOptions()
        options.applicationName = "outrider \(name) housekeeping"
        options.statementTimeout = .seconds(600)
        options.settings = [("jit", "off"), ("client_min_messages", "warning")] + ConnectionOptions.sessionOfAWorker
        return try Connection(databaseURL, options: options)
    }

    /// - Returns: when to come again.
    private func tendPartitions(_ housekeeping: Housekeeping) throws -> Duration {
        do {
            let made = try housekeeping.makePartitions()
            if made > 0 { log.info("partitions.made", ["count": made]) }
            try housekeeping.closePartitions()
            while let dropped = try housekeeping.dropExpiredPartition() {
                log.info("partition.dropped", ["partition": dropped])
            }
            return .seconds(600)
        } catch let error as PostgresError where .lockNotAvailable ~= error {
            // Only when no transaction stands in the way.
            log.debug("partitions.postponed", ["reason": error.message])
            return .seconds(5)
        }
    }

    private func prune(_ housekeeping: Housekeeping) throws -> Duration {
        let buried = try housekeeping.buryRemoved(most: 5000)
        let pruned = try housekeeping.prune(most: 5000)
        if buried > 0 {
            log.warning("deliveries.buried", ["count": buried, "reason": "their subscription was removed"])
        }
        if pruned > 0 { log.debug("pruned", ["rows": pruned]) }
        return max(buried, pruned) >= 5000 ? .seconds(1) : .seconds(60)
    }
}
