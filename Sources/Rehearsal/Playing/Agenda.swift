import Primitives
import Sagas

/// What is going to happen, by virtual time. What is due at the same time happens in the order in which it was entered.
struct Agenda {
    enum Item {
        case event(SagaEvent)
        /// The end of a sub-saga that may be told otherwise before it comes.
        case childEnd(StepPath, SagaEvent.ChildOutcome)
        /// The worker dies.
        case crash(downtime: Duration)
        /// Another worker takes the saga up.
        case takeover

        /// Whether it dies with the worker: an answer is on the worker's own connection.
        var isAnswer: Bool {
            if case .event(.answered) = self { true } else { false }
        }
    }

    private var items: [(at: Timestamp, item: Item)] = []

    /// Of the first item.
    var nextTime: Timestamp? { items.first?.at }

    mutating func add(_ item: Item, at time: Timestamp) {
        let place = items.firstIndex { $0.at > time } ?? items.endIndex
        items.insert((time, item), at: place)
    }

    mutating func removeFirst() -> (at: Timestamp, item: Item) { items.removeFirst() }

    mutating func removeAnswers() { items.removeAll { $0.item.isAnswer } }

    mutating func removeChildEnd(_ step: StepPath) {
        items.removeAll { entry in
            if case .childEnd(step, _) = entry.item { true } else { false }
        }
    }
}
