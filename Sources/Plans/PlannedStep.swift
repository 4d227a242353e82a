/// A step in the words of a plan.
package struct PlannedStep: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case call, publish, parallel, foreach, `switch`, wait, await, approve, run, set, fail
    }

    package var id: String
    package var kind: Kind
    /// What it does: `POST /charges at payments`.
    package var does: String
    /// Tries, times and limits, a phrase each.
    package var settings: [String]
    /// `${ .input.isGift }`: the step is skipped when it yields false or null.
    package var condition: String?
    package var isPivot: Bool
    package var standing: Standing
    /// Nil when nothing undoes it: it has no compensation, or stands where nothing is undone any more.
    package var undo: Undoing?
    /// It can fail though it has happened, or may have.
    package var mayEndUnknown: Bool
    /// What it did outside of the saga stays when the saga aborts.
    package var leavesTraces: Bool
    /// Whether it can fail by itself before any of its inner steps has begun …
    package var failsAtStart: Bool
    /// … and after they have ended.
    package var failsAtOutput: Bool
    /// Of a `parallel`: after a failure the other branches go on to their ends.
    package var waitsForOthers = false
    /// Of a `foreach`: iterations at once.
    package var limit = 1
    package var arms: [Arm] = []

    /// On which side of the pivot a step stands.
    package enum Standing: Sendable, Hashable {
        /// Before any pivot: a failure is undone.
        case undoable
        /// Behind a `switch` or an `if:` that may have led over one of these pivots.
        case perhapsPast([String])
        /// Behind a pivot, one of these: nothing is undone.
        case past([String])

        var isPast: Bool {
            if case .past = self { true } else { false }
        }
    }

    /// How a step is undone.
    package struct Undoing: Sendable, Hashable {
        package var does: String
        package var settings: [String] = []
        /// Also when the step was cleanly refused.
        package var wheneverStarted = false
    }

    /// A branch, a case, the body of a loop.
    package struct Arm: Sendable, Hashable {
        /// `warehouse`, `case 1`, `otherwise`, `each item`.
        package var name: String
        /// Of a case.
        package var condition: String?
        /// Empty where nothing is done otherwise.
        package var steps: [PlannedStep]
        /// Whoever comes to its end has come past a pivot.
        package var endsPast = false

        var alwaysFails: Bool { steps.contains(where: \.alwaysFails) }
        var title: String { name + (condition.map { ": when \($0)" } ?? "") }
    }

    static func flattened(_ steps: [PlannedStep]) -> [PlannedStep] {
        steps.flatMap { [$0] + flattened($0.arms.flatMap(\.steps)) }
    }

    /// Nothing comes after it.
    var alwaysFails: Bool {
        guard condition == nil else { return false }
        switch kind {
        case .fail: return true
        case .parallel: return arms.contains(where: \.alwaysFails)
        case .switch: return arms.allSatisfy(\.alwaysFails)
        case .foreach, .call, .publish, .wait, .await, .approve, .run, .set: return false
        }
    }

    /// Whether it can be undone, or anything in it.
    var hasUndo: Bool { undo != nil || arms.contains { $0.steps.contains(where: \.hasUndo) } }
}
