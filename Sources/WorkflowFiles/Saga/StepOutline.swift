internal import Expressions
internal import Primitives
internal import Sagas

/// A step as far as it could be read, and where: what the checks over all steps work on, so that one wrong step does not
/// hide what is wrong with the others.
struct StepOutline {
    /// The steps of a branch, of a case or of a loop.
    struct Block {
        /// Of a branch.
        var id: String?
        var idPosition: Position?
        /// Whether its steps run when the step does, or when no case before it has been taken; nil when that depends.
        var runs: Bool?
        var steps: [StepOutline]
    }

    let mapping: Node.Mapping
    /// Nil when it is missing or wrong.
    var id: String?
    var kind: ActionKind?
    /// Nil when it has none, or one that is wrong.
    var condition: Expression?
    /// The name of the item, of a `foreach`.
    var loopVariable: (name: String, position: Position)?
    var blocks: [Block] = []
    var uses: [Site.Use] = []
    /// Nil when something is missing that it cannot be without.
    var step: Step?

    init(_ mapping: Node.Mapping) {
        self.mapping = mapping
    }

    /// For messages.
    var called: String { id.map { "the step '\($0)'" } ?? "this step" }

    /// Of the value of a key, or else of the step.
    func position(of key: String) -> Position { mapping[key]?.value.position ?? mapping.position }

    /// Whether its `if` lets it run; nil when that depends.
    var runs: Bool? { mapping["if"] == nil ? true : condition?.constantCondition }

    func namePosition(of key: String) -> Position { mapping[key]?.namePosition ?? mapping.position }

    /// Of a step that may be one, whatever else is wrong with it.
    var isPivot: Bool {
        guard case .scalar(let scalar)? = mapping["pivot"]?.value, let kind else { return false }
        return scalar.value == true && kind.kindsInstead(for: "pivot") == nil
    }
}

extension Expression {
    /// What it says as a condition, of one that depends on nothing.
    var constantCondition: Bool? {
        switch source {
        case "true": true
        case "false", "null": false
        default: nil
        }
    }
}

/// A sequence of steps that was read.
struct StepSequence {
    let outlines: [StepOutline]

    /// Nil when one of them lacks what it cannot be without.
    var steps: [Step]? {
        let steps = outlines.compactMap(\.step)
        return steps.count == outlines.count ? steps : nil
    }
}
