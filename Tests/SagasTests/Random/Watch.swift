import Delivery
import Primitives
import Sagas

/// What went wrong in a random run.
struct Violation: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Reads the facts and effects of one saga as they are committed, and holds what they promise against its own, simple
/// account of them. It knows the definition and nothing of the machine.
struct Watch {
    private struct Track {
        var isUndoable = false
        var undoesWhenStarted = false
        var isStatement = false
        var hasSucceeded = false
        var isUnknown = false
        var isUndone = false
        var hasEnded = false
        /// Of the round of tries that goes on: the number of the last try before it.
        var triesBefore: [Op: Int] = [:]
        var tries: [Op: Int] = [:]
        var retryAfter: Duration?
    }

    let program: SagaProgram
    private var tracks: [StepPath: Track] = [:]
    private var starts: [StepPath] = []
    private var toUndo: [StepPath] = []
    private var undoing: StepPath?
    private(set) var isAborting = false
    private(set) var hasPivoted = false
    private(set) var hasEnded = false
    private(set) var isSuspended = false

    init(_ program: SagaProgram) { self.program = program }

    // MARK: - Effects

    mutating func see(_ effects: [Effect], after events: [SagaEvent]) throws(Violation) {
        for effect in effects {
            switch effect {
            case .record(let fact): try see(fact, after: events)
            case .evaluate: throw Violation("an evaluation is not answered")
            case .call(let call): try checkSending(call.step, call.op)
            case .query(let query): try checkSending(query.step, query.op)
            case .publish(let message):
                if case .step(let path, let op) = message.origin { try checkSending(path, op) }
            case .startChild(let path, _, _, _): try checkSending(path, .action)
            case .tellChild(let path, .undo): try checkSending(path, .compensate)
            case .tellChild, .tellParent, .bury, .settleLetters: break
            }
        }
    }

    private func checkSending(_ path: StepPath, _ op: Op) throws(Violation) {
        if hasEnded { throw Violation("\(path) (\(op)) goes out after the end") }
        if isSuspended { throw Violation("\(path) (\(op)) goes out while the saga is suspended") }
        switch op {
        case .action: if isAborting { throw Violation("\(path) goes out after the decision to abort") }
        case .compensate:
            if !isAborting { throw Violation("\(path) is undone before the decision to abort") }
            if hasPivoted { throw Violation("\(path) is undone behind the pivot") }
            if undoing != path {
                throw Violation("\(path) is undone while it is the turn of \(undoing?.text ?? "none")")
            }
        }
    }

    /// When it really goes out, after the commit.
    func checkRequest(_ path: StepPath, _ op: Op) throws(Violation) {
        if hasEnded { throw Violation("\(path) (\(op)) is sent after the end") }
        if op == .action, isAborting { throw Violation("\(path) is sent after the decision to abort is durable") }
    }

    // MARK: - Facts

    private mutating func see(_ fact: Fact, after events: [SagaEvent]) throws(Violation) {
        if hasEnded {
            switch fact.kind {
            case .refused, .late, .hookFailed: return
            case .aborting:
                // The parent aborts.
                guard case .asked(.undo, _)? = events.first else { throw Violation("it aborts after its end") }
                hasEnded = false
            default: throw Violation("\(fact.line) after the end")
            }
        }
        switch fact.kind {
        case .aborting:
            if isAborting { throw Violation("it aborts twice") }
            if hasPivoted { throw Violation("it aborts behind the pivot") }
            isAborting = true
        case .compensating(let paths): try checkPlan(paths)
        case .completed:
            if isAborting { throw Violation("it completes after the decision to abort") }
            hasEnded = true
        case .compensated, .failed:
            if !toUndo.isEmpty { throw Violation("it ends before \(toUndo) are undone") }
            hasEnded = true
        case .terminated:
            hasEnded = true
        case .suspended: isSuspended = true
        case .resumed: isSuspended = false
        default: break
        }
        if let path = fact.step { try see(fact, of: path, fact.op ?? .action, after: events) }
        if hasEnded { isSuspended = false }
    }

