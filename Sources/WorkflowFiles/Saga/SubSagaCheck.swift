internal import Primitives
internal import Sagas

/// Sagas that run sagas: what one of them can do to those above it, seen over all files.
struct SubSagaCheck {
    /// A step that runs a saga, and where.
    private struct Run {
        let child: SubSaga
        let reference: Reference
    }

    /// Of each name the newest: it is the one that is started.
    private let sagas: [String: SagaDefinition]
    private let runs: [Run]
    /// Of the newest sagas, by the name of the one that runs.
    private let runsByParent: [String: [Run]]
    /// What a saga that has no pivot runs on the shortest way to one that has.
    private let towardsPivot: [String: String]

    init(_ declarations: [Declaration], _ references: [Reference]) {
        var sagas: [String: SagaDefinition] = [:]
        for declaration in declarations {
            guard case .saga(let saga) = declaration.definition else { continue }
            if let other = sagas[saga.name], other.version >= saga.version { continue }
            sagas[saga.name] = saga
        }
        self.sagas = sagas
        runs = references.compactMap { reference in
            if case .run(let child) = reference.target { Run(child: child, reference: reference) } else { nil }
        }
        let newest = runs.filter { run in run.child.parent.map { sagas[$0.name]?.version == $0.version } ?? false }
        runsByParent = Dictionary(grouping: newest) { $0.child.parent?.name ?? "" }
        towardsPivot = Self.towardsPivot(sagas)
    }

    private static func towardsPivot(_ sagas: [String: SagaDefinition]) -> [String: String] {
        var parents: [String: [String]] = [:]
        // Sorted, so that of two ways of one length it is always the same that is told.
        for saga in sagas.values.sorted(by: { $0.name < $1.name }) {
            for step in saga.allSteps {
                if case .run(let run) = step.action { parents[run.saga, default: []].append(saga.name) }
            }
        }
        var next: [String: String] = [:]
        var reached = sagas.values.filter { $0.pivot != nil }.map(\.name).sorted()
        var seen = Set(reached)
        while !reached.isEmpty {
            var further: [String] = []
            for child in reached {
                for parent in parents[child] ?? [] where seen.insert(parent).inserted {
                    next[parent] = child
                    further.append(parent)
                }
            }
            reached = further
        }
        return next
    }

    func check() -> [Diagnostic] {
        runs.compactMap(pivot) + runs.compactMap(time) + cycles()
    }

    // MARK: - Pivots

    /// A sub-saga that has passed its own pivot cannot be undone with its parent.
    private func pivot(_ run: Run) -> Diagnostic? {
        if case .final = run.child.standing { return nil }
        guard let pivot = pivot(of: run.child.name) else { return nil }
        var diagnostic = Diagnostic(file: run.reference.file, position: run.reference.position, found: pivot)
        switch run.child.standing {
        case .final: return nil
        case .beforePivot:
            diagnostic.found += ", behind which nothing of it is undone"
            diagnostic.expected = "its step to be this saga's own pivot, or to stand behind it"
            diagnostic.suggestion = "write pivot: true"
        case .withoutPivot(let container?, _):
            diagnostic.found += ", and runs inside \(container.rawValue): what runs beside it could still fail"
            diagnostic.expected = "its step outside of parallel and foreach, as a pivot"
        case .withoutPivot(nil, isFollowed: true):
            diagnostic.severity = .warning
            diagnostic.found +=
                ": once that has succeeded nothing of it is undone, and a step that fails later has this saga stuck"
            diagnostic.suggestion = "write pivot: true at the step that runs it"
        case .withoutPivot(nil, isFollowed: false): return nil
        }
        return diagnostic
    }

