internal import Synchronization

/// A program's metrics, written out for Prometheus.
///
/// A family has a name, a help text and names of labels; its series, one for each combination of label values, are handles
/// that a hot path gets once and then updates without looking anything up. Names follow Prometheus' conventions
/// (prometheus.io/docs/practices/naming): base units, counters ending in `_total`; a wrong one is a mistake in the program and
/// traps.
package final class Metrics: Sendable {
    /// What `exposition` is served as.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private let families = Mutex<[any Exposable]>([])

    package init() {}

    /// Something that only grows, such as `outrider_deliveries_total`.
    package func counter(_ name: String, help: String, labels: [String] = []) -> Family<Counter> {
        precondition(name.hasSuffix("_total"), "the counter \(name) must end in _total")
        return add(Family(name: name, help: help, kind: "counter", labels: labels) { Counter() })
    }

    /// Something that goes up and down.
    package func gauge(_ name: String, help: String, labels: [String] = []) -> Family<Gauge> {
        add(Family(name: name, help: help, kind: "gauge", labels: labels) { Gauge() })
    }

    /// A distribution, such as `outrider_request_duration_seconds`. `buckets` are upper bounds, growing, without infinity.
    package func histogram(
        _ name: String, help: String, labels: [String] = [], buckets: [Double] = Histogram.latencies
    ) -> Family<Histogram> {
        precondition(
            !buckets.isEmpty && zip(buckets, buckets.dropFirst()).allSatisfy(<) && buckets.allSatisfy(\.isFinite),
            "the buckets of \(name) must grow")
        return add(Family(name: name, help: help, kind: "histogram", labels: labels) { Histogram(buckets: buckets) })
    }

    /// Gauges whose series and values are computed whenever the metrics are read; `read` must be quick and must not block.
    package func gauge(
        _ name: String, help: String, labels: [String] = [],
        read: @escaping @Sendable () -> [(labels: [String], value: Double)]
    ) {
        add(ComputedFamily(name: name, help: help, kind: "gauge", labels: labels, read: read))
    }

    /// The same for what something else counts, such as the CPU time of the process.
    package func counter(
        _ name: String, help: String, labels: [String] = [],
        read: @escaping @Sendable () -> [(labels: [String], value: Double)]
    ) {
        precondition(name.hasSuffix("_total"), "the counter \(name) must end in _total")
        add(ComputedFamily(name: name, help: help, kind: "counter", labels: labels, read: read))
    }

    /// All families in the text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats); those that have no series
    /// yet are left out.
    package func exposition() -> String {
        var text = ""
        for family in families.withLock({ $0 }) { family.write(into: &text) }
        return text
    }

    @discardableResult
    private func add<Added: Exposable>(_ family: Added) -> Added {
        families.withLock { families in
            precondition(
                !families.contains { $0.header.name == family.header.name }, "\(family.header.name) exists already")
            families.append(family)
        }
        return family
    }
}
