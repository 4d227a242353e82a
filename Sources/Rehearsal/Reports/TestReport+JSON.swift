package import Primitives
import Sagas
import WorkflowFiles

extension TestReport {
    /// For programs.
    package var json: JSON {
        let results = results
        return [
            "scenarios": JSON(results.count), "passed": JSON(results.count { $0.verdict == .passed }),
            "duration_ms": JSON(Int(duration.milliseconds)),
            "diagnostics": .array(diagnostics.map(\.json)),
            "results": .array(files.flatMap { file in file.results.map { $0.json(in: file.path) } }),
        ]
    }
}

extension TestReport.Result {
    fileprivate func json(in file: String) -> JSON {
        let definition = scenario.program.definition
        var members: [(name: String, value: JSON)] = [
            ("file", .string(file)), ("line", JSON(scenario.position.line)),
            ("column", JSON(scenario.position.column)), ("saga", .string(definition.name)),
            ("version", JSON(definition.version)), ("name", .string(scenario.name)),
            ("verdict", .string(verdict.name)), ("status", .string(performance.state.status.rawValue)),
            ("virtual_ms", JSON(Int(performance.duration.milliseconds))),
            ("duration_ms", JSON(Int(duration.milliseconds))),
        ]
        switch verdict {
        case .passed: break
        case .broken(let reason): members.append(("reason", .string(reason)))
        case .failed(let differences): members.append(("differences", .array(differences.map(\.json))))
        }
        if verdict != .passed { members.append(("history", .array(performance.timeline.map(\.json)))) }
        return .object(JSONObject(members))
    }
}

extension Verdict {
    fileprivate var name: String {
        switch self {
        case .passed: "passed"
        case .failed: "failed"
        case .broken: "broken"
        }
    }
}

extension Difference {
    fileprivate var json: JSON {
        ["subject": .string(subject), "summary": .string(summary), "lines": .array(lines.map(JSON.string))]
    }
}

extension Performance.Entry {
    fileprivate var json: JSON {
        [
            "at_ms": JSON(Int(at.milliseconds)), "event": .string(event), "step": JSON(operation?.step.text),
            "op": JSON(operation?.op.rawValue), "detail": .string(detail),
        ]
    }
}
