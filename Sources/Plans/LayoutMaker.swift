/// Puts a plan's picture together, from the innermost steps outward.
struct LayoutMaker {
    /// What of the way back there is around a part: where to go on to, and where to come from.
    struct Around {
        /// Something earlier is undone after what is in this part.
        var above: Bool
        /// Something later can fail.
        var below: Bool
    }

    static let boxWidth = 232
    static let padding = 12
    /// Between a step and what undoes it.
    static let beside = 32
    /// From a step's edge to a way back that nothing stands at.
    static let narrow = 20
    static let between = 30
    static let margin = 24

    /// What is said at each step of a failure there.
    private let failures: [String: String]

    static func layout(_ plan: SagaPlan) -> PlanLayout {
        LayoutMaker(plan).whole(plan)
    }

    private init(_ plan: SagaPlan) {
        var failures: [String: String] = [:]
        for failure in plan.failures {
            switch failure.place {
            case .step(let id), .start(let id): failures[id] = failure.words
            case .output, .sagaOutput: break
            }
        }
        self.failures = failures
    }

    // MARK: - The whole

    private func whole(_ plan: SagaPlan) -> PlanLayout {
        let canAbort = plan.allSteps.contains { $0.undo != nil || $0.kind == .fail }
        let steps = sequence(
            plan.steps, Around(above: canAbort, below: false), reach: canAbort ? Self.reach(true) : nil)
        var whole = Piece()
        let x = Self.margin
        let spine = x + steps.spine
        let begin = box(
            .begin, width: Self.boxWidth,
            lines(plan.name, .title, Self.boxWidth) + lines("version \(plan.version)", .kind, Self.boxWidth)
                + lines(plan.about ?? "", .text, Self.boxWidth))
        whole.add(begin, centre: spine, y: Self.margin)
        let top = Self.margin + begin.frame.height + Self.between
        whole.vertical(.forward, x: spine, top - Self.between, top)
        if canAbort {
            let aborted = box(.aborted, width: 104, [PlanLayout.Line(text: "aborted", style: .title)])
            whole.add(aborted, centre: x + steps.back, y: top - Self.between - aborted.frame.height)
            whole.vertical(.back, x: x + steps.back, top - Self.between, top)
            whole.tip(.back, .up, x: x + steps.back, y: top - Self.between)
        }
        whole.place(steps.picture, x: x, y: top)
        var bottom = top + steps.height
        if !plan.steps.contains(where: \.alwaysFails) {
            whole.vertical(.forward, x: spine, bottom, bottom + Self.between)
            whole.tip(.forward, .down, x: spine, y: bottom + Self.between)
            let completed = box(.completed, width: 104, [PlanLayout.Line(text: "completed", style: .title)])
            whole.add(completed, centre: spine, y: bottom + Self.between)
            bottom += Self.between + completed.frame.height
        }
        whole.picture.width = x + max(steps.width, Self.boxWidth) + Self.margin
        let legend = box(
            .label, width: whole.width - 2 * Self.margin,
            lines(
                "Solid: the way forward. Dashed: the way back from a step that fails, upward, the last started first; "
                    + "what never started is passed over.", .fine, whole.width - 2 * Self.margin))
        whole.add(legend, centre: whole.width / 2, y: bottom + Self.between)
        whole.picture.height = bottom + Self.between + legend.frame.height + Self.margin
        return whole.picture
    }

    // MARK: - Steps in a row

    static func reach(_ hasUndo: Bool) -> Int {
        boxWidth / 2 + (hasUndo ? beside + boxWidth / 2 : narrow)
    }

    /// Also in a loop's only lane, so that the line goes straight through its frame.
    private static func hasUndoBeside(_ steps: [PlannedStep]) -> Bool {
        steps.contains { $0.undo != nil || $0.kind == .foreach && hasUndoBeside($0.arms.flatMap(\.steps)) }
    }

    /// - Parameters:
    ///   - steps: may be none, in an arm that does nothing.
    ///   - reach: from the spine to the way back; nil: as it fits.
    func sequence(_ steps: [PlannedStep], _ around: Around, reach: Int? = nil) -> Piece {
        let reach = reach ?? Self.reach(Self.hasUndoBeside(steps))
        var pieces: [(piece: Piece, comesBack: Bool, goesOn: Bool)] = []
        var above = around.above
        for (index, step) in steps.enumerated() {
            let below = around.below || steps[(index + 1)...].contains { !$0.standing.isPast }
            let piece = piece(step, Around(above: above, below: below), reach)
            pieces.append((piece, above && (below || !step.standing.isPast), !step.alwaysFails))
            above = above || step.hasUndo
        }
        let left = pieces.map(\.piece.spine).max() ?? Self.boxWidth / 2
        var sequence = Piece(spine: left, back: left + reach)
        let right = pieces.map { $0.piece.width - $0.piece.spine }.max() ?? Self.boxWidth / 2
        sequence.picture.width = left + max(right, around.above ? reach + 1 : 0)
        var y = 0
        for (index, (piece, comesBack, _)) in pieces.enumerated() {
            if index > 0 {
                if pieces[index - 1].goesOn { sequence.vertical(.forward, x: left, y, y + Self.between) }
                if comesBack { sequence.vertical(.back, x: sequence.back, y, y + Self.between) }
                y += Self.between
            }
            let bars = sequence.picture.bars.count
            sequence.place(piece.picture, x: left - piece.spine, y: y)
            if steps[index].isPivot, sequence.picture.bars.count > bars {
                sequence.picture.bars[sequence.picture.bars.count - 1].x = 0
                sequence.picture.bars[sequence.picture.bars.count - 1].width = sequence.width
            }
            y += piece.height
        }
        sequence.picture.height = y
        return sequence
    }