    /// `the saga 'a' runs 'b', which has a pivot, 'pay'`; nil when neither it nor what it runs has one.
    private func pivot(of name: String) -> String? {
        var text = "the saga '\(name)'"
        var link = " "
        var last = name
        while sagas[last]?.pivot == nil {
            guard let next = towardsPivot[last] else { return nil }
            text += "\(link)runs '\(next)'"
            link = ", which "
            last = next
        }
        return sagas[last]?.pivot.map { "\(text)\(link)has a pivot, '\($0.id)'" }
    }

    /// While the pivot runs the saga's timeout is only noted: the saga that it runs must come to an end by itself.
    private func time(_ run: Run) -> Diagnostic? {
        guard let limit = run.child.limit, let saga = sagas[run.child.name] else { return nil }
        let pivot = "the pivot '\(run.child.id ?? "")'"
        let timeout = "the saga's timeout of \(limit.timeout.text)"
        let found: String
        if let own = saga.timeout {
            guard own > limit.timeout else { return nil }
            found = "\(pivot) can take \(own.text), the timeout of the saga '\(saga.name)', longer than \(timeout)"
        } else {
            found = "\(pivot) can outlast \(timeout): the saga '\(saga.name)' has no timeout"
        }
        return Diagnostic(
            file: run.reference.file, position: limit.position, found: found, expected: "a pivot that ends before",
            suggestion: "set the timeout of '\(saga.name)'")
    }

    // MARK: - Cycles

    private func cycles() -> [Diagnostic] {
        // A cycle can be found from each of the sagas on it.
        var seen: Set<Set<String>> = []
        var diagnostics: [Diagnostic] = []
        for isUnconditional in [true, false] {
            for run in runs {
                guard let cycle = cycle(from: run, isUnconditional: isUnconditional),
                    seen.insert(Set(cycle.map(\.child.name))).inserted
                else { continue }
                diagnostics.append(diagnostic(cycle, isUnconditional: isUnconditional))
            }
        }
        return diagnostics
    }

    /// The shortest one that begins with this step.
    private func cycle(from run: Run, isUnconditional: Bool) -> [Run]? {
        guard let parent = run.child.parent, sagas[parent.name]?.version == parent.version,
            !isUnconditional || run.child.isUnconditional
        else { return nil }
        // By what each saga is reached first.
        var way = [run.child.name: run]
        var reached = [run.child.name]
        while !reached.isEmpty, way[parent.name] == nil {
            var further: [String] = []
            for other in reached.lazy.flatMap({ runsByParent[$0] ?? [] }) {
                guard way[other.child.name] == nil, !isUnconditional || other.child.isUnconditional else { continue }
                way[other.child.name] = other
                further.append(other.child.name)
            }
            reached = further
        }
        var cycle: [Run] = []
        var name = parent.name
        while let last = way[name] {
            cycle.append(last)
            name = last.child.parent?.name ?? ""
            if name == parent.name { return cycle.reversed() }
        }
        return nil
    }

    private func diagnostic(_ cycle: [Run], isUnconditional: Bool) -> Diagnostic {
        let first = cycle[0]
        let name = first.child.parent?.name ?? ""
        var way = "the saga '\(name)' runs \(cycle.count == 1 ? "itself" : "'\(first.child.name)'")"
        for run in cycle.dropFirst() {
            let (file, position) = (run.reference.file, run.reference.position)
            way += ", which runs '\(run.child.name)' (\(file):\(position.line):\(position.column))"
        }
        var diagnostic = Diagnostic(file: first.reference.file, position: first.reference.position, found: way)
        if isUnconditional {
            diagnostic.found += ", always, and sagas would start for ever"
            diagnostic.expected = "a way out: an if, a switch or a foreach around one of these steps"
        } else {
            diagnostic.severity = .warning
            diagnostic.found += ", as long as the conditions hold"
            diagnostic.suggestion =
                "see to it that they come to an end: the run that would make a chain of more than 32 sagas fails"
        }
        return diagnostic
    }
}

extension SagaDefinition {
    fileprivate var pivot: Step? { allSteps.first(where: \.isPivot) }
}
