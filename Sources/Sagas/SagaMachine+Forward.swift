import Delivery
import Expressions
import Primitives

/// Going forward: the steps are walked from the first one on after every event, and whatever can begin begins. Where the
/// walk ends is decided by nothing but the state, so that it is the same after a crash.
extension SagaMachine {
    private enum Progress {
        case busy
        /// With the output of the last step.
        case ended(JSON)
        /// By this step.
        case failed(StepPath)
    }

    mutating func goForward() {
        guard !isEnding else { return }
        switch walk(program.definition.steps, in: nil) {
        case .busy:
            // Nothing comes of it as long as the pivot is under way.
            if let noted = state.noted { abort(noted) }
        case .failed(let path): giveUp(at: path)
        case .ended:
            // What stands in the way of the last step's walk may have changed the status.
            guard state.status == .running else { return }
            let output = program.definition.output
            evaluate(output?.expressions ?? [], scope: scope(), for: .ending)
        }
    }

    private mutating func walk(_ steps: [Step], in container: StepPath?) -> Progress {
        var last = JSON.null
        for step in steps {
            let path = container?.child(step.id) ?? StepPath(step.id)
            if state.steps[path] == nil { prepare(step, path) }
            guard state.status == .running else { return .busy }
            if state.steps[path]?.status == .running, !step.action.children.isEmpty, !isEvaluating(path) {
                switch walkInside(step, path) {
                case .busy: return .busy
                case .failed(let inner): return .failed(inner)
                case .ended(let output): finish(path, output)
                }
            }
            if case .received(let payload)? = state.steps[path]?.action.phase, !isEvaluating(path) {
                conclude(path, payload)
            }
            takeSignal(path)
            guard let ended = state.steps[path] else { return .busy }
            switch ended.status {
            case .pending, .running, .waiting: return .busy
            case .failed, .unknown: return .failed(path)
            case .succeeded, .skipped: last = ended.output
            }
        }
        return .ended(last)
    }

    private mutating func walkInside(_ step: Step, _ path: StepPath) -> Progress {
        switch step.action {
        case .parallel(let parallel): walkBranches(parallel, path)
        case .foreach(let loop): walkIterations(loop, path)
        case .choose(let choice):
            if let index = state.steps[path]?.choice {
                walk(choice.cases[index].steps, in: path)
            } else {
                .ended(.null)
            }
        case .call, .publish, .wait, .await, .approve, .run, .set, .fail:
            preconditionFailure("\(path) contains no steps")
        }
    }

    private mutating func walkBranches(_ parallel: Parallel, _ path: StepPath) -> Progress {
        if let inner = failure(inside: path, .parallel(parallel)) { return .failed(inner) }
        var outputs: [(name: String, value: JSON)] = []
        var isBusy = false
        var failed: StepPath?
        for branch in parallel.branches {
            switch walk(branch.steps, in: path.child(branch.id)) {
            case .busy: isBusy = true
            case .ended(let output): outputs.append((branch.id, output))
            case .failed(let inner):
                if parallel.onError == .abort { return .failed(inner) }
                failed = failed ?? inner
            }
        }
        if isBusy { return .busy }
        return failed.map(Progress.failed) ?? .ended(.object(JSONObject(outputs)))
    }

    /// A failure that has come already: nothing begins any more beside it.
    private func failure(inside path: StepPath, _ action: Action) -> StepPath? {
        guard !state.failedSteps.isEmpty, case .failed(let inner) = progress(inside: path, action) else { return nil }
        return inner
    }

    private mutating func walkIterations(_ loop: Foreach, _ path: StepPath) -> Progress {
        let count = state.steps[path]?.action.input.array?.count ?? 0
        if let inner = failure(inside: path, .foreach(loop)) { return .failed(inner) }
        var busy = 0
        for index in (endedIterations[path]?.count ?? 0)..<count {
            switch walk(loop.steps, in: path.iteration(index)) {
            case .busy:
                busy += 1
                if busy == loop.limit { return .busy }
            case .failed(let inner): return .failed(inner)
            case .ended(let output): if busy == 0 { endedIterations[path, default: []].append(output) }
            }
        }
        return busy > 0 ? .busy : .ended(.array(endedIterations[path] ?? []))
    }

    // MARK: - Looking, beginning nothing

