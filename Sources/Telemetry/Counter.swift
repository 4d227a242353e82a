internal import Synchronization

/// A whole number that only grows, from any thread.
package final class Counter: Series {
    private let count = Atomic<Int>(0)

    package func increment(by amount: Int = 1) {
        precondition(amount >= 0, "a counter cannot fall")
        count.add(amount, ordering: .relaxed)
    }

    package var value: Int { count.load(ordering: .relaxed) }

    package func write(name: String, labels: String, into text: inout String) {
        writeSample(name, labels, String(value), into: &text)
    }
}
