import Delivery
import Testing

/// A handler that works on `capacity` requests at once, `service` each; more wait for their turn, and at more than `refusesAt`
/// it says 503 at once.
private struct Handler {
    var capacity: Double
    var service = 0.02
    var refusesAt = Int.max

    /// Plays so many answers with as many requests in flight as the limit allows, a scatter of 20 % about each latency.
    func play(_ adaptive: inout AdaptiveConcurrency, answers: Int, from seed: UInt64 = 1) {
        var state = seed
        for _ in 0..<answers {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let scatter = 0.8 + 0.4 * Double(state >> 33) / Double(1 << 31)
            let inFlight = adaptive.limit
            if inFlight > refusesAt {
                adaptive.refused()
            } else {
                let seconds = service * max(1, Double(inFlight) / capacity) * scatter
                adaptive.answered(in: .microseconds(Int64(seconds * 1e6)), inFlight: inFlight)
            }
        }
    }
}

struct AdaptiveConcurrencyTests {
    @Test(arguments: [2.0, 5, 20, 64, 300])
    func itFindsWhatTheHandlerCanTake(capacity: Double) {
        var adaptive = AdaptiveConcurrency(most: 1024)
        let handler = Handler(capacity: capacity)
        handler.play(&adaptive, answers: 200_000)
        var limits: [Int] = []
        for round in 0..<50 {
            handler.play(&adaptive, answers: 997, from: UInt64(round + 2))
            limits.append(adaptive.limit)
        }
        let average = Double(limits.reduce(0, +)) / 50
        #expect(average >= capacity * 0.9 && average <= capacity * 1.5 + 2, "it is at \(average): \(limits)")
    }

    @Test func itStartsSmallAndStaysWithinItsBounds() {
        var adaptive = AdaptiveConcurrency(most: 40)
        #expect(adaptive.limit == 8)
        Handler(capacity: 1000).play(&adaptive, answers: 20_000)
        #expect(adaptive.limit == 40)
        #expect(AdaptiveConcurrency(most: 3).limit == 3)
        Handler(capacity: 1, refusesAt: 0).play(&adaptive, answers: 20_000)
        #expect(adaptive.limit == 1)
    }

    @Test func itStaysBelowWhatIsRefusedAndGrowsAgain() {
        var adaptive = AdaptiveConcurrency(most: 1024)
        let handler = Handler(capacity: 1000, refusesAt: 30)
        handler.play(&adaptive, answers: 5000)
        var limits: [Int] = []
        for _ in 0..<500 {
            handler.play(&adaptive, answers: 97)
            limits.append(adaptive.limit)
        }
        #expect(limits.max()! <= 34 && limits.reduce(0, +) / limits.count >= 18, "\(limits)")
        Handler(capacity: 1000, refusesAt: 0).play(&adaptive, answers: 2000)
        #expect(adaptive.limit == 1)
        handler.play(&adaptive, answers: 5000)
        #expect(adaptive.limit > 18)
    }

    @Test func whatArrivesSeldomDoesNotRaiseIt() {
        var adaptive = AdaptiveConcurrency(most: 1024)
        for _ in 0..<10_000 { adaptive.answered(in: .milliseconds(5), inFlight: 3) }
        #expect(adaptive.limit == 8)
    }

    @Test func aHandlerThatHasBecomeSlowerIsNotTakenForAnOverloadedOne() {
        var adaptive = AdaptiveConcurrency(most: 1024)
        Handler(capacity: 50).play(&adaptive, answers: 50_000)
        Handler(capacity: 50, service: 0.2).play(&adaptive, answers: 50_000)
        #expect(adaptive.limit >= 40, "it is at \(adaptive.limit)")
    }
}