    private func progress(of steps: [Step], in container: StepPath?) -> Progress {
        for step in steps {
            let path = container?.child(step.id) ?? StepPath(step.id)
            switch state.steps[path]?.status {
            case nil, .pending, .waiting: return .busy
            case .failed, .unknown: return .failed(path)
            case .succeeded, .skipped: break
            case .running:
                if case .failed(let inner) = progress(inside: path, step.action) { return .failed(inner) }
                return .busy
            }
        }
        return .ended(.null)
    }

    private func progress(inside path: StepPath, _ action: Action) -> Progress {
        let parts: [Progress]
        var waitsForAll = false
        switch action {
        case .parallel(let parallel):
            parts = parallel.branches.map { progress(of: $0.steps, in: path.child($0.id)) }
            waitsForAll = parallel.onError == .wait
        case .foreach(let loop):
            let count = state.steps[path]?.action.input.array?.count ?? 0
            parts = (0..<count).map { progress(of: loop.steps, in: path.iteration($0)) }
        case .choose(let choice):
            parts = state.steps[path]?.choice.map { [progress(of: choice.cases[$0].steps, in: path)] } ?? []
        case .call, .publish, .wait, .await, .approve, .run, .set, .fail: return .busy
        }
        let isBusy = parts.contains { if case .busy = $0 { true } else { false } }
        if isBusy, waitsForAll { return .busy }
        return parts.first { if case .failed = $0 { true } else { false } } ?? (isBusy ? .busy : .ended(.null))
    }

    // MARK: - Failing

    /// An ended step that did not succeed stands in the way.
    private mutating func giveUp(at path: StepPath) {
        guard let failed = state.steps[path] else { return }
        let failure = (failed.error ?? Failure(type: "failed")).at(path)
        if state.hasPivoted {
            getStuck(Trouble(.forward, step: path, detail: failure.said ?? failure.type, interrupted: .running))
        } else if program.step(path)?.isPivot == true, failed.status == .unknown {
            getStuck(Trouble(.pivot, step: path, detail: failure.said ?? failure.type, interrupted: .running))
        } else {
            abort(state.noted ?? failure)
        }
    }

    // MARK: - Ending the saga

    mutating func end(_ result: Result<[JSON], ExpressionError>) {
        guard state.status == .running else { return }
        do throws(ExpressionError) {
            let template = program.definition.output
            let values = Bindings(template?.expressions ?? [], try result.get())
            let output = try template?.resolve(values.value) ?? .null
            record(.completed(output: output))
            leave(.completed)
        } catch {
            let failure = Failure(error)
            if state.hasPivoted {
                getStuck(Trouble(.forward, detail: "output: \(failure.detail ?? "")", interrupted: .running))
            } else {
                abort(failure)
            }
        }
    }

    /// Tells whoever wants to know that the saga has ended.
    mutating func leave(_ hook: SagaDefinition.Hook) {
        effects.append(
            .tellParent(
                SagaEvent.ChildOutcome(status: state.status, output: state.output, failure: state.failure)))
        announce(hook)
    }

    mutating func announce(_ hook: SagaDefinition.Hook) {
        guard let publication = program.definition.hooks[hook] else { return }
        evaluate(
            publication.expressions, scope: scope(nil, [("failure", state.failureJSON)]), for: .hook(hook))
    }

    mutating func publish(_ hook: SagaDefinition.Hook, _ result: Result<[JSON], ExpressionError>) {
        guard let publication = program.definition.hooks[hook] else { return }
        do throws(ExpressionError) {
            let values = Bindings(publication.expressions, try result.get())
            let message = try publication.message(.hook(hook), values)
            if let failure = refusedMessages.removeValue(forKey: message.origin) {
                return record(.hookFailed(hook: "on_\(hook.rawValue)", error: failure.said ?? failure.type))
            }
            effects.append(.publish(message))
        } catch {
            record(.hookFailed(hook: "on_\(hook.rawValue)", error: "\(error)"))
        }
    }

    mutating func getStuck(_ trouble: Trouble) {
        let effort = trouble.step.flatMap { state.effort($0, trouble.op) }
        dropForwardEvaluations()
        record(.stuck(trouble), trouble.step, trouble.op)
        effects.append(
            .bury(
                Effect.Letter(
                    step: trouble.step, op: trouble.op, reason: trouble.reason.rawValue, detail: trouble.detail,
                    attempts: effort?.attempts ?? 0, input: effort?.input ?? .null)))
        announce(.stuck)
    }
}
