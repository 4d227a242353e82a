package struct NeverHappened: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) {
        self.description = description
    }
}

/// Waits for a condition, by looking at it again and again; never for time to pass.
///
/// - Throws: `NeverHappened` with the expectation when the condition does not come about within the limit.
package func eventually(
    _ expectation: String, within limit: Duration = .seconds(20), _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + limit
    var pause = Duration.milliseconds(2)
    while try await !condition() {
        guard ContinuousClock.now < end else {
            throw NeverHappened(description: "within \(limit) it did not happen that \(expectation)")
        }
        try await Task.sleep(for: pause)
        pause = min(pause * 2, .milliseconds(25))
    }
}
