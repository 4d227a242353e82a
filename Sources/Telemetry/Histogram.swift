internal import Primitives
internal import Synchronization

/// How many observations fell into each bucket, and their sum, from any thread.
package final class Histogram: Series {
    /// 1 ms to 60 s, for what answers over a network.
    package static let latencies: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    private struct State {
        /// One more than there are bounds: the last takes what exceeds them all.
        var counts: [Int]
        var sum = 0.0
    }

    private let bounds: [Double]
    private let state: Mutex<State>

    init(buckets: [Double]) {
        bounds = buckets
        state = Mutex(State(counts: Array(repeating: 0, count: buckets.count + 1)))
    }

    package func observe(_ value: Double) {
        let bucket = bucket(of: value)
        state.withLock { state in
            state.counts[bucket] += 1
            state.sum += value
        }
    }

    /// In seconds.
    package func observe(_ duration: Duration) {
        observe(duration.seconds)
    }

    /// Many at once, for one taking of the lock.
    package func observe(_ durations: [Duration]) {
        state.withLock { state in
            for duration in durations {
                let value = duration.seconds
                state.counts[bucket(of: value)] += 1
                state.sum += value
            }
        }
    }

    private func bucket(of value: Double) -> Int {
        bounds.firstIndex { value <= $0 } ?? bounds.count
    }

    package func write(name: String, labels: String, into text: inout String) {
        let (counts, sum) = state.withLock { ($0.counts, $0.sum) }
        let prefix = labels.isEmpty ? "" : labels + ","
        var total = 0
        for (count, bound) in zip(counts, bounds + [.infinity]) {
            total += count
            writeSample(name + "_bucket", "\(prefix)le=\"\(metricText(bound))\"", String(total), into: &text)
        }
        writeSample(name + "_sum", labels, metricText(sum), into: &text)
        writeSample(name + "_count", labels, String(total), into: &text)
    }
}
