import Primitives

/// What a scenario found: one row of the result.
struct Figure: Sendable {
    let scenario: String
    let name: String
    let value: Double
    let unit: String
    /// The goal as text, and whether it was reached; nil for a figure without one.
    var goal: String?
    var isReached: Bool?

    static func atLeast(_ goal: Double, _ scenario: String, _ name: String, _ value: Double, _ unit: String) -> Figure {
        Figure(
            scenario: scenario, name: name, value: value, unit: unit, goal: ">= \(short(goal))",
            isReached: value >= goal)
    }

    static func atMost(_ goal: Double, _ scenario: String, _ name: String, _ value: Double, _ unit: String) -> Figure {
        Figure(
            scenario: scenario, name: name, value: value, unit: unit, goal: "<= \(short(goal))",
            isReached: value <= goal)
    }

    static func plain(_ scenario: String, _ name: String, _ value: Double, _ unit: String) -> Figure {
        Figure(scenario: scenario, name: name, value: value, unit: unit)
    }

    var json: JSON {
        [
            "scenario": JSON(scenario), "figure": JSON(name), "value": .number(JSONNumber(digits: "\(value)")),
            "unit": JSON(unit),
            "goal": JSON(goal), "reached": isReached.map(JSON.bool) ?? .null,
        ]
    }

    var line: String {
        func padded(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(1, width - text.count))
        }
        let verdict = isReached.map { $0 ? "reached" : "MISSED" } ?? ""
        return padded(scenario, 5) + padded(name, 46) + padded("\(Self.short(value)) \(unit)", 20)
            + padded(goal ?? "", 12) + verdict
    }

    /// Three significant digits, whole numbers whole.
    private static func short(_ value: Double) -> String {
        if abs(value) >= 1000 { return "\(Int(value.rounded()))" }
        let scale = abs(value) >= 100 ? 1.0 : abs(value) >= 10 ? 10 : abs(value) >= 1 ? 100 : 10_000
        let rounded = (value * scale).rounded() / scale
        return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
    }
}

extension [Double] {
    var median: Double { percentile(0.5) }

    func percentile(_ share: Double) -> Double {
        guard !isEmpty else { return .nan }
        let sorted = sorted()
        return sorted[Swift.min(count - 1, Int((Double(count) * share).rounded(.down)))]
    }
}
