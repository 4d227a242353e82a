internal import Expressions
internal import Primitives
internal import Sagas

/// What can only be seen with all steps of a saga at hand.
enum SagaChecks {
    /// - Parameters:
    ///   - saga: nil when it has no name or no version.
    ///   - outside: expressions that belong to no step.
    ///   - timeout: of the saga.
    static func check(
        _ steps: [StepOutline], of saga: SubSaga.Parent?, outside: [Site.Use], timeout: Duration?, _ report: Report
    ) {
        NameCheck.check(steps, report)
        ReachCheck.check(steps, report)
        ScopeCheck(map: StepMap(steps), report: report).check(steps, outside: outside)
        PivotCheck.check(steps, of: saga, timeout: timeout, report)
    }
}
