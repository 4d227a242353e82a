import Primitives
import Sagas

/// Knows what the handlers of a scenario reply, and who had which reply already.
struct Prompter {
    private let scenario: Scenario
    /// Requests so far, of each step of the run: every iteration of a loop begins its sequence anew.
    private var used: [Operation: Int] = [:]

    init(_ scenario: Scenario) {
        self.scenario = scenario
    }

    /// - Parameter fallback: what an operation without a handler replies.
    mutating func reply(to operation: Operation, fallback: Reply) throws(Breakdown) -> Reply {
        guard let (name, handler) = handler(of: operation) else {
            guard !scenario.isStrict || operation.op == .compensate else {
                throw Breakdown(
                    "\(operation) was called, which has no handler; expected one, since the scenario is strict")
            }
            return fallback
        }
        let count = used[operation, default: 0]
        used[operation] = count + 1
        guard handler.isSequence else { return handler.replies[0] }
        guard count < handler.replies.count else {
            let given = handler.replies.count == 1 ? "1 reply" : "\(handler.replies.count) replies"
            throw Breakdown(
                "\(operation) was called once more than its handler \(name) has replies; it has \(given)")
        }
        return handler.replies[count]
    }

    /// By the path, or else by the id.
    private func handler(of operation: Operation) -> (name: Operation, handler: Handler)? {
        for name in [operation, Operation(StepPath(operation.step.stepID), operation.op)] {
            if let handler = scenario.handlers[name] { return (name, handler) }
        }
        return nil
    }

    /// Sequences that were not used up, sorted by name.
    var leftOver: [(operation: Operation, used: Int, given: Int)] {
        scenario.handlers.filter { $0.value.isSequence && $0.value.mustBeUsedUp }.compactMap { name, handler in
            let counts = used.filter { handled(by: name, $0.key) }.map(\.value)
            guard let most = counts.max() else { return (name, 0, handler.replies.count) }
            return most < handler.replies.count ? (name, most, handler.replies.count) : nil
        }.sorted { $0.0.description < $1.0.description }
    }

    private func handled(by name: Operation, _ operation: Operation) -> Bool {
        handler(of: operation)?.name == name
    }
}

/// Why a scenario cannot be played to its end.
struct Breakdown: Error {
    let reason: String

    init(_ reason: String) {
        self.reason = reason
    }
}
