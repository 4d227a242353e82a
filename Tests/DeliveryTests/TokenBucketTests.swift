import Delivery
import Testing

struct TokenBucketTests {
    private let start = ContinuousClock.now

    /// Takes whenever it may, until `end`.
    private func taken(_ bucket: inout TokenBucket, until end: Duration) -> [Duration] {
        var taken: [Duration] = []
        var now = start
        while let next = bucket.next(now: now), next <= start + end {
            now = next
            if bucket.take(now: now) { taken.append(now - start) }
        }
        return taken
    }

    @Test func noSecondSeesMuchMoreThanTheRate() {
        var bucket = TokenBucket(rate: 100, isFull: true, now: start)
        let taken = taken(&bucket, until: .seconds(10))
        #expect((1004...1005).contains(taken.count))
        for first in taken where first <= .seconds(9) {
            #expect(taken.count { $0 >= first && $0 < first + .seconds(1) } <= 105)
        }
    }

    @Test func aSlowRateHasNoBurst() {
        var bucket = TokenBucket(rate: 0.5, isFull: true, now: start)
        #expect(taken(&bucket, until: .seconds(9)).count == 5)
    }

    @Test func whatWasGivenAwayElsewhereBeginsEmpty() {
        var bucket = TokenBucket(rate: 2, isFull: false, now: start)
        let isTaken = bucket.take(now: start)
        #expect(!isTaken)
        #expect(taken(&bucket, until: .milliseconds(2501)).count == 5)
    }

    @Test func aWakeUpThatComesLateLosesNothingOfAFastRate() {
        var bucket = TokenBucket(rate: 1000, isFull: false, now: start)
        var count = 0
        for millisecond in stride(from: 0, through: 1000, by: 7) {
            while bucket.take(now: start + .milliseconds(millisecond)) { count += 1 }
        }
        #expect((990...1000).contains(count))
    }

    @Test func aChangedRateHoldsFromThenOn() {
        var bucket = TokenBucket(rate: 100, isFull: true, now: start)
        bucket.changed(to: 10, now: start)
        let taken = taken(&bucket, until: .seconds(2))
        #expect((20...21).contains(taken.count))
    }

    @Test func withoutARateNothingIsTaken() {
        var bucket = TokenBucket(rate: 0, isFull: false, now: start)
        let isTaken = bucket.take(now: start + .seconds(3600))
        #expect(!isTaken)
        let next = bucket.next(now: start)
        #expect(next == nil)
    }

    @Test func thoseAheadAreWaitedFor() throws {
        var bucket = TokenBucket(rate: 10, isFull: false, now: start)
        let soonest = bucket.next(behind: 2, now: start)
        let next = try #require(soonest)
        #expect((.milliseconds(300) ... .milliseconds(301)).contains(next - start))
    }
}
