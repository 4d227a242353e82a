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
        "demo": ["orders", "sagas", "workflows", "directory"],
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
        "subscription replay": database + ["from", "to", "key", "topic", "wait"],
        "subscription cancel": database,
        "subscription operations": database + ["limit", "format"],
        "dead-letters list": database + [
            "subscription", "saga", "topic", "key", "reason", "since", "before", "older-than", "limit", "all", "format",
        ],
        "dead-letters show": database + ["format"],
        "dead-letters redrive": database + ["all", "subscription", "before", "payload", "payload-file", "wait"],
        "dead-letters discard": database + ["all", "subscription", "before", "reason", "wait"],
        "schedule list": database + ["format"],
        "schedule run": database + ["timeout"],
        "schedule pause": database,
        "schedule resume": database,
        "start": database + ["key", "start-at", "header"],
        "saga list": database + ["status", "saga", "key", "limit", "format"],
        "saga show": database + ["format"],
        "saga history": database + ["format"],
        "saga signal": database + ["saga", "key"],
        "saga cancel": database + ["reason"],
        "saga terminate": database + ["reason"],
        "saga suspend": database + ["reason"],
        "saga resume": database + ["reason"],
        "saga retry": database + ["input", "reason"],
        "saga skip": database + ["reason", "output"],
        "saga resolve": database + ["happened", "output", "reason"],
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
        (["dead-letters", "redrive"], "Give ids, or --all --subscription NAME"),
        (["dead-letters", "discard", "8f3e2d1c-0000-4000-8000-000000000001"], "--reason is missing"),
        (["start"], "expected a saga"),
        (["start", "place-order", "{}", "c"], "got 3 words"),
        (["start", "place-order", "--start-at", "soon"], "expected a time such as"),
        (["start", "place-order", "--header", "b"], "expected NAME=VALUE"),
        (["saga"], "expected one of: list, show, history, signal, cancel"),
        (["saga", "cansel", "a"], "did you mean cancel?"),
        (["saga", "list", "--status", "stuk"], "did you mean stuck?"),
        (["saga", "list", "all"], "'all' is one word too many"),
        (["saga", "show"], "the saga's id is missing"),
        (["saga", "show", "17"], "'17' names no saga; expected its id, or NAME/KEY such as place-order/17"),
        (["saga", "show", "place-order/"], "names no saga"),
        (["saga", "history", "17"], "names no saga"),
        (["saga", "cancel", "place-order/17"], "--reason is missing: say why"),
        (["saga", "terminate", "place-order/17"], "--reason is missing: say why"),
        (["saga", "suspend", "place-order/17", "now"], "'now' is one word too many"),
        (["saga", "resume"], "the saga's id is missing"),
        (["saga", "retry", "17"], "names no saga"),
        (
            ["saga", "skip", "place-order/17", "--reason", "x"],
            "the step is missing: outrider saga show place-order/17"
        ),
        (["saga", "skip", "place-order/17", "charge"], "--reason is missing: say why"),
        (["saga", "resolve", "place-order/17", "charge"], "--happened is missing: yes or no"),
        (["saga", "resolve", "place-order/17", "charge", "--happened", "maybe"], "expected yes or no"),
        (["saga", "signal", "place-order/17"], "the event is missing"),
        (["saga", "signal", "--saga", "place-order", "go"], "--saga and --key go together"),
        (["saga", "signal", "place-order/17", "go", "{}", "x"], "'x' is one word too many"),
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
