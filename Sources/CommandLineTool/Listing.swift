import Primitives

enum OutputFormat: String, CaseIterable, Sendable {
    case text, json
}

/// Rows as a table for people, or as JSON.
struct Listing {
    let rows: [JSON]
    /// What is printed when there are none.
    let empty: String
    var columns: [String]
    /// Longer cells are cut.
    var cellWidth = 80

    func text(_ format: OutputFormat) -> String {
        switch format {
        case .json: JSON.array(rows).text + "\n"
        case .text: rows.isEmpty ? empty + "\n" : table
        }
    }

    private var table: String {
        let header = columns.map { $0.replacing("_", with: " ") }
        let cells = rows.map { row in columns.map { cell(row[$0] ?? .null) } }
        let widths = columns.indices.map { column in
            ([header] + cells).map { $0[column].count }.max() ?? 0
        }
        return ([header] + cells).map { line in
            let padded = zip(line, widths).map { cell, width in cell + String(repeating: " ", count: width - cell.count)
            }
            var text = padded.joined(separator: "  ")
            while text.last == " " { text.removeLast() }
            return text + "\n"
        }.joined()
    }

    /// One line, times without their fractions.
    private func cell(_ value: JSON) -> String {
        var text: String
        switch value {
        case .null: text = "-"
        case .string(let string):
            text = Timestamp(rfc3339: string)?.brief ?? string
        case .array(let values): text = values.map { $0.string ?? $0.text }.joined(separator: ", ")
        default: text = value.text
        }
        return text.plain.cut(to: cellWidth)
    }
}

/// One thing, a line for each of its parts.
struct Record {
    let value: JSON

    func text(_ format: OutputFormat) -> String {
        guard format == .text, let members = value.object?.members else { return value.text + "\n" }
        let width = members.map(\.name.count).max() ?? 0
        return members.map { name, value in
            let label = name.replacing("_", with: " ").padded(to: width)
            return "\(label)  \((value.string ?? (value.isNull ? "-" : value.text)).plain)\n"
        }.joined()
    }
}
