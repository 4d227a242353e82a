package import Sagas

/// A step and which side of it, as scenarios and reports spell it: `charge`, `charge/compensate`, `items[2].reserve`.
package struct Operation: Sendable, Hashable {
    /// Of the run, or the bare id where a scenario speaks of a step.
    package var step: StepPath
    package var op: Op

    package init(_ step: StepPath, _ op: Op = .action) {
        self.step = step
        self.op = op
    }

    /// Reads what `description` writes.
    init(_ text: String) {
        let ending = "/\(Op.compensate.rawValue)"
        if text.hasSuffix(ending) {
            self.init(StepPath(String(text.dropLast(ending.count))), .compensate)
        } else {
            self.init(StepPath(text))
        }
    }

    /// Whether this one, spelt by a path or by an id, means that one of a run. An id means the step in every iteration.
    func means(_ other: Operation) -> Bool { op == other.op && step.means(other.step) }
}

extension Operation: CustomStringConvertible {
    package var description: String { op == .action ? step.text : "\(step)/\(op.rawValue)" }
}

extension StepPath {
    func means(_ other: StepPath) -> Bool { self == other || text == other.stepID }
}
