/// A place in a file: line and column, both from 1. A column is a Unicode scalar.
package struct Position: Sendable, Hashable, Comparable {
    package var line: Int
    package var column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    /// The file as a whole.
    package static let wholeFile = Position(line: 0, column: 0)

    package static func < (left: Position, right: Position) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}
