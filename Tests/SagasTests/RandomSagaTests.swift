import Sagas
import Testing

/// Random sagas in random worlds: see `RandomRun`. What is checked after every event: see `Watch`.
struct RandomSagaTests {
    private static let runsPerTest = 12_500

    /// Failures name their seed; `oneSeed` runs one alone, line by line.
    @Test(arguments: 0..<8) func promisesAreKept(part: Int) async {
        for seed in UInt64(part * Self.runsPerTest)..<UInt64((part + 1) * Self.runsPerTest) {
            do throws(Violation) {
                _ = try RandomRun.end(ofSeed: seed)
            } catch {
                Issue.record("seed \(seed): \(error)\n\(RandomRun.trace(ofSeed: seed))")
                return
            }
            // The other tests share these threads.
            await Task.yield()
        }
    }
}
