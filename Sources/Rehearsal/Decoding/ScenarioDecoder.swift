import Primitives
import Sagas
import WorkflowFiles

/// Reads a document of a scenario file:
///
/// ```yaml
/// saga: place-order
/// version: 3                        # optional: the newest
/// env: { INVENTORY: http://inventory }
/// input: { orderId: 17, total: 42.5 }   # of all scenarios that bring none
/// handlers:                         # of all scenarios; theirs come before these, step by step
///   reserve: { body: { id: r-1 } }
/// strict: true                      # an action without a handler is an error; default: it succeeds with null
/// started_at: 2026-01-01T00:00:00Z
/// scenarios:
///   - name: a declined card undoes the reservation
///     input: …
///     key: "17"
///     handlers:                     # see ReplyDecoder
///       charge: { status: 422, problem: { type: card-declined } }
///     events:                       # see OccurrenceDecoder
///       - { at: 1h, signal: parcel-handed-over }
///     expect:                       # see ExpectationDecoder
///       status: compensated
/// ```
struct ScenarioDecoder {
    private static let shared = ["input", "handlers", "strict", "started_at"]
    private static let documentKeys = ["saga", "version", "env"] + shared + ["scenarios"]
    private static let scenarioKeys = ["name"] + shared + ["key", "events", "expect"]

    private let report: Report
    private let program: SagaProgram
    private let catalogue: StepCatalogue

    /// - Parameter sagas: the definitions that a document may speak of.
    static func scenarios(_ document: Node, of sagas: [SagaDefinition], _ report: Report) -> [Scenario] {
        guard
            let fields = Fields(document, of: "a document of scenarios", known: documentKeys, report),
            let definition = definition(fields, among: sagas)
        else { return [] }
        let decoder = ScenarioDecoder(definition, report)
        return decoder.scenarios(fields)
    }

    private static func definition(_ fields: Fields, among sagas: [SagaDefinition]) -> SagaDefinition? {
        guard let node = fields.required("saga", expected: "the name of a saga"),
            let name = node.name("the name of a saga", fields.report)
        else { return nil }
        let versions = sagas.filter { $0.name == name }.sorted { $0.version < $1.version }
        guard let newest = versions.last else {
            let names = Set(sagas.map(\.name))
            fields.report.error(
                at: node.position, "the saga '\(name)' is declared nowhere",
                expected: "a document 'saga: \(name)' in the workflow files",
                suggestion: closest(to: name, among: names).map { "did you mean '\($0)'?" })
            return nil
        }
        guard let wanted = fields["version"] else { return newest }
        guard let number = wanted.integer("version", in: 1...Int(Int32.max), fields.report) else { return nil }
        if let version = versions.first(where: { $0.version == number }) { return version }
        fields.report.error(
            at: wanted.position, "the saga '\(name)' has no version \(number)",
            expected: "one of \(versions.map { "\($0.version)" }.joined(separator: ", "))")
        return nil
    }

    private init(_ definition: SagaDefinition, _ report: Report) {
        self.report = report
        program = SagaProgram(definition)
        catalogue = StepCatalogue(program)
    }

    // MARK: - The document

    private func scenarios(_ fields: Fields) -> [Scenario] {
        var common = Scenario(name: "", program: program, expectation: Expectation(status: .completed))
        fields.read("env", into: &common.environment, environment)
        readShared(fields, into: &common)
        guard let node = fields.required("scenarios", expected: "a list of scenarios"),
            let nodes = node.list("scenarios", report)
        else { return [] }
        guard !nodes.isEmpty else {
            report.error(at: node.position, "scenarios is empty", expected: "at least one scenario")
            return []
        }
        var places: [String: Position] = [:]
        return nodes.compactMap { node in
            guard let scenario = scenario(node, common) else { return nil }
            if let first = places[scenario.name] {
                report.error(
                    at: scenario.position,
                    "the scenario '\(scenario.name)' stands twice; first at line \(first.line)",
                    expected: "a name of its own for each")
                return nil
            }
            places[scenario.name] = scenario.position
            return scenario
        }
    }

    private func environment(_ node: Node, _ report: Report) -> [String: String]? {
        guard case .mapping(let mapping) = node else {
            report.error(
                at: node.position, "\(node.called) stands for env", expected: "a mapping of variables to texts")
            return nil
        }
        var variables: [String: String] = [:]
        for entry in mapping.entries {
            variables[entry.name] = entry.value.text("the variable \(entry.name)", report)
        }
        return variables
    }

    private func readShared(_ fields: Fields, into scenario: inout Scenario) {
        fields.read("input", into: &scenario.input) { node, _ in node.content }
        fields.read("strict", into: &scenario.isStrict) { $0.bool("strict", $1) }
        fields.read("started_at", into: &scenario.startedAt, time)
        guard let node = fields["handlers"], let handlers = handlers(node) else { return }
        scenario.handlers.merge(handlers) { $1 }
    }

    private func time(_ node: Node, _ report: Report) -> Timestamp? {
        if case .scalar(let scalar) = node, let time = Timestamp(rfc3339: scalar.text) { return time }
        report.error(
            at: node.position, "\(node.called) stands for started_at",
            expected: "a time such as 2026-01-31T08:00:00Z")
        return nil
    }

    private func handlers(_ node: Node) -> [Operation: Handler]? {
        guard case .mapping(let mapping) = node else {
            report.error(
                at: node.position, "\(node.called) stands for handlers",
                expected: "a mapping of steps to what their handlers reply")
            return nil
        }
        var handlers: [Operation: Handler] = [:]
        for entry in mapping.entries {
            guard let (operation, kind) = catalogue.called(entry.name, at: entry.namePosition, report) else { continue }
            handlers[operation] = ReplyDecoder(operation, kind, report).handler(entry.value)
        }
        return handlers
    }

    // MARK: - A scenario

    private func scenario(_ node: Node, _ common: Scenario) -> Scenario? {
        guard let fields = Fields(node, of: "a scenario", known: Self.scenarioKeys, report) else { return nil }
        var scenario = common
        let nameNode = fields.required("name", expected: "what happens, in a few words")
        let name = nameNode?.text("the name of a scenario", report)
        scenario.name = name ?? ""
        scenario.position = nameNode?.position ?? node.position
        scenario.handlers = [:]
        readShared(fields, into: &scenario)
        for operation in scenario.handlers.keys { scenario.handlers[operation]?.mustBeUsedUp = true }
        scenario.handlers.merge(common.handlers) { own, _ in own }
        fields.read("key", into: &scenario.key) { $0.text("key", $1) }
        if let events = fields["events"] {
            scenario.occurrences = OccurrenceDecoder(catalogue, report).occurrences(events)
        }
        let expectation = fields.required("expect", expected: "{ status: completed }").flatMap {
            ExpectationDecoder(catalogue, report).expectation($0)
        }
        guard name != nil, let expectation else { return nil }
        scenario.expectation = expectation
        return scenario
    }
}
