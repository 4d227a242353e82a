internal import EmbeddedPostgres
internal import Glibc
internal import Primitives

// Measures what measures are stated for; see --help.

let words = Array(CommandLine.arguments.dropFirst())
if words.first == "--client", words.count == 3, let requests = Int(words[2]) {
    await ThroughputScenarios.runClient(url: words[1], requests: requests)
    exit(0)
}

let help = """
    outrider-bench [SCENARIO…] [--json] [--quick] [--pairs N] [--seconds N]

    Measures outrider beside this program, on a PostgreSQL of its own (fsync on) with its own handler server.

      P1   200,000 messages waiting, one subscription: deliveries/s, also against the HTTP client alone;
           with P9 (WAL and commits per message) and P11 (memory) of the same runs
      P1+  the same with each option switched on, one at a time
      P2   500,000 messages in batches of 100
      P3   commit to handler at 100/s
      P4   2,000/s under a snapshot held open, against without (--seconds each, default 60); also ordered,
           also 200 sagas/s
      P5   1,000,000 waiting against 10,000
      P6   ordered: 50,000 messages, with 100,000 behind two blocked keys and without them
      P7   20,000 sagas of 3 HTTP steps: completed/s; also 1 and 10 steps, and 100,000 sleeping ones lying around
      P8   a saga of 3 steps on an idle system: how long
      P10  insert into outrider.outbox against a plain insert, 8 and 64 writers; also where the topic has limits
      P11  memory and queries per second of an idle worker
      P12  kill -9 to redelivery by another worker
      P13  deliveries/s to ten subscriptions of a topic, against one
      P14  start of the process to first delivery, 15 definitions

      --json     one JSON object a line instead of the table
      --quick    smaller and fewer runs, to see that it works
      --pairs    interleaved pairs of a comparison, default 5

    """
if words.contains("--help") {
    print(help, terminator: "")
    exit(0)
}

let isQuick = words.contains("--quick")
func option(_ name: String, _ fallback: Int) -> Int {
    words.firstIndex(of: name).flatMap { words.indices.contains($0 + 1) ? Int(words[$0 + 1]) : nil } ?? fallback
}
let pairs = option("--pairs", isQuick ? 1 : 5)
let seconds = option("--seconds", isQuick ? 10 : 60)
let known = ["P1", "P1+", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P10", "P11", "P12", "P13", "P14"]
let chosen = words.filter { $0.hasPrefix("P") }.map { $0 == "P9" ? "P1" : $0 }
if let unknown = chosen.first(where: { !known.contains($0) }) {
    writeError("outrider-bench: there is no scenario \(unknown); there are \(known.joined(separator: ", "))\n")
    exit(2)
}

func writeError(_ text: String) {
    let bytes = Array(text.utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
}

do {
    let stage = try await Stage(folder: Files.makeTemporaryDirectory("outrider-bench"))
    var missed = 0
    for scenario in chosen.isEmpty ? known : chosen {
        let figures: [Figure] =
            switch scenario {
            case "P1": try await ThroughputScenarios.drain(stage, pairs: pairs, messages: isQuick ? 50_000 : 200_000)
            case "P1+":
                try await PatternScenarios.prices(
                    stage, pairs: isQuick ? 1 : min(pairs, 3), messages: isQuick ? 20_000 : 60_000)
            case "P2":
                try await PatternScenarios.batches(
                    stage, rounds: isQuick ? 1 : min(pairs, 3), messages: isQuick ? 100_000 : 500_000)
            case "P3": try await LatencyScenarios.commitToHandler(stage, seconds: isQuick ? 5 : 30)
            case "P4":
                try await LatencyScenarios.oldSnapshot(stage, .plain, seconds: seconds)
                    + LatencyScenarios.oldSnapshot(stage, .ordered, seconds: seconds)
                    + LatencyScenarios.oldSnapshot(stage, .sagas, seconds: seconds)
            case "P5":
                try await ThroughputScenarios.backlog(
                    stage, pairs: isQuick ? 1 : min(pairs, 3), messages: isQuick ? 200_000 : 1_000_000)
            case "P6":
                try await PatternScenarios.blockedKeys(
                    stage, pairs: pairs, blocked: isQuick ? 20_000 : 100_000, free: isQuick ? 10_000 : 50_000)
            case "P7":
                try await SagaScenarios.throughput(stage, pairs: pairs, sagas: isQuick ? 5000 : 20_000)
                    + SagaScenarios.shapes(
                        stage, calls: isQuick ? 15_000 : 60_000, sleeping: isQuick ? 10_000 : 100_000)
            case "P8": try await SagaScenarios.latency(stage, sagas: isQuick ? 50 : 300)
            case "P10": try await PublishScenario.run(stage, pairs: pairs, seconds: isQuick ? 2 : 4)
            case "P11": try await ThroughputScenarios.idle(stage, seconds: isQuick ? 10 : 60)
            case "P12": try await LatencyScenarios.takeOver(stage, rounds: isQuick ? 5 : 30)
            case "P13": try await PatternScenarios.fanOut(stage, pairs: pairs, messages: isQuick ? 3000 : 15_000)
            default: try await LatencyScenarios.start(stage, rounds: isQuick ? 3 : 20)
            }
        for figure in figures {
            print(words.contains("--json") ? figure.json.text : figure.line)
            if figure.isReached == false { missed += 1 }
        }
        fflush(nil)
    }
    await stage.stop()
    if !words.contains("--json") { print(missed == 0 ? "all goals reached" : "\(missed) goals missed") }
    exit(0)
} catch {
    writeError("outrider-bench: \(error)\n")
    exit(1)
}
