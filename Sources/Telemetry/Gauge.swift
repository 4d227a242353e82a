internal import Synchronization

/// A number that goes up and down, from any thread.
package final class Gauge: Series {
    private let bits = Atomic<UInt64>(0)

    package func set(_ value: Double) {
        bits.store(value.bitPattern, ordering: .relaxed)
    }

    package func add(_ amount: Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + amount).bitPattern
            let (exchanged, seen) = bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if exchanged { return }
            old = seen
        }
    }

    package var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    package func write(name: String, labels: String, into text: inout String) {
        writeSample(name, labels, metricText(value), into: &text)
    }
}
