import Delivery
import Testing

/// What a statement that failed comes to, by its SQLSTATE.
struct FailedStatementTests {
    private func isTriedAgain(_ state: String, _ policy: RetryPolicy = RetryPolicy()) -> Bool {
        switch TryOutcome(sqlState: state, message: "m", policy: policy) {
        case .failed(let error, let happened, let retryAfter):
            #expect(error == TryError(type: "sql-\(state)", message: "m"))
            #expect(happened == .no)
            #expect(retryAfter == nil)
            return true
        case .refused(let error):
            #expect(error == TryError(type: "sql-\(state)", message: "m"))
            return false
        case .succeeded, .ongoing:
            Issue.record("\(state) is a failure")
            return false
        }
    }

    @Test func whatMayPassIsTriedAgain() {
        for state in ["40001", "40P01", "53300", "55P03", "57014", "57P01", "58030"] {
            #expect(isTriedAgain(state), "\(state)")
        }
    }

    @Test func allElseIsFinal() {
        for state in ["22012", "23505", "25P02", "08006", "42P01", "P0001", "XX000"] {
            #expect(!isTriedAgain(state), "\(state)")
        }
    }

    @Test func aPolicyNamesStates() {
        var policy = RetryPolicy()
        policy.failOn = [.problemType("sql-40001")]
        policy.retryOn = [.problemType("sql-P0001")]
        #expect(!isTriedAgain("40001", policy))
        #expect(isTriedAgain("P0001", policy))
        #expect(isTriedAgain("40P01", policy))
    }
}
