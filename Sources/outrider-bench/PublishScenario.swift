import EmbeddedPostgres
import Glibc
import Postgres
import Primitives

/// P10: what publishing costs a service, against a plain insert of the same row; with pgbench, in interleaved pairs;
/// also into a topic whose limits do not bind.
enum PublishScenario {
    static func run(_ stage: Stage, pairs: Int, seconds: Int) async throws -> [Figure] {
        try await stage.forgetMessages()
        // One subscription matches; nobody sleeps on it, as under load.
        let worker = try await stage.readyWorker()
        stage.end(worker)
        try await stage.session.run {
            try $0.execute(
                script: """
                    drop table if exists plain;
                    create table plain (id uuid primary key default gen_random_uuid(), topic text not null, key text,
                        payload jsonb not null, headers jsonb, deliver_at timestamptz, expires_at timestamptz, dedupe_key text,
                        published_at timestamptz not null default clock_timestamp())
                    """)
        }
        var scripts: [String: String] = [:]
        for table in ["plain", "outrider.outbox"] {
            let path = "\(stage.folder)/\(table).sql"
            Files.write(
                "insert into \(table) (topic, key, payload) values ('bench.message', 'customer-42', '\(Stage.payload)');\n",
                to: path)
            scripts[table] = path
        }
        var figures = try await compare(stage, scripts, "", pairs: pairs, seconds: seconds)
        stage.declare(
            subscriptions: 1, documents: ["topic: bench.message\nmax_backlog: 1000000\npublish_rate: 1000000/s"])
        try await stage.apply()
        figures += try await compare(stage, scripts, "topic with limits: ", pairs: pairs, seconds: seconds)
        stage.declare(subscriptions: 1)
        try await stage.apply()
        return figures
    }

    private static func compare(
        _ stage: Stage, _ scripts: [String: String], _ kind: String, pairs: Int, seconds: Int
    ) async throws -> [Figure] {
        var figures: [Figure] = []
        for (writers, goal) in [(8, 0.6), (64, 0.45)] {
            var ratios: [Double] = []
            var rates: [Double] = []
            for pair in 0..<pairs {
                // Each is the first every other time, and begins behind a checkpoint: the first to need new files of WAL pays
                // for making them.
                var rate: [String: Double] = [:]
                for table in pair.isMultiple(of: 2) ? ["plain", "outrider.outbox"] : ["outrider.outbox", "plain"] {
                    rate[table] = try await self.rate(stage, scripts[table]!, writers, seconds)
                    try await stage.session.run { try $0.execute(script: "truncate plain") }
                    try await stage.forgetMessages()
                }
                ratios.append(rate["outrider.outbox"]! / rate["plain"]!)
                rates.append(rate["outrider.outbox"]!)
            }
            figures.append(.plain("P10", "\(kind)publishes per second, \(writers) writers", rates.median, "/s"))
            figures.append(
                .atLeast(
                    goal, "P10", "\(kind)against a plain insert, \(writers) writers, median of \(pairs)",
                    ratios.median, ""))
        }
        return figures
    }

    private static func rate(_ stage: Stage, _ script: String, _ writers: Int, _ seconds: Int) async throws -> Double {
        let output = "\(stage.folder)/pgbench.out"
        unlink(output)
        let pgbench = try ChildProcess(
            [
                "\(try EmbeddedPostgres.findBinaries())/pgbench", "-n", "-M", "prepared", "-c", String(writers), "-j",
                "2", "-T",
                String(seconds), "-f", script, stage.url,
            ], output: output)
        while pgbench.status == nil { try await Task.sleep(for: .milliseconds(20)) }
        let words = (Files.text(output) ?? "").split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard let place = words.firstIndex(of: "tps"), let rate = Double(words[place + 2]) else {
            throw BenchError(description: "pgbench said: \(Files.text(output) ?? "nothing")")
        }
        return rate
    }
}
