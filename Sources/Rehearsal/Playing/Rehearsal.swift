import Delivery
package import Expressions
package import Primitives
import Sagas

/// Plays one scenario: the engine's own machine of the saga, with handlers that reply what the scenario says, in virtual
/// time. Nothing is sent and nothing is waited for; of the machine's surroundings this stands in for the store, the clock,
/// the handlers and the workers that may die.
///
///     agenda: what is due next ─▶ machine.handle ─▶ effects: facts are kept, calls are replied to ─▶ agenda
package struct Rehearsal {
    /// Of every saga that is rehearsed.
    package static let sagaID = UUID(high: 0x0000_0000_0000_7000, low: 0x8000_0000_0000_0001)
    /// Whoever acts from outside, as the history names them.
    package static let actor = "test"
    /// A scenario comes to rest within so many events.
    package static let eventLimit = 10_000

    private let scenario: Scenario
    private let evaluator: Evaluator
    private let head: SagaHead
    private var machine: SagaMachine
    private var random = SeededGenerator()
    private var prompter: Prompter
    private var agenda = Agenda()
    private var history: [Fact] = []
    private var performance = Performance()
    private var now: Timestamp
    /// No worker has the saga; what comes meanwhile waits for the next one.
    private var isDown = false
    private var mailbox: [Agenda.Item] = []
    /// The machine asked for a tick and did nothing with it.
    private var isIdle = false
    private var eventCount = 0

    /// Plays it to the end: until nothing is left that could happen.
    package static func play(_ scenario: Scenario, evaluator: Evaluator) async -> Performance {
        do throws(Breakdown) {
            var rehearsal = try Rehearsal(scenario, evaluator)
            return await rehearsal.play()
        } catch {
            var performance = Performance()
            performance.breakdown = error.reason
            return performance
        }
    }

    private init(_ scenario: Scenario, _ evaluator: Evaluator) throws(Breakdown) {
        self.scenario = scenario
        self.evaluator = evaluator
        head = SagaHead(
            id: Self.sagaID, key: try scenario.businessKey, input: scenario.input, startedAt: scenario.startedAt)
        machine = SagaMachine(scenario.program, head)
        prompter = Prompter(scenario)
        now = scenario.startedAt
    }

    private mutating func play() async -> Performance {
        for occurrence in scenario.occurrences {
            agenda.add(occurrence.item, at: scenario.startedAt + occurrence.at)
        }
        do throws(Breakdown) {
            try await handle(.begin)
            while let due = nextDue {
                eventCount += 1
                guard eventCount <= Self.eventLimit else {
                    throw Breakdown(
                        "the saga did not come to rest within \(Self.eventLimit) events; does it retry for ever?")
                }
                now = max(now, due.time)
                if due.isTick {
                    let before = performance.timeline.count
                    try await handle(.tick)
                    isIdle = performance.timeline.count == before
                } else {
                    try await take(agenda.removeFirst().item)
                }
            }
            performance.leftOver = prompter.leftOver
        } catch {
            performance.breakdown = error.reason
        }
        performance.state = machine.state
        performance.duration = (machine.state.status.isResting ? lastChange : nil) ?? now - scenario.startedAt
        return performance
    }

    // MARK: - Time

    /// Of things at the same time what was arranged comes before what the machine waits for: an answer in the last moment
    /// is in time.
    private var nextDue: (time: Timestamp, isTick: Bool)? {
        var tick = isDown ? nil : machine.nextDue
        // The machine cannot do anything about it yet.
        if isIdle, let time = tick { tick = max(time, now + .seconds(1)) }
        switch (agenda.nextTime, tick) {
        case (nil, nil): return nil
        case (let item?, nil): return (item, false)
        case (nil, let tick?): return (tick, true)
        case (let item?, let tick?): return item <= tick ? (item, false) : (tick, true)
        }
    }

    private mutating func take(_ item: Agenda.Item) async throws(Breakdown) {
        switch item {
        case .crash(let downtime): crash(downtime)
        case .takeover: try await takeOver()
        case .event, .childEnd:
            guard !isDown else { return mailbox.append(item) }
            switch item {
            case .event(let event): try await handle(event)
            case .childEnd(let step, let outcome): try await handle(.childEnded(step, outcome))
            case .crash, .takeover: break
            }
        }
    }

    // MARK: - Workers

    private mutating func crash(_ downtime: Duration) {
        guard !isDown else { return }
        note("crashed", "the worker died")
        agenda.removeAnswers()
        isDown = true
        agenda.add(.takeover, at: now + downtime)
    }

    /// The next worker has nothing but the history, as it was written.
    private mutating func takeOver() async throws(Breakdown) {
        isDown = false
        note("recovered", "another worker took the saga up")
        machine = SagaMachine(scenario.program, head, history: history.compactMap(\.readAgain))
        try await handle(.recovered)
        let waiting = mailbox
        mailbox = []
        for item in waiting { try await take(item) }
    }

    // MARK: - The machine

    private mutating func handle(_ event: SagaEvent) async throws(Breakdown) {
        isIdle = false
        var effects = machine.handle(event, at: now, random: &random)[...]
        var requests: [Effect] = []
        while let effect = effects.popFirst() {
            switch effect {
            case .evaluate(let evaluation):
                let result = try await values(of: evaluation)
                effects += machine.handle(.evaluated(id: evaluation.id, result), at: now, random: &random)
            case .call, .query: requests.append(effect)
            case .record, .publish, .startChild, .tellChild, .tellParent, .bury, .settleLetters: try carryOut(effect)
            }
        }
        // As after the commit.
        for request in requests { try carryOut(request) }
    }

    private func values(of evaluation: Effect.Evaluation) async throws(Breakdown) -> Result<
        [JSON], ExpressionError
    > {
        var results: [Result<JSON, ExpressionError>] = []
        for expression in evaluation.expressions {
            do throws(ExpressionError) {
                results.append(.success(try await evaluator.evaluate(expression, input: evaluation.scope)))
            } catch {
                if case .unexposed(let variable) = error {
                    throw Breakdown(
                        "the saga reads $env.\(variable), which has no value; expected env: { \(variable): … } in the file"
                    )
                }
                results.append(.failure(error))
            }
        }
        return Result { () throws(ExpressionError) in
            var values: [JSON] = []
            for result in results { values.append(try result.get()) }
            return values
        }
    }

    private mutating func carryOut(_ effect: Effect) throws(Breakdown) {
        switch effect {
        case .record(let fact):
            history.append(fact)
            performance.timeline.append(Performance.Entry(fact, since: scenario.startedAt))
        case .evaluate: preconditionFailure("evaluations are answered before")
        case .call(let call): try carryOut(call)
        case .query(let query): try carryOut(query)
        case .publish(let message):
            performance.messages.append(Performance.Message(at: elapsed, content: message))
            note("published", "\(message.topic) \(message.payload.text)", message.origin.operation)
        case .startChild(let step, let saga, let input, let key):
            log(Operation(step), attempt: 1, .start(saga: saga, input: input, key: key))
            try arrangeEnd(of: step, .action)
        case .tellChild(let step, let act): try tell(step, act)
        // A rehearsed saga is nobody's sub-saga, and dead letters are seen in the history.
        case .tellParent, .bury, .settleLetters: break
        }
    }

    // MARK: - Handlers

    private mutating func carryOut(_ call: Effect.CallEffect) throws(Breakdown) {
        guard isWanted(call.step, call.op, send: call.send) else { return }
        let operation = Operation(call.step, call.op)
        log(operation, attempt: call.attempt, .http(call.request, body: call.body))
        let reply = try prompter.reply(to: operation, fallback: .status(200))
        if call.request.isAsync {
            for callback in reply.callbacks {
                agenda.add(
                    .event(.calledBack(call.step, call.op, send: call.send, callback.content)), at: now + callback.after
                )
            }
        }
        guard reply.outcome != .crash else { return agenda.add(.crash(downtime: .zero), at: now + reply.after) }
        let (after, result) = reply.answer(
            within: call.timeout, isAsync: call.request.isAsync, policy: machine.policy(call.step, call.op))
        agenda.add(.event(.answered(call.step, call.op, send: call.send, result)), at: now + after)
    }

    private mutating func carryOut(_ query: Effect.QueryEffect) throws(Breakdown) {
        guard isWanted(query.step, query.op, send: query.send) else { return }
        let operation = Operation(query.step, query.op)
        let attempt = machine.state.effort(query.step, query.op)?.attempts ?? 1
        log(operation, attempt: attempt, .sql(statement: query.statement, arguments: query.arguments))
        let reply = try prompter.reply(to: operation, fallback: Reply(.result(.null)))
        guard reply.outcome != .crash else { return agenda.add(.crash(downtime: .zero), at: now + reply.after) }
        let (after, result) = reply.result(within: query.timeout, policy: machine.policy(query.step, query.op))
        agenda.add(.event(.answered(query.step, query.op, send: query.send, result)), at: now + after)
    }

    /// What was decided after a request was asked for may speak against it; it is not sent then.
    private mutating func isWanted(_ step: StepPath, _ op: Op, send: Int) -> Bool {
        if machine.isWanted(step, op, send: send) { return true }
        let error = TryError(type: "aborted", message: "it was not sent: the saga aborts")
        agenda.add(
            .event(.answered(step, op, send: send, .failed(error, happened: .no, retryAfter: nil))), at: now)
        return false
    }

    // MARK: - Sub-sagas

    private mutating func arrangeEnd(of step: StepPath, _ op: Op) throws(Breakdown) {
        let status: SagaState.Status = op == .action ? .completed : .compensated
        let reply = try prompter.reply(
            to: Operation(step, op), fallback: Reply(.ended(SagaEvent.ChildOutcome(status: status))))
        switch reply.outcome {
        case .ended(let outcome): agenda.add(.childEnd(step, outcome), at: now + reply.after)
        case .never: break
        case .answer, .result, .sqlError, .timeout, .lost, .refused, .crash:
            preconditionFailure("\(reply.outcome) ends no sub-saga")
        }
    }

    private mutating func tell(_ step: StepPath, _ act: SagaEvent.Act) throws(Breakdown) {
        switch act {
        case .undo:
            log(Operation(step, .compensate), attempt: 1, .undo)
            try arrangeEnd(of: step, .compensate)
        case .cancel(let reason):
            note("told", "the sub-saga: cancel, \(reason)", Operation(step))
            agenda.removeChildEnd(step)
            agenda.add(
                .childEnd(
                    step,
                    SagaEvent.ChildOutcome(
                        status: .compensated, failure: Failure(type: "cancelled", detail: reason))), at: now)
        case .terminate, .suspend, .resume, .retry, .skip, .resolve:
            note("told", "the sub-saga: \(act.name)", Operation(step))
        }
    }

    // MARK: - The record

    private var elapsed: Duration { now - scenario.startedAt }

    private mutating func log(_ operation: Operation, attempt: Int, _ content: Performance.Call.Content) {
        performance.calls.append(
            Performance.Call(at: elapsed, operation: operation, attempt: attempt, content: content))
    }

    private mutating func note(_ event: String, _ detail: String, _ operation: Operation? = nil) {
        performance.timeline.append(
            Performance.Entry(at: elapsed, event: event, operation: operation, detail: detail))
    }

    /// When the saga came to its end or got stuck.
    private var lastChange: Duration? {
        history.last { $0.endsOrHalts }.map { $0.at - scenario.startedAt }
    }
}

