import Primitives
import Store

extension Command {
    static let schedules: [Command] = [
        Command(
            name: "schedule list", summary: "lists schedules, when they fire next and what came of the last time",
            options: Option.database + [.format]
        ) { arguments in
            try arguments.noOperands()
            let format = try arguments.choice("format", default: OutputFormat.text)
            let rows = try await arguments.withDatabase { try Operations($0).schedules() }
            let listing = Listing(
                rows: rows, empty: "no schedules; outrider apply brings them in",
                columns: ["name", "cron", "timezone", "does", "state", "next_at", "last_at", "last_error", "workers"])
            print(listing.text(format), terminator: "")
            return 0
        },
        Command(
            name: "schedule run", summary: "fires one now, and prints the id of the message or saga", usage: "NAME",
            details: """
                Once, also while it is paused, with this moment as `.scheduled_at`; when it fires next stays as it is. A worker
                that serves it does so: its variables are those that expressions see.
                """,
            options: Option.database + [
                .value("timeout", "DURATION", "how long to wait for the worker", fallback: "10s")
            ]
        ) { arguments in
            let name = try await arguments.schedule()
            let end = ContinuousClock.now + (try arguments.duration("timeout", default: .seconds(10)))
            let firing = try await arguments.withDatabase { try Operations($0).runSchedule(name) }
            while true {
                let row = try await arguments.withDatabase { try Operations($0).scheduleFiring(firing) } ?? .null
                if let error = row["error"]?.string { throw CommandFailure("schedule \(name) failed: \(error)") }
                if row["fired_at"]?.string != nil {
                    print(row["message_id"]?.string ?? row["saga_id"]?.string ?? "")
                    return 0
                }
                guard ContinuousClock.now < end else {
                    throw CommandFailure(
                        """
                        no worker has fired schedule \(name) yet; one will when it can: \
                        select * from outrider.schedule_firings where id = '\(firing)'
                        """)
                }
                try await Task.sleep(for: .milliseconds(50))
            }
        },
        Command(
            name: "schedule pause", summary: "lets it fire no more", usage: "NAME", options: Option.database
        ) { arguments in
            let name = try await arguments.schedule()
            try await arguments.withDatabase { try Operations($0).pauseSchedule(name) }
            print("paused \(name)")
            return 0
        },
        Command(
            name: "schedule resume", summary: "lets it fire again; what the pause left out is not made up for",
            usage: "NAME", options: Option.database
        ) { arguments in
            let name = try await arguments.schedule()
            try await arguments.withDatabase { try Operations($0).resumeSchedule(name) }
            print("resumed \(name)")
            return 0
        },
    ]
}

extension Arguments {
    /// The operand, which is the name of a schedule that exists.
    fileprivate func schedule() async throws -> String {
        let name = try operand("the schedule's name")
        let names = try await withDatabase { try Operations($0).schedules().compactMap { $0["name"]?.string } }
        guard names.contains(name) else {
            let hint = closest(to: name, among: names).map { "; did you mean \($0)?" } ?? ""
            throw CommandFailure("there is no schedule \(name)\(hint)")
        }
        return name
    }
}
