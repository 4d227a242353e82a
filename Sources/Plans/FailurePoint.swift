/// A place where the saga can fail, and what is undone then.
package struct FailurePoint: Sendable, Hashable {
    package enum Place: Sendable, Hashable {
        /// A step without inner steps.
        case step(String)
        /// A step that contains steps, before any of them has begun.
        case start(of: String)
        /// A step that has done what it was to do, when its `output:` is evaluated.
        case output(of: String)
        /// When the saga's own `output:` is evaluated.
        case sagaOutput
    }

    package enum Outcome: Sendable, Hashable {
        /// It aborts.
        case undone
        /// The pivot: it aborts if that is known not to have happened; while its outcome stays unknown the saga is stuck.
        case undoneUnlessUnknown
        /// It is stuck if one of these pivots has succeeded; else it aborts.
        case undoneUnlessPast([String])
        /// Behind one of these pivots: it is stuck, for a person to retry or skip.
        case stuck(behind: [String])
    }

    package var place: Place
    package var outcome: Outcome
    /// In this order; the order of starts, reversed.
    package var undone: [Undo]
    /// Steps that reached out and have no compensation: what they did stays. The last started first.
    package var stays: [String]
}

/// What is undone at one place of the way back.
package indirect enum Undo: Sendable, Hashable {
    case step(String, Proviso)
    case group(Group)

    package enum Proviso: Sendable, Hashable {
        case always
        /// The step that failed: it may have happened all the same.
        case mayHaveHappened
        /// It has an `if:`.
        case notSkipped
        /// Of another branch: it had started by then.
        case started
    }

    package struct Group: Sendable, Hashable {
        package enum Order: Sendable, Hashable {
            /// Of a `parallel`: over all lanes the last started first.
            case interleaved
            /// Of a `switch`: the lane of the case that ran.
            case chosen
            /// Of a `foreach`: the lane for each iteration, the last one first.
            case iterations
            /// The same for those before the one that failed.
            case earlierIterations
            /// Iterations that ran at the same time: over all of them the last started first.
            case mixedIterations
        }

        package struct Lane: Sendable, Hashable {
            /// Of which iterations, where that makes a difference.
            package var name: String?
            package var undone: [Undo]
        }

        /// The id of the step that contains them.
        package var container: String
        package var order: Order
        package var lanes: [Lane]
        package var proviso: Proviso
    }
}
