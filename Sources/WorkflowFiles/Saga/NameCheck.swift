internal import Sagas

/// Names that stand twice: expressions could not tell them apart.
struct NameCheck {
    private let report: Report
    private var places: [String: Position] = [:]

    static func check(_ steps: [StepOutline], _ report: Report) {
        var check = NameCheck(report: report)
        check.ids(steps)
        check.loops(steps, around: [])
    }

    private init(report: Report) {
        self.report = report
    }

    private mutating func ids(_ steps: [StepOutline]) {
        for step in steps {
            if let id = step.id { add(id, at: step.position(of: "id")) }
            for block in step.blocks {
                if let id = block.id, let position = block.idPosition { add(id, at: position) }
                ids(block.steps)
            }
        }
    }

    private mutating func add(_ id: String, at position: Position) {
        guard let first = places[id] else {
            places[id] = position
            return
        }
        report.error(
            at: position, "the id '\(id)' stands twice; first at line \(first.line)",
            expected: "each id once in a saga, of steps and of branches")
    }

    private func loops(_ steps: [StepOutline], around: [String]) {
        for step in steps {
            var names = around
            if let (name, position) = step.loopVariable {
                if places[name] != nil {
                    report.error(
                        at: position, "'\(name)' stands for the name of an item, and is the id of a step",
                        expected: "a name of its own")
                } else if around.contains(name) {
                    report.error(
                        at: position, "'\(name)' stands for the name of an item inside a foreach that has it already",
                        expected: "a name of its own")
                }
                names.append(name)
            }
            for block in step.blocks { loops(block.steps, around: names) }
        }
    }
}
