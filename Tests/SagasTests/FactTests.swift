import Delivery
import Expressions
import Primitives
import Sagas
import Testing

struct FactTests {
    private static let time = Timestamp(microseconds: 1_800_000_000_123_456)
    private static let failures = [
        Failure(type: "no"), Failure(step: StepPath("a[1].b"), type: "no", title: "No", detail: "why", status: 422),
    ]

    private static var kinds: [Fact.Kind] {
        var kinds: [Fact.Kind] = [
            .begun(deadline: nil), .begun(deadline: time), .compensating([]),
            .compensating([StepPath("b"), StepPath("a[0].c")]), .completed(output: .null), .completed(output: [1]),
            .compensated, .terminated(reason: "r", by: "b"), .suspended(by: "b"), .resumed(by: "b"),
            .signalled(event: "e", payload: .null, by: "b"), .refused(act: "a", reason: "r", by: "b"),
            .hookFailed(hook: "h", error: "e"), .sent(until: time), .ongoing(next: time), .accepted(until: time),
            .heartbeat(until: time), .lost, .received(event: "e", payload: ["x": 1]), .succeeded(output: .null),
            .succeeded(output: "x"), .skipped(reason: "r", output: .null, by: nil),
            .skipped(reason: "r", output: 1, by: "b"), .late("what"), .retried(input: nil, by: "b"),
            .retried(input: .null, by: "b"), .retried(input: 1, by: "b", reason: "r"), .suspended(by: "b", reason: "r"),
            .resumed(by: "b", reason: "r"), .resolved(happened: false, by: "b", reason: "r"),
            .resolved(happened: true, by: "b"),
            .resolved(happened: false, by: "b"), .started(Fact.Start()),
        ]
        for failure in failures {
            kinds += [
                .aborting(failure), .noted(failure), .failed(failure), .stepFailed(failure, isUnknown: true),
                .stepFailed(failure, isUnknown: false), .tryFailed(failure, happened: .no, next: time),
                .tryFailed(failure, happened: .unknown, next: time),
                .postponed(failure, happened: .no, next: time), .postponed(failure, happened: .unknown, next: time),
            ]
        }
        for reason in [Trouble.Reason.compensation, .forward, .pivot, .timeout, .abandoned] {
            kinds.append(.stuck(Trouble(reason, detail: "d", interrupted: .compensating)))
            kinds.append(.stuck(Trouble(reason, interrupted: .running)))
        }
        for phase in [
            Effort.Phase.trying(until: time), .timer(until: time), .signal(name: "s", until: nil),
            .signal(name: "s", until: time), .child,
        ] {
            var start = Fact.Start()
            start.phase = phase
            start.input = ["x": 1]
            start.deadline = time
            start.compensates = true
            kinds.append(.started(start))
        }
        var start = Fact.Start()
        start.choice = 0
        kinds.append(.started(start))
        start.request = .sql
        kinds.append(.started(start))
        return kinds
    }

    @Test func everyFactIsReadAsItWasWritten() {
        for kind in Self.kinds {
            let isOfStep = Self.isOfStep(kind)
            let fact = Fact(
                at: Self.time, step: isOfStep ? StepPath("a[1].b") : nil, op: isOfStep ? .compensate : nil,
                attempt: isOfStep ? 3 : nil, kind)
            #expect(fact.readAgain == fact)
        }
    }

    @Test func requestIsReadAsItWasWritten() throws {
        var bare = HTTPCall(method: .get, url: URLTemplate(template("/x"), isPath: true))
        bare.endpoint = "payments"
        var full = HTTPCall(method: .post, url: url("http://h/x"))
        full.headers = [HTTPCall.Header(name: "A", value: template("b"))]
        full.body = .literal([1])
        full.isAsync = true
        for call in [bare, full] {
            var saga = SagaRun(Step(id: "a", action: .call(.http(call))))
            _ = saga.begin()
            let start = try #require(saga.facts.first { $0.event == "started" })
            #expect(start.readAgain == start)
            guard case .started(let start) = start.readAgain.kind, case .http(let request)? = start.request else {
                Issue.record("no request")
                return
            }
            #expect(request.method == call.method.rawValue)
            #expect(request.endpoint == call.endpoint)
            #expect(request.headers == call.headers.map { "\($0.name): b" })
            #expect(request.hasBody == (call.body != nil))
            #expect(request.isAsync == call.isAsync)
        }
    }

    @Test func stuckStepIsReadFromItsRow() {
        let trouble = Trouble(.compensation, step: StepPath("a"), op: .compensate, interrupted: .compensating)
        let fact = Fact(at: Self.time, step: StepPath("a"), op: .compensate, .stuck(trouble))
        #expect(fact.readAgain == fact)
    }

    @Test func whatOthersWroteIsNoFact() {
        #expect(
            Fact(at: Self.time, event: "archived", step: nil, op: nil, attempt: nil, detail: .null) == nil)
        #expect(Fact(at: Self.time, event: "sent", step: "a", op: "action", attempt: 1, detail: [:]) == nil)
    }

    private static func isOfStep(_ kind: Fact.Kind) -> Bool {
        switch kind {
        case .begun, .aborting, .noted, .compensating, .completed, .compensated, .failed, .stuck, .terminated,
            .suspended, .resumed, .signalled, .refused, .hookFailed:
            false
        case .started, .sent, .tryFailed, .postponed, .ongoing, .accepted, .heartbeat, .lost, .received, .succeeded,
            .stepFailed,
            .skipped, .late, .retried, .resolved:
            true
        }
    }

    @Test func pathsNameTheirStepAndTheirLoops() {
        let path = StepPath("rows[3].p.b0.cells[11].a")
        #expect(path.stepID == "a")
        #expect(path.loop == "rows[3].p.b0.cells[11]")
        #expect(path.iterations.map(\.loop.text) == ["rows", "rows[3].p.b0.cells"])
        #expect(path.iterations.map(\.index) == [3, 11])
        #expect(StepPath("a").stepID == "a")
        #expect(StepPath("a").loop == "")
        #expect(StepPath("a").child("b").iteration(2).child("c").text == "a.b[2].c")
    }
}
