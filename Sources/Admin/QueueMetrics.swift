import Postgres
import Store
import Synchronization
import Telemetry

/// Depth and age of the queues as gauges. Counting a long queue costs the database something, so a reading is kept for five
/// seconds, or twenty times as long as it took; one that failed for five seconds.
final class QueueMetrics: Sendable {
    private struct Reading: Sendable {
        var report: QueueReport?
        var topics: TopicReport?
        var validUntil = ContinuousClock.now
    }

    private let session: Session
    private let reading = Mutex(Reading())

    init(session: Session, registry: Metrics) {
        self.session = session
        registry.gauge(
            "outrider_queue_depth", help: "Deliveries that are not done, by state.", labels: ["subscription", "state"]
        ) { [weak self] in
            self?.depths.flatMap { depth in
                [
                    ([depth.subscription, "ready"], Double(depth.ready)),
                    ([depth.subscription, "in_flight"], Double(depth.inFlight)),
                    ([depth.subscription, "scheduled"], Double(depth.scheduled)),
                    ([depth.subscription, "blocked"], Double(depth.blocked)),
                ]
            } ?? []
        }
        registry.gauge(
            "outrider_dead_letters", help: "Dead letters that nobody redrove or discarded.", labels: ["subscription"]
        ) { [weak self] in self?.depths.map { ([$0.subscription], Double($0.dead)) } ?? [] }
        registry.gauge(
            "outrider_oldest_age_seconds", help: "Age of the oldest message that is not delivered, in seconds.",
            labels: ["subscription"]
        ) { [weak self] in self?.depths.map { ([$0.subscription], $0.oldestSeconds) } ?? [] }
        registry.gauge(
            "outrider_workers", help: "Workers that serve the subscription and are not draining.",
            labels: ["subscription"]
        ) { [weak self] in self?.depths.map { ([$0.subscription], Double($0.workers)) } ?? [] }
        registry.gauge(
            "outrider_sagas_stuck", help: "Sagas that wait for a person: failed undoing, or after their pivot.",
            labels: ["saga"]
        ) { [weak self] in self?.sagas.map { ([$0.name], Double($0.stuck)) } ?? [] }
        registry.gauge(
            "outrider_sagas_ready", help: "Times that sagas are due to be taken up by a worker.", labels: ["saga"]
        ) { [weak self] in self?.sagas.map { ([$0.name], Double($0.ready)) } ?? [] }
        registry.gauge(
            "outrider_topic_backlog", help: "Messages that wait for the deepest subscription of a topic with limits.",
            labels: ["topic"]
        ) { [weak self] in self?.topics?.topics.map { ([$0.name], Double($0.backlog)) } ?? [] }
        registry.gauge(
            "outrider_topic_full", help: "1 while a topic's backlog is at its limit.", labels: ["topic"]
        ) { [weak self] in self?.topics?.topics.map { ([$0.name], $0.isFull ? 1 : 0) } ?? [] }
        registry.counter(
            "outrider_dropped_total",
            help: "Deliveries that were given up for the limit of a topic, by its overflow: drop_oldest, drop_newest.",
            labels: ["subscription", "reason"]
        ) { [weak self] in self?.topics?.dropped.map { ([$0.subscription, $0.reason], Double($0.count)) } ?? [] }
        registry.counter(
            "outrider_published_total",
            help: "Messages inserted into the log, as PostgreSQL's statistics count them: rolled back ones included."
        ) { [weak self] in
            guard let published = self?.reading.withLock({ $0.report?.published }) else { return [] }
            return [([], Double(published))]
        }
    }

    private var depths: [QueueReport.Depth] { reading.withLock { $0.report?.depths ?? [] } }

    private var topics: TopicReport? { reading.withLock { $0.topics } }

    private var sagas: [QueueReport.Sagas] { reading.withLock { $0.report?.sagas ?? [] } }

    /// Reads the queues unless the last reading is fresh. While the database is away there are no figures, which is what an
    /// alert on absence sees.
    func refresh() async {
        let began = ContinuousClock.now
        guard reading.withLock({ $0.validUntil <= began }) else { return }
        let read = try? await session.run { (try QueueReport.read(on: $0), try TopicReport.read(on: $0)) }
        let now = ContinuousClock.now
        let pause = read == nil ? .seconds(5) : max(.seconds(5), (now - began) * 20)
        reading.withLock { $0 = Reading(report: read?.0, topics: read?.1, validUntil: now + pause) }
    }
}
