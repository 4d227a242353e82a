import Delivery
import Expressions
import Plans
import Primitives
import Sagas
import Testing

/// What a plan promises is what the machine does.
struct MachineTests {
    /// Each step, with each of the two ways to fail: cleanly, and so that it may have happened.
    static let failures =
        [
            "first", "bare", "checked", "left_1", "left_2", "right_1", "yes_1", "no_1", "no_2", "bare_2", "one", "two",
            "many_1", "many_2", "sub", "sure", "gift", "last",
        ].flatMap { [($0, false), ($0, true)] } + [("told", false), ("entered", false)]

    @Test(arguments: failures, Parallel.OnError.allCases)
    func undoesWhatThePlanSays(failure: (step: String, isUnknown: Bool), onError: Parallel.OnError) throws {
        let (step, isUnknown) = failure
        let saga = try sample(onError)
        var run = Run(saga, failing: step, isUnknown: isUnknown)
        run.go()
        #expect([.compensated, .failed].contains(run.machine.state.status), "\(run.machine.state.status)")
        let point = try #require(SagaPlan(saga).failures.first { $0.place == .step(step) })
        let isExpected = matches(run.undone[...], point.undone, mayHaveHappened: isUnknown)
        #expect(isExpected, "\(point.words); the machine undid \(run.undone.map(\.text))")
    }

    @Test func nothingIsUndoneBehindThePivot() throws {
        var pivot = try step("pivot")
        pivot.isPivot = true
        let saga = Samples.saga([try step("first"), pivot, try step("last", undone: false)])
        var run = Run(saga, failing: "last", isUnknown: true)
        run.go()
        #expect(run.machine.state.status == .stuck)
        #expect(run.undone.isEmpty)
        #expect(SagaPlan(saga).failures.last?.outcome == .stuck(behind: ["pivot"]))
    }

    @Test(arguments: [false, true])
    func aPivotIsUndoneOrStuck(isUnknown: Bool) throws {
        var pivot = try step("pivot", undone: false)
        pivot.isPivot = true
        let saga = Samples.saga([try step("first"), pivot])
        var run = Run(saga, failing: "pivot", isUnknown: isUnknown)
        run.go()
        #expect(run.machine.state.status == (isUnknown ? .stuck : .compensated))
        #expect(run.undone.map(\.text) == (isUnknown ? [] : ["first"]))
        let point = try #require(SagaPlan(saga).failures.last)
        #expect(point.outcome == .undoneUnlessUnknown)
        #expect(point.undone == [.step("first", .always)])
    }

    // MARK: - The saga

    private func step(_ id: String, undone: Bool = true) throws -> Step {
        var step = try Samples.call(.post, "https://a.example/\(id)", id: id)
        step.retry.attempts = .limited(1)
        if undone { step.compensation = try Samples.compensation(.delete, "https://a.example/\(id)") }
        return step
    }

    private func sample(_ onError: Parallel.OnError) throws -> SagaDefinition {
        var checked = try step("checked")
        checked.compensation?.when = .started
        var skipped = try step("skipped")
        skipped.condition = try Expression(".input.no")
        let choice = Step(
            id: "choice",
            action: .choose(
                Switch(cases: [
                    Switch.Case(condition: try Expression(".input.yes"), steps: [try step("yes_1")]),
                    Switch.Case(condition: nil, steps: [try step("no_1"), try step("no_2")]),
                ])))
        var together = Parallel(branches: [
            Parallel.Branch(id: "left", steps: [try step("left_1"), skipped, try step("left_2")]),
            Parallel.Branch(id: "right", steps: [try step("right_1"), choice]),
            Parallel.Branch(id: "bare_branch", steps: [try step("bare_2", undone: false)]),
        ])
        together.onError = onError
        let inner = Step(
            id: "inner",
            action: .foreach(Foreach(items: try Expression(".input.items"), name: "part", steps: [try step("two")])))
        let outer = Step(
            id: "outer",
            action: .foreach(
                Foreach(items: try Expression(".input.items"), name: "item", steps: [try step("one"), inner])))
        var several = Foreach(
            items: try Expression(".input.items"), name: "piece", steps: [try step("many_1"), try step("many_2")])
        several.limit = 2
        let sub = Step(id: "sub", action: .run(Sagas.Run(saga: "other", input: .literal([:]))))
        var told = Step(id: "told", action: .publish(Publication(topic: "told", payload: .literal([:]))))
        told.compensation = Compensation(action: .publish(Publication(topic: "untold", payload: .literal([:]))))
        var entered = Step(id: "entered", action: .call(.sql(SQLCall(statement: "select 1", arguments: []))))
        entered.compensation = Compensation(action: .call(.sql(SQLCall(statement: "select 2", arguments: []))))
        entered.retry.attempts = .limited(1)
        var sure = try step("sure")
        sure.condition = try Expression(".input.yes")
        var gift = Step(
            id: "gifts",
            action: .choose(
                Switch(cases: [Switch.Case(condition: try Expression(".input.yes"), steps: [try step("gift")])])))
        gift.compensation = try Samples.compensation(.delete, "https://a.example/gifts")
        return Samples.saga([
            try step("first"), try step("bare", undone: false), checked,
            Step(id: "together", action: .parallel(together)), outer, Step(id: "several", action: .foreach(several)),
            sub, told, entered, sure, gift, try step("last"),
        ])
    }

    // MARK: - Comparing

