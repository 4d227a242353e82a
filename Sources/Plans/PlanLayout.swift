/// A plan as a picture: boxes, frames, labels and wires with their places, in pixels from the upper left corner.
///
/// Forward from top to bottom along a *spine*; beside it, bottom up, the *way back* along a second line, with what undoes a
/// step beside that step. What contains steps is a frame: its own box on top, below it a lane for each arm, each with its own
/// spine and way back. So the way back is the way forward in the mirror, and lines meet boxes only where they belong.
package struct PlanLayout: Sendable, Hashable {
    package struct Point: Sendable, Hashable {
        package var x: Int
        package var y: Int
    }

    package struct Rect: Sendable, Hashable {
        package var x: Int
        package var y: Int
        package var width: Int
        package var height: Int

        package init(x: Int, y: Int, width: Int, height: Int) {
            self.x = x
            self.y = y
            self.width = width
            self.height = height
        }

        package var right: Int { x + width }
        package var bottom: Int { y + height }
    }

    package struct Line: Sendable, Hashable {
        package enum Style: String, Sendable, Hashable, CaseIterable {
            case kind, title, text, fine

            package var fontSize: Int {
                switch self {
                case .kind, .fine: 10
                case .title: 13
                case .text: 11
                }
            }
            var height: Int { fontSize + 4 }
        }

        package var text: String
        package var style: Style

        /// What it takes at most. Monospaced fonts are 0.6 wide, to a hundredth.
        package var width: Int { Self.width(columns: text.columns, style) }

        static func width(columns: Int, _ style: Style) -> Int { (columns * style.fontSize * 61 + 99) / 100 }
        static func columns(within width: Int, _ style: Style) -> Int { width * 100 / (style.fontSize * 61) }
    }

    package struct Box: Sendable, Hashable {
        package enum Role: Sendable, Hashable {
            case begin, completed, aborted
            case step(PlannedStep.Kind, isPivot: Bool)
            case undo
            /// Of an arm; it has no border.
            case label
        }

        package var role: Role
        package var frame: Rect
        package var lines: [Line]
        /// What is shown to a reader who points at it.
        package var hint: String?
    }

    package struct Wire: Sendable, Hashable {
        package enum Way: Sendable, Hashable {
            case forward, back
        }

        package var way: Way
        /// Horizontal or vertical.
        package var from: Point
        package var to: Point
    }

    /// The tip of an arrow.
    package struct Tip: Sendable, Hashable {
        package enum Direction: Sendable, Hashable {
            case down, up, right
        }

        package var way: Wire.Way
        package var at: Point
        package var direction: Direction
    }

    package var width = 0
    package var height = 0
    package var boxes: [Box] = []
    /// Outer ones before those inside them.
    package var frames: [Rect] = []
    package var wires: [Wire] = []
    package var tips: [Tip] = []
    /// The point of no return: a line across, below a pivot.
    package var bars: [Rect] = []
}
