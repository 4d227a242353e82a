import Plans
import Sagas
import Testing

/// The picture's geometry, of sagas of every shape.
struct LayoutTests {
    private func layout(_ seed: UInt64) throws -> PlanLayout { try RandomSaga.plan(seed: seed).layout }

    @Test(arguments: RandomSaga.seeds)
    func boxesDoNotOverlap(seed: UInt64) throws {
        #expect(overlaps(try layout(seed)) == [])
    }

    @Test func boxesOfTheSamplesDoNotOverlap() throws {
        #expect(overlaps(SagaPlan(try Samples.everyKind()).layout) == [])
        #expect(overlaps(SagaPlan(try Samples.large()).layout) == [])
    }

    private func overlaps(_ layout: PlanLayout) -> [String] {
        layout.boxes.enumerated().flatMap { index, box in
            layout.boxes[(index + 1)...].filter { box.frame.overlaps($0.frame) }.map { "\(box.name), \($0.name)" }
        }
    }

    @Test(arguments: RandomSaga.seeds)
    func everythingLiesInThePicture(seed: UInt64) throws {
        let layout = try layout(seed)
        let picture = PlanLayout.Rect(x: 0, y: 0, width: layout.width, height: layout.height)
        let rects = layout.boxes.map(\.frame) + layout.frames + layout.bars + layout.wires.map(\.rect)
        #expect(rects.filter { !picture.contains($0) } == [])
    }

    @Test(arguments: RandomSaga.seeds)
    func textStaysInItsBox(seed: UInt64) throws {
        for box in try layout(seed).boxes {
            let room = box.frame.width - (box.role == .label ? 0 : 16)
            #expect(box.lines.filter { $0.width > room }.map(\.text) == [])
            #expect(box.lines.reduce(0) { $0 + $1.style.fontSize + 4 } <= box.frame.height)
        }
    }

    @Test(arguments: RandomSaga.seeds)
    func framesHoldTheirBoxesWhole(seed: UInt64) throws {
        let layout = try layout(seed)
        let cut = layout.frames.enumerated().flatMap { index, frame in
            (layout.boxes.map(\.frame) + layout.frames[(index + 1)...] + layout.bars)
                .filter { frame.overlaps($0) && !frame.contains($0) && !$0.contains(frame) }
        }
        #expect(cut == [])
    }

    @Test(arguments: RandomSaga.seeds)
    func wiresLeadAroundBoxes(seed: UInt64) throws {
        let layout = try layout(seed)
        let through = layout.wires.flatMap { wire in
            layout.boxes.filter { wire.rect.overlaps($0.frame) }.map { "\(wire) \($0.name)" }
        }
        #expect(through == [])
    }

    /// Solid and dashed lines cross; one never runs on the other.
    @Test(arguments: RandomSaga.seeds)
    func waysDoNotRunOnEachOther(seed: UInt64) throws {
        let layout = try layout(seed)
        let back = layout.wires.filter { $0.way == .back }
        let together = layout.wires.filter { $0.way == .forward }.flatMap { wire in back.filter(wire.runsOn) }
        #expect(together == [])
    }

    @Test(arguments: RandomSaga.seeds)
    func everyStepIsOnTheWayForward(seed: UInt64) throws {
        let (plan, layout) = try RandomSaga.plan(seed: seed)
        let steps = layout.boxes.filter { if case .step = $0.role { true } else { false } }
        #expect(steps.count == plan.allSteps.count)
        let labels = layout.boxes.filter { $0.role == .label }
        let begin = try #require(layout.boxes.first { $0.role == .begin })
        let joined = layout.joined(to: begin, .forward, through: steps + labels)
        // What stands behind a step that always fails is never come to.
        guard !plan.allSteps.contains(where: { $0.kind == .fail && $0.condition == nil }) else { return }
        #expect(steps.filter { !joined.contains($0.frame) }.map(\.name) == [])
        let completed = try #require(layout.boxes.first { $0.role == .completed })
        #expect(joined.contains(completed.frame))
    }

