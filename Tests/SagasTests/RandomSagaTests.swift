import Glibc
import Sagas
import Testing

/// Random sagas in random worlds: see `RandomRun`. What is checked after every event: see `Watch`.
///
/// A failure names its seed. One seed alone, line by line: `SAGA_SEED=123 swift test --filter RandomSagaTests`.
struct RandomSagaTests {
    private static let seedsPerPart: UInt64 = 6_250

    /// Parts run beside each other.
    private static let parts: [Range<UInt64>] =
        if let seed = getenv("SAGA_SEED").flatMap({ UInt64(String(cString: $0)) }) {
            [seed..<seed + 1]
        } else {
            (0..<16).map { $0 * seedsPerPart..<($0 + 1) * seedsPerPart }
        }

    /// A check that is never needed proves nothing.
    @Test func everythingHappensInRandomWorlds() throws {
        var counts: [String: Int] = [:]
        let runs: UInt64 = 2000
        for seed in 0..<runs {
            var kinds: Set<String> = []
            for fact in try RandomRun.history(ofSeed: seed) {
                kinds.insert(fact.event + (fact.op == .compensate ? "/compensate" : ""))
                if case .stuck(let trouble) = fact.kind { kinds.insert("stuck at \(trouble.reason.rawValue)") }
            }
            for kind in kinds { counts[kind, default: 0] += 1 }
        }
        let list = counts.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
        for kind in Self.expected {
            #expect(counts[kind, default: 0] >= 5, "\(kind) happened in \(counts[kind] ?? 0) of \(runs) runs: \(list)")
        }
    }

    private static let expected = [
        "begun", "aborting", "noted", "compensating", "completed", "compensated", "failed", "terminated", "suspended",
        "resumed", "signalled", "refused", "hook_failed", "started", "sent", "try_failed", "ongoing", "accepted",
        "heartbeat", "lost", "received", "succeeded", "unknown", "skipped", "late", "retried", "resolved",
        "started/compensate", "sent/compensate", "try_failed/compensate", "ongoing/compensate", "accepted/compensate",
        "lost/compensate", "succeeded/compensate", "failed/compensate", "unknown/compensate", "skipped/compensate",
        "retried/compensate", "resolved/compensate", "stuck at compensation", "stuck at forward", "stuck at pivot",
        "stuck at timeout",
    ]

    @Test(arguments: parts) func promisesAreKept(seeds: Range<UInt64>) async {
        for seed in seeds {
            do throws(Violation) {
                _ = try RandomRun.history(ofSeed: seed)
                if seeds.count == 1 { print(RandomRun.trace(ofSeed: seed)) }
            } catch {
                Issue.record("seed \(seed): \(error)\n\(RandomRun.trace(ofSeed: seed))")
                return
            }
            // The other tests share these threads.
            await Task.yield()
        }
    }
}
