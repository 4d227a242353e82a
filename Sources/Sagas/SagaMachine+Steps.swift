import Delivery
import Expressions
import Primitives

/// How each kind of step begins and ends.
extension SagaMachine {
    // MARK: - Beginning a step

    mutating func prepare(_ step: Step, _ path: StepPath) {
        guard !isEvaluating(path) else { return }
        guard let condition = step.condition else { return begin(step, path) }
        evaluate([condition], scope: scope(for: path), for: .condition(path))
    }

    private mutating func begin(_ step: Step, _ path: StepPath) {
        if case .choose(let choice) = step.action { return consider(0, of: choice, path) }
        evaluate(step.action.expressions, scope: scope(for: path), for: .start(path))
    }

    mutating func decideCondition(_ path: StepPath, _ result: Result<[JSON], ExpressionError>) {
        switch result {
        case .failure(let error): failExpression(path, error)
        case .success(let values) where values[0].isTrue:
            if let step = program.step(path) { begin(step, path) }
        case .success:
            record(.skipped(reason: "its condition is false", output: .null, by: nil), path, .action)
        }
    }

    private mutating func consider(_ index: Int, of choice: Switch, _ path: StepPath) {
        guard index < choice.cases.count else { return choose(nil, path) }
        guard let condition = choice.cases[index].condition else { return choose(index, path) }
        evaluate([condition], scope: scope(for: path), for: .choice(path, index))
    }

    mutating func decideChoice(_ path: StepPath, _ index: Int, _ result: Result<[JSON], ExpressionError>) {
        guard case .choose(let choice)? = program.step(path)?.action else { return }
        switch result {
        case .failure(let error): failExpression(path, error)
        case .success(let values) where values[0].isTrue: choose(index, path)
        case .success: consider(index + 1, of: choice, path)
        }
    }

    private mutating func choose(_ index: Int?, _ path: StepPath) {
        var start = Fact.Start()
        start.choice = index
        start.deadline = deadline(of: path)
        record(.started(start), path, .action)
    }

    private func deadline(of path: StepPath) -> Timestamp? { program.step(path)?.deadline.map { now.adding($0) } }

    mutating func failExpression(_ path: StepPath, _ error: ExpressionError) {
        record(.stepFailed(Failure(error).at(path), isUnknown: false), path, .action)
    }

    mutating func start(_ path: StepPath, _ result: Result<[JSON], ExpressionError>) {
        guard let step = program.step(path) else { return }
        do throws(ExpressionError) {
            try start(step, path, Bindings(step.action.expressions, try result.get()))
        } catch {
            failExpression(path, error)
        }
    }