    @Test(arguments: RandomSaga.seeds)
    func everyUndoIsOnTheWayBack(seed: UInt64) throws {
        let (plan, layout) = try RandomSaga.plan(seed: seed)
        let undos = layout.boxes.filter { $0.role == .undo }
        #expect(undos.count == plan.allSteps.count { $0.undo != nil })
        guard let aborted = layout.boxes.first(where: { $0.role == .aborted }) else { return #expect(undos.isEmpty) }
        let joined = layout.joined(to: aborted, .back, through: undos)
        #expect(undos.filter { !joined.contains($0.frame) }.map(\.name) == [])
    }

    @Test func thePivotIsMarkedAcrossThePicture() throws {
        let layout = SagaPlan(try Samples.everyKind()).layout
        let pivots = layout.boxes.filter { $0.role == .step(.call, isPivot: true) }
        #expect(pivots.map { $0.lines[1].text } == ["ship"])
        let bar = try #require(layout.bars.first)
        #expect(layout.bars.count == 1 && bar.y > pivots[0].frame.bottom)
        let receipt = try #require(layout.boxes.first { $0.lines.count > 1 && $0.lines[1].text == "receipt" })
        #expect(bar.y < receipt.frame.y)
        #expect(bar.width > layout.width * 9 / 10)
    }

    @Test func branchesStandSideBySide() throws {
        let layout = SagaPlan(try Samples.large()).layout
        func box(_ id: String) throws -> PlanLayout.Rect {
            try #require(layout.boxes.first { $0.lines.count > 1 && $0.lines[1].text == id && $0.role != .undo }).frame
        }
        #expect(try box("invoice").y == box("mail").y)
        #expect(try box("invoice").right < box("mail").x)
        #expect(try box("tax").x == box("invoice").x)
        #expect(try box("tax").y > box("invoice").bottom)
    }
}

extension PlanLayout.Box {
    /// For a failure's message.
    fileprivate var name: String { lines.map(\.text).joined(separator: " ") }
}

extension PlanLayout.Rect {
    /// Touching is not overlapping.
    fileprivate func overlaps(_ other: Self) -> Bool {
        x < other.right && other.x < right && y < other.bottom && other.y < bottom
    }

    fileprivate func contains(_ other: Self) -> Bool {
        x <= other.x && other.right <= right && y <= other.y && other.bottom <= bottom
    }

    fileprivate func touches(_ other: Self) -> Bool {
        x <= other.right && other.x <= right && y <= other.bottom && other.y <= bottom
    }
}

extension PlanLayout.Wire {
    /// Without width or without height.
    fileprivate var rect: PlanLayout.Rect {
        PlanLayout.Rect(
            x: min(from.x, to.x), y: min(from.y, to.y), width: abs(to.x - from.x), height: abs(to.y - from.y))
    }

    fileprivate func runsOn(_ other: Self) -> Bool {
        if from.x == to.x, other.from.x == other.to.x, from.x == other.from.x {
            return rect.y < other.rect.bottom && other.rect.y < rect.bottom
        }
        if from.y == to.y, other.from.y == other.to.y, from.y == other.from.y {
            return rect.x < other.rect.right && other.rect.x < rect.right
        }
        return false
    }
}

extension PlanLayout {
    /// The boxes that wires lead to from this one, through others of these and in either direction.
    fileprivate func joined(to box: Box, _ way: Wire.Way, through others: [Box]) -> Set<Rect> {
        var reached: Set<Rect> = [box.frame]
        var wires = wires.filter { $0.way == way }
        var frontier = [box.frame]
        let frames = Set(boxes.map(\.frame))
        let passable = Set(others.map(\.frame))
        while let place = frontier.popLast() {
            for index in wires.indices.reversed() where wires[index].rect.touches(place) {
                frontier.append(wires.remove(at: index).rect)
            }
            for frame in frames where !reached.contains(frame) && frame.touches(place) {
                reached.insert(frame)
                if passable.contains(frame) { frontier.append(frame) }
            }
        }
        return reached
    }
}
