import Delivery
import Testing

struct CircuitBreakerTests {
    private let start = ContinuousClock.now

    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .milliseconds(Int(seconds * 1000)) }

    private func breaker(failures: Int = 3) -> CircuitBreaker {
        var policy = CircuitBreaker.Policy()
        policy.failures = failures
        policy.within = .seconds(10)
        policy.openFor = .seconds(15)
        return CircuitBreaker(policy)
    }

    private func opened() -> CircuitBreaker {
        var breaker = breaker()
        _ = breaker.failed(isProbe: false, now: start)
        _ = breaker.failed(isProbe: false, now: start)
        #expect(breaker.failed(isProbe: false, now: start) == .open)
        return breaker
    }

    @Test func itOpensAfterSoManyFailures() {
        var breaker = breaker()
        #expect(breaker.failed(isProbe: false, now: at(0)) == .none)
        #expect(breaker.failed(isProbe: false, now: at(1)) == .none)
        #expect(breaker.admission(now: at(1)) == .send(isProbe: false))
        #expect(breaker.failed(isProbe: false, now: at(2)) == .open)
        #expect(breaker.admission(now: at(2)) == .wait(until: at(17)))
    }

    @Test func aSuccessAmongThemBeginsAnew() {
        var breaker = breaker()
        _ = breaker.failed(isProbe: false, now: at(0))
        _ = breaker.failed(isProbe: false, now: at(1))
        #expect(breaker.succeeded(isProbe: false) == .none)
        #expect(breaker.failed(isProbe: false, now: at(2)) == .none)
        #expect(breaker.failed(isProbe: false, now: at(3)) == .none)
    }

    @Test func failuresThatAreFarApartDoNotOpenIt() {
        var breaker = breaker()
        for second in stride(from: 0.0, to: 100, by: 6) {
            #expect(breaker.failed(isProbe: false, now: at(second)) == .none)
        }
    }

    @Test func failuresOfSeveralWorkersAddUp() {
        var breaker = breaker()
        #expect(breaker.counted(elsewhere: 5, now: at(0)) == .none)
        #expect(breaker.failed(isProbe: false, now: at(1)) == .open)
        var other = self.breaker()
        _ = other.failed(isProbe: false, now: at(0))
        #expect(other.counted(elsewhere: 1, now: at(1)) == .none)
        #expect(other.counted(elsewhere: 2, now: at(1)) == .open)
    }

    @Test func oneProbeGoesOutAndClosesIt() {
        var breaker = opened()
        #expect(breaker.admission(now: at(16)) == .ask)
        #expect(breaker.admission(now: at(16)) == .waitForWord)
        breaker.wasOpen(retryAt: at(15), isOwn: true)
        #expect(breaker.admission(now: at(16)) == .send(isProbe: true))
        #expect(breaker.admission(now: at(16)) == .waitForWord)
        #expect(breaker.succeeded(isProbe: true) == .close)
        #expect(breaker.admission(now: at(16)) == .send(isProbe: false))
    }

    @Test func aProbeThatFailsOpensItAgain() {
        var breaker = opened()
        _ = breaker.admission(now: at(15))
        breaker.wasOpen(retryAt: at(15), isOwn: true)
        _ = breaker.admission(now: at(15))
        #expect(breaker.failed(isProbe: true, now: at(16)) == .open)
        #expect(breaker.admission(now: at(16)) == .wait(until: at(31)))
    }

    @Test func aProbeThatCameToNothingIsSentAgain() {
        var breaker = opened()
        _ = breaker.admission(now: at(15))
        breaker.wasOpen(retryAt: at(15), isOwn: true)
        _ = breaker.admission(now: at(15))
        breaker.endedWithoutWord(isProbe: true)
        #expect(breaker.admission(now: at(15)) == .send(isProbe: true))
    }

    @Test func anotherWorkersProbeIsWaitedFor() {
        var breaker = opened()
        #expect(breaker.admission(now: at(15)) == .ask)
        breaker.wasOpen(retryAt: at(20), isOwn: false)
        #expect(breaker.admission(now: at(16)) == .wait(until: at(20)))
        breaker.wasClosed()
        #expect(breaker.admission(now: at(16)) == .send(isProbe: false))
    }

    @Test func whatWasSentBeforeItOpenedChangesNothing() {
        var breaker = opened()
        #expect(breaker.succeeded(isProbe: false) == .none)
        #expect(breaker.failed(isProbe: false, now: at(14)) == .none)
        #expect(breaker.admission(now: at(14)) == .wait(until: at(15)))
    }

    @Test func anotherWorkerOpensAndClosesIt() {
        var breaker = breaker()
        breaker.wasOpen(retryAt: at(5), isOwn: false)
        #expect(breaker.admission(now: at(1)) == .wait(until: at(5)))
        breaker.wasClosed()
        #expect(breaker.admission(now: at(1)) == .send(isProbe: false))
        #expect(breaker.failed(isProbe: false, now: at(1)) == .none)
    }
}
