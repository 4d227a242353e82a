import Postgres
import Primitives
import Store
import Telemetry

/// What the leading worker does for topics with a `max_backlog`: it counts what waits, tells publishers, and makes room where the
/// oldest messages are to go.
struct BacklogWatch {
    /// Publishers take a reading for themselves when there is none for a second.
    private static let interval = Duration.milliseconds(500)
    /// Dropped in one transaction, for each topic and subscription.
    private static let most = 1000

    private let log: Log
    private var readsAt = ContinuousClock.now

    init(log: Log) {
        self.log = log
    }

    /// Takes a reading if it is time.
    ///
    /// - Returns: when to come again.
    mutating func tend(_ housekeeping: Housekeeping) throws -> Duration {
        let began = ContinuousClock.now
        guard began >= readsAt else { return readsAt - began }
        var isBehind = false
        do {
            for event in try housekeeping.tendGates(most: Self.most) {
                isBehind = isBehind || event.count >= Self.most
                tell(event)
            }
        } catch let error as PostgresError where error.sqlState != nil {
            // Publishers take the readings meanwhile.
            log.warning("topics.not_counted", ["error": error.message], limitPerSecond: 1)
        }
        // Deep backlogs take long to count: never more than a tenth of the time.
        let took = ContinuousClock.now - began
        let pause = isBehind ? max(.milliseconds(10), took) : max(Self.interval, took * 9)
        readsAt = .now + pause
        return pause
    }

    private func tell(_ event: Housekeeping.GateEvent) {
        switch event.kind {
        case .full:
            log.warning(
                "topic.full",
                [
                    "topic": event.topic, "subscription": event.subscription, "depth": event.depth ?? 0,
                    "overflow": event.overflow,
                ], limitPerSecond: 1)
        case .open:
            log.info("topic.open", ["topic": event.topic, "subscription": event.subscription])
        case .dropped:
            log.warning(
                "deliveries.dropped",
                [
                    "topic": event.topic, "subscription": event.subscription, "count": event.count,
                    "reason": event.overflow,
                ], limitPerSecond: 1)
        }
    }
}
