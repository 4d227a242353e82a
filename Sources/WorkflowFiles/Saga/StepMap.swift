internal import Sagas

/// Where the steps of a saga stand: which of them have ended when another one starts.
struct StepMap {
    /// One level on the way from the saga's own steps down to a step.
    struct Hop {
        /// Which branch or case of the step above.
        let block: Int
        /// Which step of it.
        let index: Int
        let id: String?
        let kind: ActionKind?
    }

    typealias Path = [Hop]

    /// What a step is to another one, or to the end of the saga.
    enum Relation {
        case ended
        case itself
        /// It contains the other one.
        case around
        /// It is contained in the other one, and runs once for each item of this step, if any.
        case inside(loop: Hop?)
        case later
        /// It is in another branch of this step.
        case otherBranch(of: String?)
        /// It is in another case of this step.
        case otherCase(of: String?)
        /// It has ended, once for each item of this step.
        case inLoop(String?)
    }

    private(set) var paths: [String: Path] = [:]
    /// The step that has a branch, by the branch's id.
    private(set) var branchOwners: [String: String?] = [:]

    init(_ steps: [StepOutline]) {
        add(steps, block: 0, below: [])
    }

    private mutating func add(_ steps: [StepOutline], block: Int, below parent: Path) {
        for (index, step) in steps.enumerated() {
            let path = parent + [Hop(block: block, index: index, id: step.id, kind: step.kind)]
            if let id = step.id, paths[id] == nil { paths[id] = path }
            for (number, block) in step.blocks.enumerated() {
                if let branch = block.id { branchOwners.updateValue(step.id, forKey: branch) }
                add(block.steps, block: number, below: path)
            }
        }
    }

    /// - Parameter user: nil is the end of the saga.
    static func relation(of target: Path, to user: Path?) -> Relation {
        guard let user else { return ended(target, from: 0) }
        for level in 0..<min(target.count, user.count) {
            let (theirs, ours) = (target[level], user[level])
            if theirs.block != ours.block {
                let container = target[level - 1]
                return container.kind == .switch ? .otherCase(of: container.id) : .otherBranch(of: container.id)
            }
            if theirs.index < ours.index { return ended(target, from: level) }
            if theirs.index > ours.index { return .later }
        }
        if target.count == user.count { return .itself }
        if target.count < user.count { return .around }
        return .inside(loop: loop(around: target, from: user.count - 1))
    }

    /// Of a step that has ended: from outside of a loop its iterations cannot be told apart.
    private static func ended(_ target: Path, from level: Int) -> Relation {
        loop(around: target, from: level).map { .inLoop($0.id) } ?? .ended
    }

    private static func loop(around target: Path, from level: Int) -> Hop? {
        target[level...].dropLast().first { $0.kind == .foreach }
    }
}
