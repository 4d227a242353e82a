/// A part of a picture while it is put together: at places of its own, with two lines that go through it from its upper to its
/// lower edge, the way forward at `spine` and the way back at `back`.
struct Piece {
    var picture = PlanLayout()
    var spine: Int
    var back: Int

    typealias Point = PlanLayout.Point
    typealias Rect = PlanLayout.Rect

    init(spine: Int = 0, back: Int = 0) {
        self.spine = spine
        self.back = back
    }

    var width: Int { picture.width }
    var height: Int { picture.height }

    /// Puts another one's parts in, moved.
    mutating func place(_ other: PlanLayout, x: Int, y: Int) {
        picture.boxes += other.boxes.map { box in
            var box = box
            box.frame = box.frame.moved(x, y)
            return box
        }
        picture.frames += other.frames.map { $0.moved(x, y) }
        picture.bars += other.bars.map { $0.moved(x, y) }
        picture.wires += other.wires.map {
            PlanLayout.Wire(way: $0.way, from: $0.from.moved(x, y), to: $0.to.moved(x, y))
        }
        picture.tips += other.tips.map {
            PlanLayout.Tip(way: $0.way, at: $0.at.moved(x, y), direction: $0.direction)
        }
    }

    mutating func vertical(_ way: PlanLayout.Wire.Way, x: Int, _ top: Int, _ bottom: Int) {
        guard top != bottom else { return }
        picture.wires.append(PlanLayout.Wire(way: way, from: Point(x: x, y: top), to: Point(x: x, y: bottom)))
    }

    mutating func horizontal(_ way: PlanLayout.Wire.Way, y: Int, _ left: Int, _ right: Int) {
        guard left != right else { return }
        picture.wires.append(
            PlanLayout.Wire(way: way, from: Point(x: min(left, right), y: y), to: Point(x: max(left, right), y: y)))
    }

    mutating func tip(_ way: PlanLayout.Wire.Way, _ direction: PlanLayout.Tip.Direction, x: Int, y: Int) {
        picture.tips.append(PlanLayout.Tip(way: way, at: Point(x: x, y: y), direction: direction))
    }
}

extension PlanLayout.Rect {
    func moved(_ x: Int, _ y: Int) -> Self { Self(x: self.x + x, y: self.y + y, width: width, height: height) }
}

extension PlanLayout.Point {
    func moved(_ x: Int, _ y: Int) -> Self { Self(x: self.x + x, y: self.y + y) }
}
