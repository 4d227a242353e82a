import Delivery
import Testing

struct RetryPolicyTests {
    private func policy(_ change: (inout RetryPolicy) -> Void = { _ in }) -> RetryPolicy {
        var policy = RetryPolicy()
        policy.jitter = .none
        change(&policy)
        return policy
    }

    @Test func delayDoublesUpToTheCap() {
        let policy = policy {
            $0.initial = .milliseconds(500)
            $0.max = .seconds(30)
        }
        let delays = (1...8).map { policy.delay(after: $0, random: 0) }
        #expect(
            delays == [
                .milliseconds(500), .seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(16), .seconds(30),
                .seconds(30),
            ])
    }

    @Test func multiplierOneIsConstant() {
        let policy = policy {
            $0.multiplier = 1
            $0.initial = .seconds(3)
        }
        #expect(policy.delay(after: 1, random: 0) == .seconds(3))
        #expect(policy.delay(after: 1_000_000, random: 0) == .seconds(3))
    }

    @Test func hugeAttemptsGoToTheCapAndNotBeyond() {
        let policy = policy { $0.max = .seconds(86400) }
        #expect(policy.delay(after: .max, random: 0) == .seconds(86400))
    }

    @Test func initialAboveTheCapIsCapped() {
        #expect(
            policy {
                $0.initial = .seconds(60)
                $0.max = .seconds(5)
            }.delay(after: 1, random: 0) == .seconds(5))
    }

    @Test(arguments: [(0.0, 0, 500), (0.5, 500, 750), (0.999, 999, 999)])
    func jitterStaysInItsRange(random: Double, full: Int, equal: Int) {
        let base = policy { $0.initial = .seconds(1) }
        var fullJitter = base
        fullJitter.jitter = .full
        var equalJitter = base
        equalJitter.jitter = .equal
        #expect(Int(fullJitter.delay(after: 1, random: random) / .milliseconds(1)) == full)
        #expect(Int(equalJitter.delay(after: 1, random: random) / .milliseconds(1)) == equal)
    }

    @Test func problemTypesMatchWholeOrByLastSegment() {
        let match = FailureMatch.problemType("card-declined")
        #expect(match.matches(status: 422, problemType: "https://shop.example/problems/card-declined"))
        #expect(match.matches(status: 422, problemType: "urn:shop:card-declined"))
        #expect(match.matches(status: 422, problemType: "card-declined"))
        #expect(!match.matches(status: 422, problemType: "https://shop.example/card-declined-twice"))
        #expect(!match.matches(status: 422, problemType: nil))
    }
}
