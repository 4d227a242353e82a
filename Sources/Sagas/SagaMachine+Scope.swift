import Primitives

/// What expressions see.
extension SagaMachine {
    /// `.input .steps .saga`, the items of the loops that the step is in, and more if given.
    func scope(for path: StepPath? = nil, _ more: [(name: String, value: JSON)] = []) -> JSON {
        scope(path, more) { _ in true }
    }

    /// Also `.output`, `.input_sent` and `.failure`; of `.steps` only those that had ended when the step began.
    func undoScope(_ path: StepPath) -> JSON {
        let step = state.steps[path]
        let began = step?.startedAt ?? .max
        return scope(
            path,
            [
                ("output", step?.output ?? .null), ("input_sent", step?.action.input ?? .null),
                ("failure", state.failureJSON),
            ]
        ) { ($0.endedAt ?? .max) < began }
    }

    func scope(_ path: StepPath?, _ more: [(name: String, value: JSON)]) -> JSON {
        scope(path, more) { _ in true }
    }

    private func scope(
        _ path: StepPath?, _ more: [(name: String, value: JSON)], where isWanted: (StepState) -> Bool
    ) -> JSON {
        var members: [(name: String, value: JSON)] = [
            ("input", head.input), ("steps", steps(seenFrom: path, where: isWanted)), ("saga", saga),
        ]
        for (loop, index) in path?.iterations ?? [] {
            guard case .foreach(let foreach)? = program.step(loop)?.action else { continue }
            members.append((foreach.name, state.steps[loop]?.action.input[index] ?? .null))
        }
        return .object(JSONObject(members + more))
    }

    /// The steps that have ended: those of the same iteration, of the iterations around it, and those outside of loops.
    private func steps(seenFrom path: StepPath?, where isWanted: (StepState) -> Bool) -> JSON {
        var members: [(name: String, value: JSON)] = []
        for other in state.starts + state.skippedBeforeStart {
            guard let step = state.steps[other], step.endedAt != nil, isWanted(step) else { continue }
            let loop = other.loop
            guard loop.isEmpty || path?.text.hasPrefix(loop) == true else { continue }
            var value: [(name: String, value: JSON)] = [("output", step.output)]
            if let error = step.error { value.append(("error", error.json)) }
            members.append((other.stepID, .object(JSONObject(value))))
        }
        return .object(JSONObject(members))
    }

    private var saga: JSON {
        [
            "id": .string("\(head.id)"), "name": .string(program.definition.name),
            "version": JSON(program.definition.version), "key": JSON(head.key),
            "started_at": .string(head.startedAt.rfc3339),
        ]
    }
}
