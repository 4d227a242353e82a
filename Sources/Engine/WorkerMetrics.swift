package import Telemetry

/// What a worker counts, with the names that dashboards and alerts know.
package struct WorkerMetrics: Sendable {
    package let registry: Metrics
    let deliveries: Family<Counter>
    let handlerDuration: Family<Histogram>
    let claimDuration: Family<Histogram>
    let exchanges: Family<Counter>
    let rescued: Family<Counter>
    let databaseUp: Family<Gauge>
    let leader: Family<Gauge>
    let deliveryLag: Family<Histogram>
    let sagas: Family<Counter>
    let batchSize: Family<Histogram>
    let scheduleFirings: Family<Counter>

    /// A fifth apart, from 0.25 ms to 1 s: claims are compared with each other, and coarse buckets would hide a change.
    private static let fineLatencies = (0..<46).map { step in
        (0..<step).reduce(0.000_25) { bound, _ in (bound * 1.2 * 1e6).rounded() / 1e6 }
    }

    package init(registry: Metrics = Metrics()) {
        self.registry = registry
        deliveries = registry.counter(
            "outrider_deliveries_total",
            help:
                "Tries that ended, by what they came to: succeeded, failed (tried again), dead, dropped, expired, filtered, late.",
            labels: ["subscription", "outcome"])
        handlerDuration = registry.histogram(
            "outrider_handler_duration_seconds", help: "From sending a request to its answer, in seconds.",
            labels: ["subscription"], buckets: Histogram.latencies)
        deliveryLag = registry.histogram(
            "outrider_delivery_lag_seconds",
            help: "From publishing to the end of a successful first try, by this machine's clock, in seconds.",
            labels: ["subscription"], buckets: Histogram.latencies)
        batchSize = registry.histogram(
            "outrider_batch_size", help: "Messages in each request of a subscription with batches.",
            labels: ["subscription"], buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
        claimDuration = registry.histogram(
            "outrider_claim_duration_seconds",
            help:
                "One exchange with the database, in seconds: results in, deliveries out (kind deliveries); or decisions in, due sagas out (kind sagas).",
            labels: ["kind"], buckets: Self.fineLatencies)
        exchanges = registry.counter(
            "outrider_claimed_total", help: "Deliveries claimed from the queue.", labels: ["subscription"])
        sagas = registry.counter(
            "outrider_sagas_total",
            help:
                "Sagas that ended, or got stuck, by what they came to: completed, compensated, failed, terminated, stuck.",
            labels: ["saga", "outcome"])
        scheduleFirings = registry.counter(
            "outrider_schedule_firings_total",
            help:
                "Firings of schedules by what they came to: fired, failed; missed counts gaps, not what fell into them.",
            labels: ["schedule", "outcome"])
        rescued = registry.counter(
            "outrider_rescued_total", help: "Deliveries taken over from workers that were lost.", labels: [])
        databaseUp = registry.gauge("outrider_database_up", help: "1 while the worker's session stands.", labels: [])
        // Alerts ask whether it is there at all; `outrider_database_up` and /readyz say how it fares.
        registry.gauge("outrider_up", help: "1 while the worker runs.", labels: [])().set(1)
        leader = registry.gauge("outrider_housekeeper", help: "1 while this worker keeps house.", labels: [])
    }
}
