import Expressions
import Primitives
package import Sagas

/// What a saga will do, before it does it: the way forward, and for each step what is undone if it fails there.
///
/// Made of nothing but the definition. `text`, `mermaid`, `dot` and `svg` show it.
package struct SagaPlan: Sendable, Hashable {
    package var name: String
    package var version: Int
    package var about: String?
    /// What is worth knowing of the saga as a whole: how it is started, its key, its timeout, what it publishes at its end.
    package var facts: [Fact]
    /// The way forward.
    package var steps: [PlannedStep]
    /// The way back from each place where the saga can fail, in the order of the file.
    package var failures: [FailurePoint]

    package struct Fact: Sendable, Hashable {
        package var label: String
        package var value: String
    }

    package init(_ definition: SagaDefinition) {
        name = definition.name
        version = definition.version
        about = definition.about.map(oneLine)
        facts = Self.facts(definition)
        var planner = Planner()
        steps = planner.steps(definition.steps)
        failures = WayBack.failures(
            steps, output: definition.output?.expressions.isEmpty == false ? planner.standing : nil)
    }

    /// All steps, a step before those that it contains.
    package var allSteps: [PlannedStep] { PlannedStep.flattened(steps) }

    /// The pivots; more than one only in different cases of a `switch`.
    var pivots: [PlannedStep] { allSteps.filter(\.isPivot) }

    private static func facts(_ definition: SagaDefinition) -> [Fact] {
        var facts: [Fact] = []
        func add(_ label: String, _ value: String?) {
            if let value { facts.append(Fact(label: label, value: oneLine(value))) }
        }
        add("started by", definition.startOn.map { "a message of \($0), or start_saga" } ?? "start_saga")
        add("key", definition.key.map { $0.source + (definition.reusesKey ? ", free again at its end" : "") })
        add("input", definition.inputSchema.map { _ in "checked by its schema" })
        add("timeout", definition.timeout.map { "\($0.text) for the way forward" })
        add("output", definition.output?.outline)
        add("kept", "\(definition.retention.text) after its end")
        for hook in SagaDefinition.Hook.allCases {
            add("on \(hook.rawValue)", definition.hooks[hook].map { "publishes \($0.words)" })
        }
        return facts
    }
}
