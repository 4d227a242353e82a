import EmbeddedPostgres
import Primitives
import TestSupport
import Testing

/// What every command has in common: its help, and what it says to wrong words. None of it needs a database.
struct UsageTests {
    private static let database = ["database-url", "connect-timeout"]
    private static let worker = [
        "workflows", "serve", "listen", "callback-listen", "callback-url", "name", "concurrency", "lease", "grace",
        "log", "log-level", "expose-env",
        "secrets-dir", "source",
    ]

    /// Every command with its options.
    private static let commands: [String: [String]] = [
        "dev": ["directory"] + worker,
        "demo": ["orders", "workflows", "directory"],
        "migrate": database + ["to", "handlers-only", "format"],
        "check": ["workflows", "format"],
        "plan": ["workflows", "format", "saga"],
        "test": ["workflows", "format", "output"],
        "apply": database + ["workflows", "prune", "format"],
        "run": ["database-url"] + worker,
        "publish": database + ["key", "header", "id", "deliver-at", "expires-at", "dedupe-key"],
        "subscription list": database + ["format"],
        "subscription show": database + ["format"],
        "subscription pause": database,
        "subscription resume": database,
        "subscription replay": database + ["from", "to", "key"],
        "subscription operations": database + ["limit", "format"],
        "dead-letters list": database + ["subscription", "limit", "all", "format"],
        "dead-letters show": database + ["format"],
        "dead-letters redrive": database + ["subscription", "before"],
        "dead-letters discard": database + ["reason"],
        "doctor": database + ["long-transaction", "format"],
        "version": [],
    ]

    @Test func theOverviewNamesEveryCommand() async throws {
        let help = try await RunningOutrider.run(["--help"])
        #expect(help.exit == .code(0))
        // A command's line begins with two spaces, and two or more stand before its summary.
        let named = help.output.split(separator: "\n").filter { $0.hasPrefix("  ") && !$0.hasPrefix("   ") }
            .map { String($0.dropFirst(2).prefix(24)) }
            .filter { !$0.hasPrefix("outrider ") }
            .map { name in String(name.reversed().drop { $0 == " " }.reversed()) }
        #expect(Set(named) == Set(Self.commands.keys))
    }

    @Test(arguments: commands.keys.sorted())
    func helpTellsEveryOption(command: String) async throws {
        let help = try await RunningOutrider.run(command.split(separator: " ").map(String.init) + ["--help"])
        #expect(help.exit == .code(0))
        #expect(help.errors == "")
        #expect(help.output.hasPrefix("outrider \(command): "))
        #expect(help.output.contains("Usage: outrider \(command)"))
        let told = help.output.split(separator: "\n").filter { $0.hasPrefix("  --") }
            .compactMap { $0.dropFirst(4).split(separator: " ").first.map(String.init) }
        #expect(told.sorted() == ((Self.commands[command] ?? []) + ["help"]).sorted())
        #expect(help.output.split(separator: "\n").allSatisfy { $0.count <= 120 })
    }

    @Test func versionIsPrinted() async throws {
        let version = try await RunningOutrider.run(["version"])
        #expect(version.exit == .code(0))
        #expect(version.output == "outrider \(outriderVersion)\n")
        #expect(try await RunningOutrider.run(["--version"]).output == version.output)
    }

    @Test(arguments: [
        ([], "Usage: outrider COMMAND"),
        (["pubish"], "unknown command 'pubish'; did you mean publish?"),
        (["subscription"], "expected one of: list, show, pause"),
        (["subscription", "pauze", "mail"], "did you mean pause?"),
        (["plan"], "the workflow file is missing"),
        (["plan", "a.yaml", "b.yaml"], "'b.yaml' is one word too many"),
        (["plan", "a.yaml", "--format", "sgv"], "expected text or mermaid or dot or svg; did you mean svg?"),
        (["publish"], "expected a topic"),
        (["publish", "a", "{}", "c"], "got 3 words"),
        (["publish", "a", "--kee", "b"], "unknown option --kee; did you mean --key?"),
        (["publish", "a", "-k", "b"], "options are written out"),
        (["publish", "a", "--key"], "--key needs a value: --key KEY"),
        (["publish", "a", "--key", "b", "--key", "c"], "--key is given twice"),
        (["publish", "a", "--header", "b"], "expected NAME=VALUE"),
        (["publish", "a", "--id", "7"], "expected a UUID"),
        (["publish", "a", "--deliver-at", "tomorrow"], "expected a time such as"),
        (["migrate", "sideways"], "expected up, down or status"),
        (["migrate", "down", "--to", "-1"], "expected a number from 0"),
        (["migrate", "up", "--to", "2"], "--to goes with down"),
        (["migrate", "down", "--handlers-only"], "--handlers-only goes with up"),
        (["subscription", "show"], "the subscription's name is missing"),
        (["subscription", "show", "a", "b"], "'b' is one word too many"),
        (["subscription", "list", "--format", "xml"], "expected text or json"),
        (["subscription", "replay", "mail"], "--from is missing"),
        (["subscription", "operations", "--limit", "0"], "expected a number from 1"),
        (["dead-letters", "list", "--all=yes"], "--all takes no value"),
        (["dead-letters", "redrive"], "Give ids, or --subscription NAME"),
        (["dead-letters", "discard", "8f3e2d1c-0000-4000-8000-000000000001"], "--reason is missing"),
        (["doctor", "--long-transaction", "long"], "expected a duration such as"),
        (["doctor", "now"], "'now' is one word too many"),
        (["doctor", "--connect-timeout", "soon"], "expected a duration such as"),
    ])
    func wrongUsageExitsWithTwoAndAHint(words: [String], hint: String) async throws {
        // A database that nobody asks.
        let result = try await RunningOutrider.run(
            words, environment: ["OUTRIDER_DATABASE_URL": "postgresql://127.0.0.1:1/none?connect_timeout=2"])
        #expect(result.exit == .code(2), "\(result.errors)")
        #expect((result.output + result.errors).contains(hint), "\(result.output)\(result.errors)")
        #expect((result.output + result.errors).contains("outrider"))
    }

    @Test(arguments: [
        ("postgresql://u:s3cret%zz@h/t", "percent-encoded"), ("postgresql://u:s3cret@[::1:5432/t", "\"]\""),
        ("postgresql://u:s3cret@127.0.0.1:notaport/t", "port"), ("notaurl", "expected a URL such as postgresql://"),
        ("host=h password=my s3cret", "missing \"=\""),
    ])
    func aMalformedConnectionStringEndsAWorkerAtOnce(url: String, reason: String) async throws {
        let folder = TemporaryFolder()
        let worker = try RunningOutrider(
            ["run"], environment: ["OUTRIDER_DATABASE_URL": url, "OUTRIDER_WORKFLOWS": folder.path])
        #expect(try await worker.exit(within: .seconds(10)) == .code(1))
        #expect(worker.log.contains(reason), "\(worker.log)")
        #expect(!worker.log.contains("database.lost"), "\(worker.log)")
        #expect(!(worker.log + worker.output).contains("s3cret"), "\(worker.log)")
    }
}
