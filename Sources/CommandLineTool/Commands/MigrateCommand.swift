import Migrations
import Primitives
import Store

extension Command {
    static let migrate = Command(
        name: "migrate", summary: "brings the database's schema to this version", usage: "[up|down|status]",
        details: """
            Safe to run from many places at once. Each migration runs in a transaction of its own and is recorded
            with its checksum. `down` takes back one migration, or all above --to; what its tables held is gone.

            Handlers that call inbox_accept and barrier in a database of their own need only these:
            --handlers-only. They are open to every role there; Outrider's roles are not made.
            """,
        options: Option.database + [
            .value("to", "N", "with down: the version to go back to; 0 takes everything back", fallback: "one less"),
            .flag("handlers-only", "with up: just what handlers need, in their own database"),
            .format,
        ],
        examples: [
            "outrider migrate", "outrider migrate status --format json", "outrider migrate down --to 2",
            "outrider migrate --handlers-only --database-url postgresql://billing@db/billing",
        ]
    ) { arguments in
        let direction = arguments.operands.isEmpty ? "up" : try arguments.operand("what to do")
        let format = try arguments.choice("format", default: OutputFormat.text)
        let to = try arguments["to"].map { _ in try arguments.integer("to", default: 0, in: 0...10_000) }
        if to != nil, direction != "down" { throw UsageError("--to goes with down: migrate down --to 2") }
        let handlersOnly = arguments.has("handlers-only")
        if handlersOnly, direction != "up" {
            throw UsageError("--handlers-only goes with up; down and status see for themselves what is there")
        }
        switch direction {
        case "up":
            let (done, status) = try await arguments.withDatabase {
                (try Migrator().up(on: $0, handlersOnly: handlersOnly), try Migrator().status(on: $0))
            }
            if format == .json { return report(done, as: "applied") }
            for step in done { print("applied \(step.version) \(step.name)") }
            print(conclusion(status, isNew: !done.isEmpty, handlersOnly: handlersOnly))
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
            if format == .text, status.isForHandlersOnly {
                print("what handlers need, and nothing else; `outrider migrate` would bring the rest")
            }
        default:
            let hint = closest(to: direction, among: ["up", "down", "status"]).map { "; did you mean \($0)?" } ?? ""
            throw UsageError("migrate \(direction): expected up, down or status\(hint)")
        }
        return 0
    }

    private static func conclusion(_ status: Migrator.Status, isNew: Bool, handlersOnly: Bool) -> String {
        switch (handlersOnly, isNew) {
        case (false, false): "the schema is up to date"
        case (false, true): "the schema is at version \(status.applied.last?.version ?? 0)"
        case (true, true): "handlers can call outrider.inbox_accept and outrider.barrier"
        case (true, false) where status.isForHandlersOnly: "what handlers need is up to date"
        case (true, false): "this database has the whole schema, and in it what handlers need: nothing to do"
        }
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
            + status.pending.map { row($0.version, $0.name, status.isForHandlersOnly ? "left out" : "pending") }
        return Listing(
            rows: rows, empty: "no migrations",
            columns: ["version", "name", "state", "applied_at", "applied_by", "checksum"])
    }
}
