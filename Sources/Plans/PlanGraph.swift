/// A plan as nodes and edges, for programs that lay out graphs by themselves.
///
/// Forward from `begin` to `done`; what contains steps is a node, a group with its arms, and a node where they meet again. A
/// step that can be undone has a node beside it, and from there the way back leads from undoing to undoing up to `aborted`.
struct PlanGraph {
    enum Role: Hashable {
        case begin, done, aborted, step, choice, meeting, undo
    }

    struct Node {
        /// Letters, digits and `_`; no word that the formats know.
        var name: String
        var role: Role
        /// One line each; the first is the title.
        var lines: [String]
        var isPivot = false
    }

    struct Group {
        var name: String
        var title: String
        var items: [Item]
    }

    indirect enum Item {
        case node(Node)
        /// A step and what undoes it, side by side.
        case pair(Node, Node)
        case group(Group)
    }

    enum Way: Hashable {
        /// To what comes next.
        case forward
        /// To the next iteration of a loop.
        case again
        /// To what undoes the step; of a `fail` step to what is undone first.
        case fails
        /// To what is undone next.
        case back
    }

    struct Edge {
        var from: String
        var to: String
        var way: Way
        var label: String?
    }

    private(set) var items: [Item] = []
    private(set) var edges: [Edge] = []

    /// Where the way forward goes on, and what the edge to there says.
    private typealias End = (node: String, label: String?)

    init(_ plan: SagaPlan) {
        let begin = Node(name: "begin", role: .begin, lines: ["\(plan.name), version \(plan.version)"])
        items.append(.node(begin))
        var ends: [End] = [("begin", nil)]
        items += add(plan.steps, &ends)
        items.append(.node(Node(name: "done", role: .done, lines: ["completed"])))
        connect(ends, to: "done")
        if plan.allSteps.contains(where: { $0.undo != nil || $0.kind == .fail }) {
            items.append(.node(Node(name: "aborted", role: .aborted, lines: ["aborted"])))
            addWayBack(plan.steps, ["aborted"])
        }
    }

    // MARK: - Forward

    private mutating func add(_ steps: [PlannedStep], _ ends: inout [End]) -> [Item] {
        steps.flatMap { step in add(step, &ends) }
    }

    private mutating func add(_ step: PlannedStep, _ ends: inout [End]) -> [Item] {
        connect(ends, to: step.node)
        var node = Node(
            name: step.node, role: step.kind == .switch ? .choice : .step, lines: step.label, isPivot: step.isPivot)
        ends = step.alwaysFails ? [] : [(step.node, step.isPivot ? "no way back" : nil)]
        var items: [Item] = [.node(node)]
        if let undo = step.undo {
            let label = ["undo \(step.id)"] + wrapped(undo.does, width: 40, mostLines: 3)
            items = [.pair(node, Node(name: step.undoNode, role: .undo, lines: label))]
            edges.append(Edge(from: step.node, to: step.undoNode, way: .fails))
        }
        guard !step.arms.isEmpty else { return items }
        node = Node(name: "m_\(step.id)", role: .meeting, lines: [])
        var group = Group(name: "g_\(step.id)", title: step.id, items: items)
        for (index, arm) in step.arms.enumerated() {
            var armEnds: [End] = [(step.node, arm.title)]
            let inner = add(arm.steps, &armEnds)
            if !inner.isEmpty {
                group.items.append(.group(Group(name: "g_\(step.id)_\(index)", title: arm.name, items: inner)))
            }
            connect(armEnds, to: node.name)
        }
        group.items.append(.node(node))
        if step.kind == .foreach { edges.append(Edge(from: node.name, to: step.node, way: .again, label: "next")) }
        ends = step.alwaysFails ? [] : [(node.name, step.isPivot ? "no way back" : nil)]
        return [.group(group)]
    }

    private mutating func connect(_ ends: [End], to node: String) {
        for end in ends { edges.append(Edge(from: end.node, to: node, way: .forward, label: end.label)) }
    }

    // MARK: - Back

    /// - Parameter next: what is undone after these steps.
    /// - Returns: what is undone first of them.
    @discardableResult
    private mutating func addWayBack(_ steps: [PlannedStep], _ next: [String]) -> [String] {
        var next = next
        for step in steps {
            if step.kind == .fail {
                for target in next { edges.append(Edge(from: step.node, to: target, way: .fails)) }
            }
            if step.undo != nil {
                for target in next { edges.append(Edge(from: step.undoNode, to: target, way: .back)) }
                next = [step.undoNode]
            }
            var first: [String] = []
            for arm in step.arms {
                let start = addWayBack(arm.steps, next)
                if arm.steps.contains(where: \.hasUndo), !arm.alwaysFails { first += start }
            }
            if !first.isEmpty { next = first }
        }
        return next
    }
}

extension PlannedStep {
    fileprivate var node: String { "s_\(id)" }
    fileprivate var undoNode: String { "u_\(id)" }

    fileprivate var label: [String] {
        let condition = condition.map { wrapped("only if \($0)", width: 40, mostLines: 2) } ?? []
        return [id, isPivot ? "\(kind.rawValue), the pivot" : kind.rawValue] + condition
            + wrapped(does, width: 40, mostLines: 3)
    }
}