    private mutating func start(_ step: Step, _ path: StepPath, _ values: Bindings) throws(ExpressionError) {
        var start = Fact.Start()
        start.compensates = step.compensation != nil
        start.deadline = deadline(of: path)
        switch step.action {
        case .call(let call):
            start.input = try call.input(values)
            start.request = try call.request(values)
            send(start, path, .action)
        case .publish(let publication):
            let message = try publication.message(.step(path, .action), values)
            record(.started(start), path, .action)
            if let failure = refusedMessages.removeValue(forKey: message.origin) {
                return record(.stepFailed(failure.at(path), isUnknown: false), path, .action)
            }
            effects.append(.publish(message))
            finish(path, .null)
        case .parallel: record(.started(start), path, .action)
        case .foreach(let loop):
            let items = try values(loop.items)
            guard let count = items.array?.count else {
                throw .failed(message: "\(loop.items) is \(items.kind); expected an array")
            }
            guard count <= Foreach.mostItems else {
                throw .failed(message: "\(loop.items) has \(count) items; expected at most \(Foreach.mostItems)")
            }
            start.input = items
            record(.started(start), path, .action)
        case .choose: preconditionFailure("a switch chooses first")
        case .wait(let wait):
            start.phase = .timer(until: try wait.end(from: now, values))
            record(.started(start), path, .action)
        case .await(let waiting):
            start.phase = .signal(name: waiting.event, until: waiting.timeout.map { now.adding($0) })
            record(.started(start), path, .action)
        case .approve(let approval):
            start.input = ["prompt": .string(try approval.prompt.text(values.value))]
            start.phase = .signal(name: step.id, until: approval.timeout.map { now.adding($0) })
            record(.started(start), path, .action)
        case .run(let run):
            start.input = try run.input.resolve(values.value)
            start.phase = .child
            let key = try run.key.map { (template) throws(ExpressionError) in try template.text(values.value) }
            start.compensates = true
            record(.started(start), path, .action)
            if let failure = refusedMessages.removeValue(forKey: .step(path, .action)) {
                return record(.stepFailed(failure.at(path), isUnknown: false), path, .action)
            }
            effects.append(.startChild(path, saga: run.saga, input: start.input, key: key))
        case .set(let value):
            let output = try value.resolve(values.value)
            record(.started(start), path, .action)
            finish(path, output)
        case .fail(let fail):
            let detail = try fail.detail.map { (template) throws(ExpressionError) in try template.text(values.value) }
            record(.started(start), path, .action)
            record(.stepFailed(Failure(step: path, type: fail.type, detail: detail), isUnknown: false), path, .action)
        }
    }

    // MARK: - Ending a step

    /// The step has done what it was to do; its output is reshaped, if the definition says so, and recorded.
    mutating func finish(_ path: StepPath, _ raw: JSON) {
        guard let output = program.step(path)?.output else { return record(.succeeded(output: raw), path, .action) }
        evaluate(output.expressions, scope: scope(for: path, [("output", raw)]), for: .output(path, raw: raw))
    }

    mutating func reshape(_ path: StepPath, _ raw: JSON, _ result: Result<[JSON], ExpressionError>) {
        guard let output = program.step(path)?.output else { return }
        do throws(ExpressionError) {
            let values = Bindings(output.expressions, try result.get())
            record(.succeeded(output: try output.resolve(values.value)), path, .action)
        } catch {
            // It has happened all the same.
            record(.stepFailed(Failure(error).at(path), isUnknown: true), path, .action)
        }
    }

    /// Gives a waiting step the signal that it waits for, if it has come.
    mutating func takeSignal(_ path: StepPath) {
        guard case .signal(let name, _)? = state.steps[path]?.action.phase,
            let payload = state.signals[name]?.first
        else { return }
        record(.received(event: name, payload: payload), path, .action)
        conclude(path, payload)
    }

    /// Ends a step by the signal that it has taken.
    mutating func conclude(_ path: StepPath, _ payload: JSON) {
        if case .approve? = program.step(path)?.action { decide(path, payload) } else { finish(path, payload) }
    }

    /// No payload approves; so do `true` and `{"approved": true}`.
    private mutating func decide(_ path: StepPath, _ payload: JSON) {
        let verdict = payload["approved"] ?? payload
        if verdict == true || payload.isNull { return finish(path, payload) }
        let reason = payload["reason"]?.string ?? payload["comment"]?.string
        record(.stepFailed(Failure(step: path, type: "rejected", detail: reason), isUnknown: false), path, .action)
    }
}

extension JSON {
    /// As in jq: everything but false and null.
    fileprivate var isTrue: Bool { !isNull && self != false }
}

extension Wait {
    fileprivate func end(from now: Timestamp, _ values: Bindings) throws(ExpressionError) -> Timestamp {
        switch self {
        case .duration(let duration): return now.adding(duration)
        case .until(let expression):
            let value = try values(expression)
            guard let time = value.string.flatMap({ Timestamp(rfc3339: $0) }) else {
                throw .failed(message: "\(expression) is \(value.text); expected a time such as 2026-01-31T08:00:00Z")
            }
            return min(max(time, .earliest), .latest)
        }
    }
}
