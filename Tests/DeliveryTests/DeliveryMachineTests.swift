import Delivery
import Testing

struct DeliveryMachineTests {
    private let error = TryError(status: 503, message: "HTTP 503")

    private func machine(_ change: (inout RetryPolicy) -> Void = { _ in }) -> DeliveryMachine {
        var policy = RetryPolicy()
        policy.jitter = .none
        change(&policy)
        return DeliveryMachine(policy: policy)
    }

    private var failure: TryOutcome { .failed(error, happened: .unknown, retryAfter: nil) }

    @Test func successEnds() {
        #expect(machine().decide(.succeeded, attempt: 1, elapsed: .zero, random: 0) == .succeed)
    }

    @Test func failureIsTriedAgainUntilTheAttemptsAreUsed() {
        let machine = machine { $0.attempts = .limited(3) }
        #expect(
            machine.decide(failure, attempt: 1, elapsed: .zero, random: 0)
                == .retry(after: .milliseconds(500), countsAttempt: true, error))
        #expect(
            machine.decide(failure, attempt: 2, elapsed: .zero, random: 0)
                == .retry(after: .seconds(1), countsAttempt: true, error))
        #expect(
            machine.decide(failure, attempt: 3, elapsed: .zero, random: 0) == .deadLetter(reason: .exhausted, error))
    }

    @Test func oneAttemptMeansNoRetry() {
        let machine = machine { $0.attempts = .limited(1) }
        #expect(
            machine.decide(failure, attempt: 1, elapsed: .zero, random: 0) == .deadLetter(reason: .exhausted, error))
    }

    @Test func foreverNeverGivesUp() {
        let decision = machine { $0.attempts = .forever }.decide(
            failure, attempt: 1_000_000, elapsed: .seconds(1_000_000), random: 0)
        #expect(decision == .retry(after: .seconds(30), countsAttempt: true, error))
    }

    @Test func refusalIsFinalAtOnce() {
        #expect(
            machine().decide(.refused(error), attempt: 1, elapsed: .zero, random: 0)
                == .deadLetter(reason: .refused, error))
    }

    @Test func theNextTryMustBeginWithinMaxElapsed() {
        let machine = machine {
            $0.maxElapsed = .seconds(10)
            $0.initial = .seconds(2)
            $0.multiplier = 1
        }
        #expect(
            machine.decide(failure, attempt: 1, elapsed: .seconds(8), random: 0)
                == .retry(after: .seconds(2), countsAttempt: true, error))
        #expect(
            machine.decide(failure, attempt: 1, elapsed: .seconds(9), random: 0) == .deadLetter(reason: .elapsed, error)
        )
    }

    @Test func retryAfterWinsWhenItIsLongerAndIsCapped() {
        func decide(_ retryAfter: Duration) -> DeliveryMachine.Decision {
            machine().decide(
                .failed(error, happened: .no, retryAfter: retryAfter), attempt: 1, elapsed: .zero, random: 0)
        }
        #expect(decide(.seconds(7)) == .retry(after: .seconds(7), countsAttempt: true, error))
        #expect(decide(.milliseconds(1)) == .retry(after: .milliseconds(500), countsAttempt: true, error))
        #expect(decide(.seconds(86400)) == .retry(after: .seconds(600), countsAttempt: true, error))
    }

    @Test func ongoingUsesNoAttemptAndEndsAfterAnHour() {
        let machine = machine { $0.attempts = .limited(1) }
        #expect(
            machine.decide(.ongoing(retryAfter: nil), attempt: 1, elapsed: .seconds(60), random: 0)
                == .retry(after: .seconds(1), countsAttempt: false, nil))
        guard
            case .deadLetter(.elapsed, _) = machine.decide(
                .ongoing(retryAfter: nil), attempt: 1, elapsed: .seconds(3600), random: 0)
        else { return #expect(Bool(false), "an answer ongoing after an hour is not a dead letter") }
    }

    @Test func droppingLeavesNoLetter() {
        var machine = machine { $0.attempts = .limited(1) }
        machine.onExhausted = .drop
        #expect(machine.decide(failure, attempt: 1, elapsed: .zero, random: 0) == .drop(error))
        #expect(machine.decide(.refused(error), attempt: 1, elapsed: .zero, random: 0) == .drop(error))
    }
}
