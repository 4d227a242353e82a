internal import Expressions
internal import Primitives
internal import Sagas
internal import Schedules

enum ScheduleDecoder {
    private static let keys = ["schedule", "cron", "timezone", "publish", "start", "missed"]

    static func schedule(_ document: Node.Mapping, _ report: Report) -> ScheduleDefinition? {
        let fields = Fields(document, of: "a schedule", known: keys, report)
        let name = fields["schedule"]?.name("the name of a schedule", report)
        let cron = fields.required("cron", expected: "\"0 3 * * *\"").flatMap { self.cron($0, report) }
        let zone = fields["timezone"].map { self.zone($0, report) } ?? .utc
        let act = act(fields)
        var missed = Recurrence.Missed.once
        fields.read("missed", into: &missed) { $0.choice("missed", $1) }
        Node.mapping(document).checkStorable(report)
        guard let name, let cron, let zone, let act else { return nil }
        return ScheduleDefinition(
            name: name, recurrence: Recurrence(cron: cron, zone: zone, missed: missed), act: act,
            content: Node.mapping(document).content)
    }

    // MARK: - When

    private static func cron(_ node: Node, _ report: Report) -> CronExpression? {
        guard let scalar = node.scalarText("cron", report) else { return nil }
        do throws(CronErrors) {
            return try CronExpression(scalar.text)
        } catch {
            for error in error.all {
                report.error(
                    at: scalar.position(ofByte: error.offset), error.found, expected: error.expected,
                    suggestion: error.suggestion)
            }
            return nil
        }
    }

    private static func zone(_ node: Node, _ report: Report) -> TimeZoneRules? {
        guard let name = node.text("timezone", report) else { return nil }
        do throws(TimeZoneFiles.Failure) {
            return try TimeZoneFiles().rules(name)
        } catch {
            let expected = "UTC, or a name such as Europe/Zurich"
            switch error {
            case .unknown(let meant):
                report.error(
                    at: node.position, "there is no time zone \(node.called)", expected: expected,
                    suggestion: meant.map { "did you mean '\($0)'?" })
            case .notInstalled(let folder):
                report.error(
                    at: node.position, "the time zone \(node.called) cannot be looked up: there is no folder \(folder)",
                    suggestion: "install tzdata, set TZDIR, or use UTC")
            case .unreadable(let reason):
                report.error(at: node.position, "the file of the time zone \(node.called) is of no use: \(reason)")
            }
            return nil
        }
    }

    // MARK: - What

    private static func act(_ fields: Fields) -> ScheduleDefinition.Act? {
        let report = fields.report
        let site = Site(part: .schedule, uses: Site.Uses(), report: report)
        defer { ScopeCheck(map: StepMap([]), report: report).check([], outside: site.uses.all) }
        switch (fields["publish"], fields["start"]) {
        case (let publish?, nil): return site.publication(publish).map(ScheduleDefinition.Act.publish)
        case (nil, let start?): return self.start(start, site).map(ScheduleDefinition.Act.start)
        case (_?, let start?):
            report.error(
                at: start.position, "a schedule with 'publish' and 'start'", expected: "exactly one of them",
                suggestion: "a second schedule can do the other")
        case (nil, nil):
            if !fields.isMisspelt(["publish", "start"]) {
                report.error(
                    at: fields.mapping.position, "a schedule that does nothing",
                    expected: "publish: { topic: …, payload: … }, or start: { saga: …, input: … }")
            }
        }
        return nil
    }

    private static func start(_ node: Node, _ site: Site) -> ScheduleDefinition.Start? {
        let report = site.report
        guard let fields = Fields(node, of: "start", known: ["saga", "input", "key"], report) else { return nil }
        let sagaNode = fields.required("saga", expected: "the name of a saga")
        let saga = sagaNode?.name("the name of a saga", report)
        if let saga, let sagaNode { report.refer(to: .saga(saga), at: sagaNode.position) }
        var start = ScheduleDefinition.Start(saga: saga ?? "")
        fields.read("input", into: &start.input) { node, _ in site.value(node, "input") }
        fields.read("key", into: &start.key) { node, _ in site.template(node, "key") }
        return saga == nil ? nil : start
    }
}