extension Scenario {
    /// As `start_saga` takes it: what is given, or what the definition makes of the input.
    fileprivate var businessKey: String? {
        get throws(Breakdown) {
            if let key { return key }
            guard let template = program.definition.key, template.isPlain else { return nil }
            do throws(ExpressionError) {
                return try template.resolve(in: ["input": input], environment: environment)
            } catch {
                throw Breakdown("the saga's key '\(template.source)' cannot be made of the input: \(error)")
            }
        }
    }
}

extension Occurrence {
    fileprivate var item: Agenda.Item {
        switch kind {
        case .signal(let event, let payload):
            .event(.signalled(event: event, payload: payload, by: Rehearsal.actor))
        case .act(let act): .event(.asked(act, by: Rehearsal.actor))
        case .crash(let downtime): .crash(downtime: downtime)
        }
    }
}

extension Fact {
    /// As it comes back from the store; nil for what only people read.
    fileprivate var readAgain: Fact? {
        Fact(
            at: at, event: event, step: step?.text, op: op?.rawValue, attempt: attempt,
            detail: (try? JSON(parsing: Array(detail.jsonbText.utf8))) ?? .null)
    }

    fileprivate var endsOrHalts: Bool {
        switch kind {
        case .completed, .compensated, .failed, .stuck, .terminated: true
        case .begun, .aborting, .noted, .compensating, .suspended, .resumed, .signalled, .refused, .hookFailed,
            .started, .sent, .tryFailed, .postponed, .ongoing, .accepted, .heartbeat, .lost, .received, .succeeded,
            .stepFailed,
            .skipped, .late, .retried, .resolved:
            false
        }
    }
}

extension SagaState.Status {
    fileprivate var isResting: Bool { hasEnded || self == .stuck }
}

extension Effect.Message.Origin {
    fileprivate var operation: Operation? {
        if case .step(let step, let op) = self { Operation(step, op) } else { nil }
    }
}