    /// Whether paths that were undone, in this order, are what is promised.
    private func matches(_ undone: ArraySlice<StepPath>, _ promise: [Undo], mayHaveHappened: Bool) -> Bool {
        var rest = undone
        for undo in promise {
            switch undo {
            case .step(_, .mayHaveHappened) where !mayHaveHappened: break
            case .step(let id, let proviso):
                if rest.first?.stepID == id {
                    rest.removeFirst()
                } else if proviso == .always || proviso == .mayHaveHappened {
                    return false
                }
            case .group(let group):
                let ids = Set(group.lanes.flatMap { self.ids($0.undone) })
                let part = rest.prefix { ids.contains($0.stepID) }
                rest = rest.dropFirst(part.count)
                guard matches(Array(part), group, mayHaveHappened: mayHaveHappened) else { return false }
            }
        }
        return rest.isEmpty
    }

    private func matches(_ undone: [StepPath], _ group: Undo.Group, mayHaveHappened: Bool) -> Bool {
        if undone.isEmpty, group.proviso != .always { return true }
        switch group.order {
        case .chosen:
            return group.lanes.contains { matches(undone[...], $0.undone, mayHaveHappened: mayHaveHappened) }
        case .interleaved:
            return group.lanes.allSatisfy { lane in
                let ids = Set(ids(lane.undone))
                return matches(
                    undone.filter { ids.contains($0.stepID) }[...], lane.undone, mayHaveHappened: mayHaveHappened)
            }
        case .iterations, .earlierIterations:
            var rest = undone[...]
            var last = Int.max
            while let first = rest.first {
                guard let index = iteration(first, of: group.container), index < last else { return false }
                last = index
                let part = rest.prefix { iteration($0, of: group.container) == index }
                rest = rest.dropFirst(part.count)
                if !matches(part, group.lanes[0].undone, mayHaveHappened: mayHaveHappened) { return false }
            }
            return true
        case .mixedIterations:
            let indices = Set(undone.compactMap { iteration($0, of: group.container) })
            return indices.allSatisfy { index in
                let part = undone.filter { iteration($0, of: group.container) == index }
                return group.lanes.contains { matches(part[...], $0.undone, mayHaveHappened: mayHaveHappened) }
            }
        }
    }

    private func iteration(_ path: StepPath, of loop: String) -> Int? {
        path.iterations.first { $0.loop.stepID == loop }?.index
    }

    private func ids(_ promise: [Undo]) -> [String] {
        promise.flatMap { undo in
            switch undo {
            case .step(let id, _): [id]
            case .group(let group): group.lanes.flatMap { ids($0.undone) }
            }
        }
    }
}

/// A machine with handlers that answer in turn; one step fails, in a loop with its second iteration.
private struct Run {
    var machine: SagaMachine
    private(set) var undone: [StepPath] = []
    private var events: [SagaEvent] = [.begin]
    private var effects: [Effect] = []
    private let failing: String
    private let isUnknown: Bool

    init(_ saga: SagaDefinition, failing: String, isUnknown: Bool) {
        let takesOther = failing.hasPrefix("no_")
        let head = SagaHead(
            id: UUID("8f3e2d1c-0000-4000-8000-000000000001")!, key: nil,
            input: ["yes": takesOther ? false : true, "no": false, "items": [1, 2, 3]],
            startedAt: Timestamp(microseconds: 0))
        machine = SagaMachine(SagaProgram(saga), head)
        // As when a topic is full.
        if failing == "told" { machine.refuse(.step(StepPath("told"), .action), Failure(type: "refused")) }
        self.failing = failing
        self.isUnknown = isUnknown
    }

    mutating func go() {
        var random = SystemRandomNumberGenerator()
        for step in 0..<10_000 {
            if events.isEmpty {
                guard !effects.isEmpty else { return }
                answer(effects.removeFirst())
            } else {
                effects += machine.handle(
                    events.removeFirst(), at: Timestamp(microseconds: Int64(step)), random: &random)
                // Evaluations are answered at once.
                effects = effects.filter { effect in
                    switch effect {
                    case .record(let fact):
                        if case .started = fact.kind, fact.op == .compensate, let path = fact.step {
                            undone.append(path)
                        }
                        return false
                    case .evaluate(let evaluation):
                        events.append(.evaluated(id: evaluation.id, evaluate(evaluation)))
                        return false
                    default: return true
                    }
                }
            }
        }
    }

    private func evaluate(_ evaluation: Effect.Evaluation) -> Result<[JSON], ExpressionError> {
        do throws(ExpressionError) {
            var values: [JSON] = []
            for expression in evaluation.expressions {
                guard let path = expression.path else { throw .failed(message: "\(expression) needs jq") }
                values.append(try path.resolve(in: evaluation.scope, environment: [:]))
            }
            return .success(values)
        } catch {
            return .failure(error)
        }
    }

    private func fails(_ path: StepPath, _ op: Op) -> Bool {
        op == .action && path.stepID == failing && (path.iterations.allSatisfy { $0.index == 1 })
    }

    private mutating func answer(_ effect: Effect) {
        switch effect {
        case .call(let call): events.append(.answered(call.step, call.op, send: call.send, result(call.step, call.op)))
        case .query(let query):
            events.append(.answered(query.step, query.op, send: query.send, result(query.step, query.op)))
        case .startChild(let path, _, _, _):
            let status: SagaState.Status = fails(path, .action) ? (isUnknown ? .terminated : .failed) : .completed
            events.append(.childEnded(path, SagaEvent.ChildOutcome(status: status)))
        case .tellChild(let path, _): events.append(.childEnded(path, SagaEvent.ChildOutcome(status: .compensated)))
        case .record, .evaluate, .publish, .tellParent, .bury, .settleLetters: break
        }
    }

    private func result(_ path: StepPath, _ op: Op) -> SagaEvent.TryResult {
        guard fails(path, op) else { return .succeeded(.null) }
        let error = TryError(message: "no")
        return isUnknown ? .failed(error, happened: .unknown, retryAfter: nil) : .refused(error, isUnknown: false)
    }
}
