package import Expressions
import Primitives
package import WorkflowFiles

/// What the scenarios of some files came to.
package struct TestReport: Sendable {
    package struct Result: Sendable {
        package var scenario: Scenario
        package var performance: Performance
        package var verdict: Verdict
        /// Of real time.
        package var duration: Duration
    }

    package struct File: Sendable {
        package var path: String
        /// With one, nothing of it was played.
        package var diagnostics: [Diagnostic]
        package var results: [Result] = []
    }

    package private(set) var files: [File] = []
    /// Of real time.
    package private(set) var duration = Duration.zero

    package init() {}

    /// Nothing was played, since the workflow files are wrong.
    package init(errors: [Diagnostic]) {
        for (path, diagnostics) in Dictionary(grouping: errors, by: \.file).sorted(by: { $0.key < $1.key }) {
            files.append(File(path: path, diagnostics: diagnostics))
        }
    }

    /// Plays all scenarios of the files.
    ///
    /// - Parameter evaluator: makes one that shows these variables as `$env`.
    package static func play(
        _ files: [ScenarioFile], evaluator: ([String: String]) -> Evaluator
    ) async -> TestReport {
        let clock = ContinuousClock()
        let start = clock.now
        var report = TestReport()
        // A process for jq starts when it is first needed; one is enough for all that show the same.
        var evaluators: [[String: String]: Evaluator] = [:]
        for file in files {
            var played = File(path: file.path, diagnostics: file.diagnostics)
            for scenario in file.scenarios where !file.hasErrors {
                let evaluator = evaluators[scenario.environment] ?? evaluator(scenario.environment)
                evaluators[scenario.environment] = evaluator
                let began = clock.now
                let performance = await Rehearsal.play(scenario, evaluator: evaluator)
                let verdict = Verdict(performance, scenario.expectation)
                played.results.append(
                    Result(
                        scenario: scenario, performance: performance, verdict: verdict, duration: clock.now - began))
            }
            report.files.append(played)
        }
        for evaluator in evaluators.values { evaluator.close() }
        report.duration = clock.now - start
        return report
    }

    package var results: [Result] { files.flatMap(\.results) }
    package var diagnostics: [Diagnostic] { files.flatMap(\.diagnostics) }

    package var hasPassed: Bool {
        !diagnostics.contains { $0.severity == .error } && results.allSatisfy { $0.verdict == .passed }
    }
}
