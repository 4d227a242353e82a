import Migrations
import Primitives
import Store

extension Command {
    static let migrate = Command(
        name: "migrate", summary: "brings the database's schema to this version", usage: "[up|down|status]",
        details: """
            Safe to run from many places at once. Each migration runs in a transaction of its own and is recorded
            with its checksum. `down` takes back one migration, or all above --to; what its tables held is gone.
            """,
        options: Option.database + [
            .value("to", "N", "with down: the version to go back to; 0 takes everything back", fallback: "one less"),
            .format,
        ],
        examples: ["outrider migrate", "outrider migrate status --format json", "outrider migrate down --to 2"]
    ) { arguments in
        let direction = arguments.operands.isEmpty ? "up" : try arguments.operand("what to do")
        let format = try arguments.choice("format", default: OutputFormat.text)
        let to = try arguments["to"].map { _ in try arguments.integer("to", default: 0, in: 0...10_000) }
        if to != nil, direction != "down" { throw UsageError("--to goes with down: migrate down --to 2") }
        switch direction {
        case "up":
            let done = try await arguments.withDatabase { try Migrator().up(on: $0) }
            if format == .json { return report(done, as: "applied") }
            for step in done { print("applied \(step.version) \(step.name)") }
            print(done.isEmpty ? "the schema is up to date" : "the schema is at version \(done.last!.version)")
        case "down":
            let current = try await arguments.withDatabase { try Migrator().status(on: $0).applied.last?.version ?? 0 }
            let target = to ?? max(0, current - 1)
            let undone = try await arguments.withDatabase { try Migrator().down(to: target, on: $0) }
            if format == .json { return report(undone, as: "taken back") }
            for step in undone { print("took back \(step.version) \(step.name)") }
            if undone.isEmpty { print("nothing to take back: the schema is at version \(current)") }
        case "status":
            let status = try await arguments.withDatabase { try Migrator().status(on: $0) }
            print(listing(status).text(format), terminator: "")
        default:
            let hint = closest(to: direction, among: ["up", "down", "status"]).map { "; did you mean \($0)?" } ?? ""
            throw UsageError("migrate \(direction): expected up, down or status\(hint)")
        }
        return 0
    }

    private static func report(_ steps: [Migration], as state: String) -> Int32 {
        print(
            JSON.array(
                steps.map { ["version": JSON($0.version), "name": JSON($0.name), "state": JSON(state)] }
            ).text)
        return 0
    }

    private static func listing(_ status: Migrator.Status) -> Listing {
        func row(_ version: Int, _ name: String, _ state: String, _ step: Migrator.Applied? = nil) -> JSON {
            [
                "version": JSON(version), "name": JSON(name), "state": JSON(state),
                "applied_at": JSON(step?.appliedAt.rfc3339),
                "applied_by": JSON(step?.appliedBy), "checksum": JSON(step.map { String($0.checksum.prefix(12)) }),
            ]
        }
        let unknown = Set(status.unknown.map(\.version))
        let rows =
            status.applied.map {
                row($0.version, $0.name, unknown.contains($0.version) ? "newer than this outrider" : "applied", $0)
            }
            + status.pending.map { row($0.version, $0.name, "pending") }
        return Listing(
            rows: rows, empty: "no migrations",
            columns: ["version", "name", "state", "applied_at", "applied_by", "checksum"])
    }
}
