import Primitives
import Store

extension Command {
    static let doctor = Command(
        name: "doctor", summary: "examines the database and says what to do",
        details: "Connection, version, privileges, settings that hurt, long transactions, clocks, dead rows, queues.",
        options: Option.database + [
            .value("long-transaction", "DURATION", "from when on a transaction is worth a warning", fallback: "5m"),
            .format,
        ], examples: ["outrider doctor", "outrider doctor --format json"]
    ) { arguments in
        try arguments.noOperands()
        let format = try arguments.choice("format", default: OutputFormat.text)
        let limit = try arguments.duration("long-transaction", default: .seconds(300))
        let findings = try await arguments.withDatabase { try Diagnosis.of($0, longTransaction: limit) }
        switch format {
        case .json:
            let rows = findings.map { finding -> JSON in
                [
                    "verdict": JSON(finding.verdict.rawValue), "subject": JSON(finding.subject),
                    "found": JSON(finding.found),
                    "remedy": JSON(finding.remedy),
                ]
            }
            print(JSON.array(rows).text)
        case .text:
            for finding in findings {
                let verdict = finding.verdict.rawValue
                let gap = String(repeating: " ", count: max(1, 15 - finding.subject.count))
                print("\(verdict)\(verdict.count < 4 ? "  " : "") \(finding.subject)\(gap)\(finding.found)")
                if let remedy = finding.remedy { print("                    -> \(remedy)") }
            }
            let failed = findings.count { $0.verdict == .fail }
            let warned = findings.count { $0.verdict == .warn }
            print(failed + warned == 0 ? "all is well" : "\(failed) to mend, \(warned) to look at")
        }
        return findings.contains { $0.verdict == .fail } ? 1 : 0
    }

    static let version = Command(name: "version", summary: "prints the version") { arguments in
        try arguments.noOperands()
        print("outrider \(outriderVersion)")
        return 0
    }
}