    private mutating func see(_ fact: Fact, of path: StepPath, _ op: Op, after events: [SagaEvent]) throws(Violation) {
        switch fact.kind {
        case .started:
            switch op {
            case .action: try start(path)
            case .compensate: try startUndoing(path)
            }
            try countTry(fact, path, op)
        case .sent:
            // An operator's retry goes on where it was stuck.
            if op == .compensate, toUndo.first == path { undoing = path }
            try checkSending(path, op)
            try countTry(fact, path, op)
        case .tryFailed(_, let happened, let next):
            if happened == .unknown, op == .action { tracks[path]?.isUnknown = true }
            try checkDelay(next - fact.at, path, op, events)
        case .lost: if op == .action, tracks[path]?.isStatement == false { tracks[path]?.isUnknown = true }
        case .succeeded: try end(path, op, hasSucceeded: true)
        case .stepFailed(_, let isUnknown):
            if op == .action {
                if tracks[path]?.isUnknown == true, !isUnknown { throw Violation("\(path) may have happened") }
                if isUnknown { tracks[path, default: Track()].isUnknown = true }
            }
            try end(path, op, hasSucceeded: false)
        case .skipped(_, _, let by):
            if op == .compensate, by == nil { throw Violation("\(path) is skipped in silence") }
            try end(path, op, hasSucceeded: op == .compensate)
        case .resolved(let happened, _, _): if !happened { tracks[path]?.isUnknown = false }
        case .retried:
            let tries = tracks[path]?.tries[op]
            tracks[path]?.triesBefore[op] = tries
            tracks[path]?.hasEnded = false
            if case .set? = program.step(path)?.action { tracks[path]?.isUnknown = false }
            if program.step(path)?.action.children.isEmpty == false { tracks[path]?.isUnknown = false }
        default: break
        }
    }

    private mutating func start(_ path: StepPath) throws(Violation) {
        try checkSending(path, .action)
        guard let step = program.step(path) else { throw Violation("\(path) is no step") }
        var track = tracks[path] ?? Track()
        track.isUndoable = step.isUndoableAtAll
        track.undoesWhenStarted = step.compensation?.when == .started
        if case .call(.sql) = step.action { track.isStatement = true }
        track.hasEnded = false
        tracks[path] = track
        starts.removeAll { $0 == path }
        starts.append(path)
    }

    private mutating func end(_ path: StepPath, _ op: Op, hasSucceeded: Bool) throws(Violation) {
        switch op {
        case .action:
            if tracks[path]?.hasEnded == true, tracks[path]?.hasSucceeded == true {
                throw Violation("\(path) ends again after its success")
            }
            tracks[path, default: Track()].hasEnded = true
            tracks[path]?.hasSucceeded = hasSucceeded
            if hasSucceeded, program.step(path)?.isPivot == true { hasPivoted = true }
        case .compensate where hasSucceeded:
            if tracks[path]?.isUndone == true { throw Violation("\(path) is undone twice") }
            tracks[path]?.isUndone = true
            guard toUndo.first == path else { throw Violation("\(path) is undone out of turn") }
            toUndo.removeFirst()
            undoing = nil
        case .compensate: undoing = nil
        }
    }

    private mutating func startUndoing(_ path: StepPath) throws(Violation) {
        if undoing != nil { throw Violation("\(path) is undone beside \(undoing!)") }
        guard toUndo.first == path else {
            throw Violation("\(path) is undone before \(toUndo.first?.text ?? "nothing")")
        }
        undoing = path
        try checkSending(path, .compensate)
    }

    /// All that succeeded or may have, the last start first.
    private mutating func checkPlan(_ paths: [StepPath]) throws(Violation) {
        if !isAborting { throw Violation("it undoes before the decision to abort") }
        for path in starts where tracks[path]?.hasEnded == false {
            throw Violation("it undoes while \(path) is in flight")
        }
        let expected = starts.reversed().filter { path in
            guard let track = tracks[path], track.isUndoable else { return false }
            return track.hasSucceeded || track.isUnknown || track.undoesWhenStarted
        }
        if paths != expected { throw Violation("it is to undo \(paths), expected \(expected)") }
        toUndo = expected
    }

    // MARK: - Tries

    private mutating func countTry(_ fact: Fact, _ path: StepPath, _ op: Op) throws(Violation) {
        guard let attempt = fact.attempt else { return }
        tracks[path]?.tries[op] = attempt
        guard let step = program.step(path) else { return }
        let policy = op == .action ? step.retry : step.compensation?.retry ?? RetryPolicy()
        if case .limited(let most) = policy.attempts, attempt - (tracks[path]?.triesBefore[op] ?? 0) > most {
            throw Violation("\(path) (\(op)) is tried more than \(most) times")
        }
    }

    private func checkDelay(_ delay: Duration, _ path: StepPath, _ op: Op, _ events: [SagaEvent]) throws(Violation) {
        guard let step = program.step(path) else { return }
        let policy = op == .action ? step.retry : step.compensation?.retry ?? RetryPolicy()
        var most = policy.max
        var least = Duration.zero
        if case .answered(_, _, _, .failed(_, _, let retryAfter?))? = events.first {
            least = min(retryAfter, policy.retryAfterMax)
            most = max(most, least)
        }
        if delay < least || delay > most {
            throw Violation("\(path) (\(op)) waits for \(delay), expected \(least)…\(most)")
        }
    }
}

extension Step {
    /// A sub-saga is undone by its own compensations.
    var isUndoableAtAll: Bool {
        if case .run = action { true } else { compensation != nil }
    }
}
