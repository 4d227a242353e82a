/// Where a step stands in a saga's run: `charge`, `notify.warehouse.pick_list`, `each_item[2].reserve`.
///
/// A step inside another one has that one's path before its own id, with the iteration's number in a loop, from 0.
package struct StepPath: Hashable, Sendable {
    package let text: String

    package init(_ text: String) {
        self.text = text
    }

    package func child(_ id: String) -> StepPath { StepPath("\(text).\(id)") }
    package func iteration(_ index: Int) -> StepPath { StepPath("\(text)[\(index)]") }

    /// The id of the step itself; ids are unique within a definition.
    package var stepID: String {
        let last = text.utf8.lastIndex(of: UInt8(ascii: ".")).map { text[text.utf8.index(after: $0)...] } ?? text[...]
        return String(last.prefix { $0 != "[" })
    }

    /// The innermost iteration that it is in, as a text: `each_item[2]`; empty outside of loops.
    package var loop: Substring {
        text.utf8.lastIndex(of: UInt8(ascii: "]")).map { text[...$0] } ?? ""
    }

    /// The iterations that it is in, the outermost first: the loop's path and the number.
    package var iterations: [(loop: StepPath, index: Int)] {
        text.utf8.indices.filter { text.utf8[$0] == UInt8(ascii: "]") }.compactMap { end in
            guard let start = text[..<end].lastIndex(of: "["), let index = Int(text[text.index(after: start)..<end])
            else {
                return nil
            }
            return (StepPath(String(text[..<start])), index)
        }
    }
}

extension StepPath: CustomStringConvertible {
    package var description: String { text }
}

/// Which side of a step: doing it, or undoing it.
package enum Op: String, Sendable, Hashable {
    case action, compensate
}
