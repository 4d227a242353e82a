extension TryOutcome {
    /// What a statement came to that failed: its transaction was rolled back, so it has not happened, whatever the reason.
    ///
    /// What may pass is tried again: the classes of SQLSTATE 40 (conflicts between transactions), 53 (resources), 55 (locks),
    /// 57 (intervention, `statement_timeout` among them) and 58 (the system), by the manual's appendix A; and what Outrider itself
    /// refuses for the moment, a topic that is full (OR001) or too fast (OR002). All else is final.
    /// The error's type is `sql-` and the SQLSTATE, and so it is named by a policy's `fail_on` and `retry_on`.
    package init(sqlState: String, message: String, policy: RetryPolicy) {
        let type = "sql-\(sqlState)"
        let error = TryError(type: type, message: message)
        func matches(_ list: [FailureMatch]) -> Bool {
            list.contains { $0.matches(status: nil, problemType: type) }
        }
        let mayPass =
            ["40", "53", "55", "57", "58"].contains(sqlState.prefix(2)) || ["OR001", "OR002"].contains(sqlState)
        if !matches(policy.failOn), mayPass || matches(policy.retryOn) {
            self = .failed(error, happened: .no, retryAfter: nil)
        } else {
            self = .refused(error)
        }
    }
}