    private func piece(_ step: PlannedStep, _ around: Around, _ reach: Int) -> Piece {
        var piece = step.arms.isEmpty ? single(step, around, reach) : FrameMaker(step, around, reach, self).piece()
        guard step.isPivot else { return piece }
        let words = [PlanLayout.Line(text: "point of no return", style: .fine)]
        let sign = box(.label, width: words[0].width, words)
        let top = piece.height
        piece.picture.height += sign.frame.height + 10
        piece.add(sign, centre: piece.spine - 5 - (sign.frame.width + 1) / 2, y: top + 4)
        piece.picture.bars.append(Piece.Rect(x: 0, y: top + sign.frame.height + 5, width: piece.width, height: 3))
        piece.vertical(.forward, x: piece.spine, top, piece.height)
        if around.below, around.above || step.hasUndo { piece.vertical(.back, x: piece.back, top, piece.height) }
        return piece
    }

    /// A step's own box, with what undoes it. Its wires lead from the lower to the upper edge.
    func single(_ step: PlannedStep, _ around: Around, _ reach: Int) -> Piece {
        var piece = Piece(spine: Self.boxWidth / 2, back: Self.boxWidth / 2 + reach)
        var own = box(.step(step.kind, isPivot: step.isPivot), width: Self.boxWidth, lines(of: step))
        own.hint = hint(step)
        piece.picture.width = Self.boxWidth
        piece.picture.height = own.frame.height
        piece.tip(.forward, .down, x: piece.spine, y: 0)
        if let undo = step.undo {
            let width = Self.boxWidth
            var box = box(
                .undo, width: width,
                lines("undo", .kind, width) + lines(step.id, .title, width) + lines(undo.does, .text, width)
                    + lines(undo.settings.joined(separator: ", "), .fine, width))
            box.hint = ([undo.does] + undo.settings).joined(separator: ", ")
            piece.picture.height = max(piece.height, box.frame.height)
            own.frame.height = piece.height
            box.frame.height = piece.height
            box.frame.x = piece.back - width / 2
            piece.picture.width = box.frame.right
            piece.picture.boxes.append(box)
            piece.horizontal(.back, y: piece.height / 2, Self.boxWidth, box.frame.x)
            piece.tip(.back, .right, x: box.frame.x, y: piece.height / 2)
            if around.below { piece.tip(.back, .up, x: piece.back, y: piece.height) }
        } else if around.above, !step.standing.isPast {
            let middle = piece.height / 2
            let fails = step.arms.isEmpty || step.failsAtStart
            if fails { piece.horizontal(.back, y: middle, Self.boxWidth, piece.back) }
            piece.vertical(.back, x: piece.back, 0, around.below ? piece.height : fails ? middle : 0)
        }
        piece.picture.boxes.insert(own, at: 0)
        return piece
    }

    // MARK: - Boxes

    /// With its upper left corner at zero.
    func box(_ role: PlanLayout.Box.Role, width: Int, _ lines: [PlanLayout.Line]) -> PlanLayout.Box {
        let padding = role == .label ? 0 : Self.padding
        let height = lines.reduce(0) { $0 + $1.style.height } + padding
        return PlanLayout.Box(role: role, frame: Piece.Rect(x: 0, y: 0, width: width, height: height), lines: lines)
    }

    /// Wrapped for a box of that width.
    func lines(
        _ text: String, _ style: PlanLayout.Line.Style, _ width: Int, mostLines: Int = 4
    ) -> [PlanLayout.Line] {
        wrapped(text, width: PlanLayout.Line.columns(within: width - 2 * Self.padding, style), mostLines: mostLines)
            .map { PlanLayout.Line(text: $0, style: style) }
    }

    private func lines(of step: PlannedStep) -> [PlanLayout.Line] {
        let width = Self.boxWidth
        return lines(step.kind.rawValue + (step.isPivot ? ", the pivot" : ""), .kind, width)
            + lines(step.id, .title, width)
            + lines(step.condition.map { "only if \($0)" } ?? "", .fine, width, mostLines: 2)
            + lines(step.does, .text, width) + lines(step.settings.joined(separator: ", "), .fine, width)
    }

    private func hint(_ step: PlannedStep) -> String {
        var hint = "\(step.id): \(([step.does] + step.settings).joined(separator: ", "))."
        if let condition = step.condition { hint += " Only if \(condition)." }
        if let failure = failures[step.id] {
            hint += " If it fails\(step.arms.isEmpty ? "" : " at its start"): \(failure)."
        }
        return hint
    }
}

extension Piece {
    mutating func add(_ box: PlanLayout.Box, centre: Int, y: Int) {
        var box = box
        box.frame.x = centre - box.frame.width / 2
        box.frame.y = y
        picture.boxes.append(box)
    }
}
