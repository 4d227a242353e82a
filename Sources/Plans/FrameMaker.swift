/// Draws a step that contains steps: its own box on top, a lane for each arm below, a frame around them.
///
/// Between the box and the lanes run two lines from side to side, the way back above the way forward; below the lanes two more,
/// the other way round.
struct FrameMaker {
    private struct Lane {
        var piece: Piece
        var label: PlanLayout.Box
        /// Of the lane in the frame.
        var x = 0
        /// From the lane's left edge.
        var spine: Int
        var width: Int
        var goesOn: Bool
        /// The way back leaves it at its top, and enters it at its bottom.
        var leaves: Bool
        var enters: Bool
    }

    private static let padding = 14
    private static let lane = 28
    private static let row = 13

    private let step: PlannedStep
    private let around: LayoutMaker.Around
    private let head: Piece
    private var lanes: [Lane]
    private var isLoop: Bool { step.kind == .foreach && lanes.contains(where: \.goesOn) }

    init(_ step: PlannedStep, _ around: LayoutMaker.Around, _ reach: Int, _ maker: LayoutMaker) {
        self.step = step
        self.around = around
        let above = around.above || step.undo != nil
        // Nobody comes back through an arm that ends in a failure or behind a pivot, if there is another one.
        let someGoBack = step.arms.contains { !$0.endsPast && !$0.alwaysFails }
        lanes = step.arms.map { arm in
            let inner = LayoutMaker.Around(
                above: above, below: around.below && !(someGoBack && (arm.endsPast || arm.alwaysFails)))
            let hasBack = inner.below || arm.steps.contains { !$0.standing.isPast }
            let piece = maker.sequence(arm.steps, inner)
            let words = maker.lines(arm.title, .text, LayoutMaker.boxWidth)
            var label = maker.box(.label, width: (words.map(\.width).max() ?? 0) + 12, words)
            label.hint = arm.title
            let left = max(piece.spine, label.frame.width / 2) + (step.kind == .foreach ? 16 : 0)
            let right = max(piece.width - piece.spine, label.frame.width - label.frame.width / 2)
            return Lane(
                piece: piece, label: label, spine: left, width: left + right, goesOn: !arm.alwaysFails,
                leaves: above && hasBack,
                enters: inner.below && (above || arm.steps.contains(where: \.hasUndo)))
        }
        let comesBack = lanes.contains(where: \.leaves)
        head = maker.single(step, LayoutMaker.Around(above: around.above, below: comesBack), reach)
    }

    func piece() -> Piece {
        var lanes = lanes
        let lanesWidth = lanes.reduce(0) { $0 + $1.width } + Self.lane * (lanes.count - 1)
        let headWidth = max(head.width, around.above ? head.back + 1 : 0)
        let inner = max(lanesWidth, headWidth)
        var x = Self.padding + (inner - lanesWidth) / 2
        for index in lanes.indices {
            lanes[index].x = x
            x += lanes[index].width + Self.lane
        }
        // The box may have to move a little; the frame then makes room.
        let middle = Self.padding + (inner - headWidth) / 2 + head.spine
        let spine = max(Self.padding + head.spine, place(of: middle, among: lanes))
        var frame = Piece(spine: spine, back: spine + head.back - head.spine)
        frame.picture.width = max(inner + 2 * Self.padding, spine - head.spine + headWidth + Self.padding)

        frame.vertical(.forward, x: spine, 0, Self.padding)
        if around.above, !step.standing.isPast || around.below { frame.vertical(.back, x: frame.back, 0, Self.padding) }
        frame.place(head.picture, x: spine - head.spine, y: Self.padding)
        let top = Self.padding + head.height
        let bottom = drawLanes(lanes, &frame, from: top)
        frame.picture.height = bottom
        frame.picture.frames.insert(Piece.Rect(x: 0, y: 0, width: frame.width, height: bottom), at: 0)
        return frame
    }

    /// In one line with a lane that is near, and apart from every line of the other kind.
    private func place(of spine: Int, among lanes: [Lane]) -> Int {
        let near = lanes.map { $0.x + $0.spine }.min { abs($0 - spine) < abs($1 - spine) } ?? spine
        let reach = head.back - head.spine
        func isClear(_ spine: Int) -> Bool {
            lanes.allSatisfy { lane in
                abs(lane.x + lane.spine - lane.piece.spine + lane.piece.back - spine) >= 8
                    && abs(lane.x + lane.spine - spine - reach) >= 8
            }
        }
        let wanted = lanes.count == 1 || abs(near - spine) < 48 ? near : spine
        return (0..<20).flatMap { [wanted + 8 * $0, wanted - 8 * $0] }.first(where: isClear) ?? wanted
    }

    /// - Returns: the frame's lower edge.
    private func drawLanes(_ lanes: [Lane], _ frame: inout Piece, from top: Int) -> Int {
        let backTop = top + Self.row
        let fork = top + 2 * Self.row
        let labels = top + 3 * Self.row
        let content = labels + (lanes.map(\.label.frame.height).max() ?? 0) + 22
        let end = content + (lanes.map(\.piece.height).max() ?? 0)
        let again = end + Self.row
        let meet = again + (isLoop ? Self.row : 0)
        let backBottom = meet + Self.row
        let bottom = backBottom + Self.row

        frame.vertical(.forward, x: frame.spine, top, fork)
        for lane in lanes {
            let spine = lane.x + lane.spine
            frame.horizontal(.forward, y: fork, spine, frame.spine)
            frame.vertical(.forward, x: spine, fork, labels)
            frame.add(lane.label, centre: spine, y: labels)
            let label = frame.picture.boxes[frame.picture.boxes.count - 1].frame
            frame.vertical(.forward, x: spine, label.bottom, content)
            frame.place(lane.piece.picture, x: spine - lane.piece.spine, y: content)
            let laneEnd = content + lane.piece.height
            if lane.goesOn {
                frame.vertical(.forward, x: spine, laneEnd, meet)
                frame.horizontal(.forward, y: meet, spine, frame.spine)
            }
            if isLoop {
                frame.horizontal(.forward, y: again, lane.x, spine)
                frame.vertical(.forward, x: lane.x, label.y + label.height / 2, again)
                frame.horizontal(.forward, y: label.y + label.height / 2, lane.x, label.x)
                frame.tip(.forward, .right, x: label.x, y: label.y + label.height / 2)
            }
            let back = spine - lane.piece.spine + lane.piece.back
            if lane.leaves {
                frame.vertical(.back, x: back, backTop, content)
                frame.horizontal(.back, y: backTop, back, frame.back)
            }
            if lane.enters {
                frame.vertical(.back, x: back, laneEnd, backBottom)
                frame.horizontal(.back, y: backBottom, back, frame.back)
            }
        }
        if lanes.contains(where: \.leaves) { frame.vertical(.back, x: frame.back, top, backTop) }
        if lanes.contains(where: \.enters) { frame.vertical(.back, x: frame.back, backBottom, bottom) }
        if lanes.contains(where: \.goesOn) { frame.vertical(.forward, x: frame.spine, meet, bottom) }
        return bottom
    }
}
