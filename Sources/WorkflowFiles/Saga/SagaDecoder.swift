internal import Expressions
internal import Primitives
internal import Sagas

enum SagaDecoder {
    private static let keys = [
        "saga", "version", "description", "key", "reuse_key", "start_on", "input", "output", "timeout", "abort_wait",
        "retention", "retries", "defaults", "steps",
    ]

    static func saga(_ document: Node.Mapping, _ report: Report) -> SagaDefinition? {
        let hooks = SagaDefinition.Hook.allCases.map { (hook: $0, key: "on_\($0.rawValue)") }
        let fields = Fields(document, of: "a saga", known: keys + hooks.map(\.key), report)
        let name = fields["saga"]?.name("the name of a saga", report)
        let version = fields.required("version", expected: "1, and a higher number with every change")?
            .integer("version", in: 1...Int(Int32.max), report)
        let decoder = StepDecoder(defaults: SagaDefaults(fields), report: report)
        let sequence = fields.required("steps", expected: "[ { id: …, call: … } ]").flatMap { decoder.sequence($0) }
        let schema = fields["input"].flatMap { self.schema($0, report) }
        // Options are read into a definition with stand-ins, so that their errors show even when the above failed.
        var saga = SagaDefinition(
            name: name ?? "", version: version ?? 0, steps: sequence?.steps ?? [],
            content: content(document, schema))
        saga.inputSchema = schema?.schema
        let site = Site(part: .result, uses: Site.Uses(), report: report)
        fields.read("description", into: &saga.about) { $0.text("description", $1) }
        fields.read("key", into: &saga.key) { node, _ in key(node, site.part(.key)) }
        fields.read("reuse_key", into: &saga.reusesKey) { $0.bool("reuse_key", $1) }
        fields.read("start_on", into: &saga.startOn) { $0.topic("start_on", $1) }
        fields.read("output", into: &saga.output) { node, _ in site.value(node, "output") }
        fields.read("timeout", into: &saga.timeout) { $0.duration("timeout", $1) }
        fields.read("abort_wait", into: &saga.abortWait) { $0.duration("abort_wait", shortest: .zero, $1) }
        fields.read("retention", into: &saga.retention) { $0.duration("retention", shortest: .zero, $1) }
        for (hook, key) in hooks {
            fields.read(key, into: &saga.hooks[hook]) { node, _ in site.part(.hook).hook(node, key) }
        }
        Node.mapping(document).checkStorable(report)
        if let sequence {
            let itself = name.flatMap { name in version.map { SubSaga.Parent(name: name, version: $0) } }
            SagaChecks.check(
                sequence.outlines, of: itself, outside: site.uses.all, timeout: saga.timeout, report)
        }
        return name != nil && version != nil && sequence?.steps != nil ? saga : nil
    }

    private static func schema(_ node: Node, _ report: Report) -> InputSchema? {
        guard let fields = Fields(node, of: "input", known: ["schema"], report) else { return nil }
        return fields.required("schema", expected: "schemas/order.json").flatMap { InputSchema($0, report) }
    }

    /// Evaluated by whoever starts a saga, in SQL too: no jq.
    private static func key(_ node: Node, _ site: Site) -> Template? {
        guard let template = site.template(node, "key") else { return nil }
        guard template.isPlain else {
            site.report.error(
                at: node.position, "\(node.called) stands for key",
                expected: "a plain path such as ${ .input.orderId }, or a text of plain paths")
            return nil
        }
        return template
    }

    /// With the schema in place of its path, so that it can be read again without files.
    private static func content(_ document: Node.Mapping, _ schema: InputSchema?) -> JSON {
        let content = Node.mapping(document).content
        guard let schema, case .object(var object) = content else { return content }
        object["input"] = .object(JSONObject([(name: "schema", value: schema.content)]))
        return .object(object)
    }
}
