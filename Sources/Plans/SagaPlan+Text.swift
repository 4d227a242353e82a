extension SagaPlan {
    /// For a terminal: the way forward as a tree, then the way back from each step. At most 100 columns, except where steps
    /// are nested so deeply that nothing would be left of a line.
    package var text: String {
        var page = TextPage()
        page.add("\(name), version \(version)")
        if let about { page.add(about) }
        page.add()
        let label = (facts.map(\.label.columns).max() ?? 0) + 2
        for fact in facts { page.add(fact.value, first: fact.label.padded(to: label), rest: .spaces(label)) }
        page.add()
        page.add("The way forward")
        page.add()
        page.tree(steps, "")
        page.add()
        page.add("The way back")
        page.add()
        wayBack(&page)
        page.add()
        for rule in rules { page.add(rule) }
        return page.text
    }

    /// Places in a row with the same way back share their lines.
    private func wayBack(_ page: inout TextPage) {
        var rows: [(places: [String], words: String)] = []
        for failure in failures {
            if rows.last?.words == failure.words {
                rows[rows.count - 1].places.append(failure.place.words)
            } else {
                rows.append(([failure.place.words], failure.words))
            }
        }
        let header = "if it fails at"
        let width = max(header.columns, min(failures.map(\.place.words.columns).max() ?? 0, 28))
        page.line(header.padded(to: width) + "  then")
        for row in rows {
            let places = wrapped(row.places.joined(separator: ", "), width: width)
            let words = wrapped(row.words, width: TextPage.width - width - 2)
            for index in 0..<max(places.count, words.count) {
                let place = index < places.count ? places[index] : ""
                page.line(place.padded(to: width) + "  " + (index < words.count ? words[index] : ""))
            }
        }
    }

    /// What holds for every way back.
    var rules: [String] {
        var rules: [String] = []
        if steps.contains(where: \.hasUndo) {
            rules.append(
                "One at a time, each after the one before it has succeeded; what never started or was skipped is passed over. "
                    + "A compensation that is refused or out of tries leaves the saga stuck, for a person.")
        }
        if failures.contains(where: { !$0.stays.isEmpty }) {
            rules.append("What stays has no compensation.")
        }
        rules.append(
            pivots.isEmpty
                ? "The saga's timeout and a cancel undo in the same order whatever has started by then."
                : "The saga's timeout and a cancel undo in the same order whatever has started by then; once the pivot has "
                    + "succeeded, the timeout leaves the saga stuck and a cancel is refused.")
        return rules
    }
}

/// Lines of text, wrapped.
private struct TextPage {
    static let width = 100
    /// However deep it stands.
    static let leastWidth = 36

    private(set) var text = ""

    /// - Parameters:
    ///   - first: stands before the first line.
    ///   - rest: stands before the others.
    mutating func add(_ content: String = "", first: String = "", rest: String = "") {
        let room = max(Self.leastWidth, Self.width - max(first.columns, rest.columns))
        let lines = wrapped(content, width: room)
        for (index, line) in (lines.isEmpty ? [""] : lines).enumerated() {
            self.line((index == 0 ? first : rest) + line)
        }
    }

    /// As it is.
    mutating func line(_ line: String) {
        text += line
        while text.last == " " { text.removeLast() }
        text += "\n"
    }

    /// Phrases, if there are any.
    private mutating func add(_ phrases: [String], first: String, rest: String) {
        if !phrases.isEmpty { add(phrases.joined(separator: ", "), first: first, rest: rest) }
    }

    /// - Parameter margin: the lines of the trees around this one.
    mutating func tree(_ steps: [PlannedStep], _ margin: String) {
        for (index, step) in steps.enumerated() {
            let isLast = index == steps.count - 1
            // What follows the pivot hangs on its line.
            let below = margin + (isLast && !step.isPivot ? "   " : "│  ")
            let inner = below + (step.arms.isEmpty ? "  " : "│ ")
            add(step.title, first: margin + (isLast && !step.isPivot ? "└─ " : "├─ "), rest: inner)
            if let condition = step.condition { add("only if \(condition)", first: inner, rest: inner + "  ") }
            if step.arms.isEmpty {
                add(step.does, first: inner, rest: inner + "  ")
                add(step.settings, first: inner, rest: inner + "  ")
            }
            if let undo = step.undo {
                let when = undo.wheneverStarted ? ", also when it was refused" : ""
                add("undo: \(undo.does)\(when)", first: inner, rest: inner + "  ")
                add(undo.settings, first: inner + "  ", rest: inner + "  ")
            } else if step.leavesTraces, !step.standing.isPast {
                add("undo: nothing, for it has no compensation", first: inner, rest: inner + "  ")
            }
            arms(step.arms, below)
            if step.isPivot {
                add(
                    "the point of no return: once \(step.id) has succeeded, nothing is undone",
                    first: margin + (isLast ? "╘══ " : "╞══ "), rest: margin + (isLast ? "    " : "│   "))
            }
        }
    }

    private mutating func arms(_ arms: [PlannedStep.Arm], _ margin: String) {
        for (index, arm) in arms.enumerated() {
            let isLast = index == arms.count - 1
            let title = arm.name + (arm.condition.map { ": when \($0)" } ?? "") + (arm.steps.isEmpty ? ": nothing" : "")
            add(title, first: margin + (isLast ? "└─ " : "├─ "), rest: margin + (isLast ? "     " : "│    "))
            tree(arm.steps, margin + (isLast ? "   " : "│  "))
        }
    }
}

extension PlannedStep {
    fileprivate var title: String {
        let title = "\(id): \(kind.rawValue)" + (isPivot ? ", the pivot" : "")
        return arms.isEmpty ? title : ([title, does] + settings).joined(separator: ", ")
    }
}

extension String {
    fileprivate static func spaces(_ count: Int) -> String { String(repeating: " ", count: count) }

    fileprivate func padded(to width: Int) -> String { self + .spaces(width - columns) }
}
