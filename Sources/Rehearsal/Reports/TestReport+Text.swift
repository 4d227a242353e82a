import Primitives
import WorkflowFiles

/// For people:
///
///     Workflows/place-order.test.yaml
///       passed  an order goes through
///       FAILED  a declined card undoes the reservation
///               Workflows/place-order.test.yaml:9:11
///               status: expected compensated, found failed: card-declined at charge: HTTP 422
///               …
extension TestReport {
    package var text: String {
        var lines: [String] = []
        for file in files {
            if !file.diagnostics.isEmpty { lines += file.diagnostics.map(\.description) + [""] }
            guard !file.results.isEmpty else { continue }
            lines.append(file.path)
            for result in file.results { lines += result.lines(in: file.path) }
            lines.append("")
        }
        return (lines + [summary]).joined(separator: "\n") + "\n"
    }

    /// `12 scenarios: 11 passed, 1 failed (8 ms)`
    package var summary: String {
        let results = results
        let counts = [
            ("passed", results.count { $0.verdict == .passed }),
            ("failed", results.count { if case .failed = $0.verdict { true } else { false } }),
            ("could not be played", results.count { if case .broken = $0.verdict { true } else { false } }),
        ].filter { $0.1 > 0 }.map { "\($0.1) \($0.0)" }
        let errors = diagnostics.count
        let problems = errors == 0 ? [] : [errors == 1 ? "1 error in the files" : "\(errors) errors in the files"]
        let scenarios = results.count == 1 ? "1 scenario" : "\(results.count) scenarios"
        let outcome = (counts + problems).joined(separator: ", ")
        return scenarios + (outcome.isEmpty ? "" : ": \(outcome)") + " (\(duration.milliseconds) ms)"
    }
}

extension TestReport.Result {
    private static let margin = "          "
    /// Of a history that is shown whole.
    private static let longest = 200

    fileprivate func lines(in file: String) -> [String] {
        let name = scenario.name.split(separator: "\n").joined(separator: " ")
        guard verdict != .passed else { return ["  passed  \(name)"] }
        let place = "\(file):\(scenario.position.line):\(scenario.position.column)"
        return ["  FAILED  \(name)", Self.margin + place]
            + explanation.map { $0.isEmpty ? "" : Self.margin + $0 }
    }

    /// Why it did not pass, and what happened; empty when it passed.
    package var explanation: [String] {
        switch verdict {
        case .passed: return []
        case .broken(let reason): return [reason, ""] + history
        case .failed(let differences):
            let lines = differences.flatMap { difference in
                ["\(difference.subject): \(difference.summary)"] + difference.lines.map { "    \($0)" }
            }
            return lines + [""] + history
        }
    }

    /// The course of events as a table.
    private var history: [String] {
        let entries = performance.timeline
        guard !entries.isEmpty else { return ["nothing happened"] }
        guard entries.count > Self.longest else { return ["what happened:"] + table(entries[...]) }
        let half = Self.longest / 2
        return ["what happened:"] + table(entries.prefix(half))
            + ["    … \(entries.count - 2 * half) more …"] + table(entries.suffix(half))
    }

    private func table(_ entries: ArraySlice<Performance.Entry>) -> [String] {
        let width = { (texts: [String]) in texts.map(\.count).max() ?? 0 }
        let times = width(entries.map(\.at.clock))
        let events = width(entries.map(\.event))
        let operations = width(entries.map { $0.operation?.description ?? "" })
        return entries.map { entry in
            let columns = [
                entry.at.clock.padded(to: times), entry.event.padded(to: events),
                (entry.operation?.description ?? "").padded(to: operations), entry.detail.shortened,
            ]
            var line = "    " + columns.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: Swift.max(0, width - count))
    }

    /// One line of a width that can be read.
    fileprivate var shortened: String {
        let line = split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.count > 120 ? line.prefix(119) + "…" : line
    }
}
