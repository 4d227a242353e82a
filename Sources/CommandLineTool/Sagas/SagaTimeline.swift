import Delivery
import Primitives
import Sagas

/// What happened to a saga, in the order in which it began: a step is one entry with all its tries, a compensation stands where
/// it was begun, and what people and other programs said stands between them.
struct SagaTimeline {
    enum Entry {
        case effort(Effort)
        case event(Event)
    }

    /// Doing or undoing a step, from its start to its end. When a person has it tried again, that is another one.
    struct Effort {
        enum Outcome {
            case running, waiting, succeeded, failed, unknown, skipped
        }

        let step: StepPath
        let op: Op
        let began: Timestamp
        var ended: Timestamp?
        var outcome = Outcome.running
        /// What became of it, or what it waits for.
        var note = ""
        /// So far, earlier efforts' included.
        var attempts = 0
        var tries: [Try] = []
        /// What it was started with.
        var start: Fact.Start?
    }

    /// What became of a try that was not the end.
    struct Try {
        enum What: Hashable {
            case failed(String, next: Timestamp)
            case postponed, ongoing, accepted, heartbeat, lost
        }

        var at: Timestamp
        let number: Int?
        var what: What
        /// The same, so often in a row.
        var count = 1
    }

    struct Event {
        enum Kind {
            /// What the saga decided of itself.
            case decision
            /// What others said or did.
            case voice
            /// What came too late and changed nothing.
            case late
            /// The end, and how good it is.
            case end(SagaState.Status)
        }

        let at: Timestamp
        let kind: Kind
        let text: String
    }

    private struct Place: Hashable {
        let step: StepPath
        let op: Op
    }

    private(set) var entries: [Entry] = []
    /// What is undone, in this order.
    private(set) var undoing: [StepPath] = []
    /// Where in `entries` what has not ended stands.
    private var open: [Place: Int] = [:]
    private let clock: SagaClock

    init(_ history: [Fact], _ clock: SagaClock) {
        self.clock = clock
        for fact in history { add(fact) }
    }

    var efforts: [Effort] {
        entries.compactMap { if case .effort(let effort) = $0 { effort } else { nil } }
    }

    private mutating func add(_ fact: Fact) {
        switch fact.kind {
        case .begun: break
        case .compensating(let paths): undoing = paths
        case .aborting(let failure):
            // What became of the step stands at the step.
            let why = failure.step.map { "\($0): \(failure.type)" } ?? failure.words
            note(fact, .decision, "aborts: \(why)")
        case .noted: note(fact, .decision, "will abort unless the pivot succeeds: \(fact.words)")
        case .stuck: note(fact, .decision, "stuck: \(fact.words)")
        case .hookFailed: note(fact, .decision, "could not publish \(fact.words)")
        case .completed: note(fact, .end(.completed), "completed")
        case .compensated: note(fact, .end(.compensated), "compensated")
        case .failed: note(fact, .end(.failed), "failed: nothing was to be undone")
        case .terminated: note(fact, .end(.terminated), "terminated \(fact.words)")
        case .suspended: note(fact, .voice, "suspended \(fact.words)")
        case .resumed: note(fact, .voice, "resumed \(fact.words)")
        case .signalled: note(fact, .voice, "event \(fact.words)")
        case .refused: note(fact, .voice, "refused: \(fact.words)")
        case .retried: note(fact, .voice, "retried\(fact.place) \(fact.words)")
        case .resolved: note(fact, .voice, "resolved\(fact.place): \(fact.words)")
        case .late: note(fact, .late, "late\(fact.place): \(fact.words)")

        case .started(let start): begin(fact, start)
        case .sent(let until):
            goOn(fact, .running, "try \(fact.attempt ?? 1) is with the handler, until \(clock.words(until))")
        case .tryFailed(let failure, let happened, let next):
            let words = failure.wordsOfTry + (happened == .no ? ", not done" : "")
            goOn(fact, .waiting, "the next try is due \(clock.words(next))", .failed(words, next: next))
        case .postponed(let failure, _, let next):
            goOn(fact, .waiting, "held back: \(failure.wordsOfTry); due \(clock.words(next))", .postponed)
        case .ongoing(let next):
            goOn(fact, .waiting, "the handler is at work, and asked again \(clock.words(next))", .ongoing)
        case .accepted(let until):
            goOn(fact, .waiting, "waits for a callback until \(clock.words(until))", .accepted)
        case .heartbeat(let until):
            goOn(fact, .waiting, "waits for a callback until \(clock.words(until))", .heartbeat)
        case .lost: goOn(fact, .waiting, "is sent again", .lost)
        case .received: goOn(fact, .running, "")
        case .succeeded: end(fact, .succeeded, fact.op == .compensate ? "undone" : "")
        case .stepFailed(let failure, let isUnknown):
            let verdict =
                switch (fact.op, isUnknown) {
                case (.compensate, _): "not undone"
                case (_, true): "may have happened"
                case (_, false): "failed"
                }
            end(fact, isUnknown ? .unknown : .failed, "\(verdict): \(failure.wordsOfStep)")
        case .skipped(_, _, let by): end(fact, .skipped, "skipped \(by == nil ? "since " : "")\(fact.words)")
        }
    }

    private mutating func note(_ fact: Fact, _ kind: Event.Kind, _ text: String) {
        entries.append(.event(Event(at: fact.at, kind: kind, text: text)))
    }

    // MARK: - Efforts

    private mutating func begin(_ fact: Fact, _ start: Fact.Start) {
        guard let step = fact.step else { return }
        var effort = Effort(step: step, op: fact.op ?? .action, began: fact.at)
        effort.start = start
        if start.request != nil { effort.attempts = fact.attempt ?? 1 }
        switch start.phase {
        case .trying(let until): effort.note = "is with the handler, until \(clock.words(until))"
        case .timer(let until): effort.note = "waits until \(clock.words(until))"
        case .signal(let name, let until):
            effort.note = "waits for the event \(name)" + (until.map { " until \(clock.words($0))" } ?? "")
        case .child: effort.note = "waits for its sub-saga"
        case .idle, .retrying, .ongoing, .callback, .received: break
        }
        switch start.phase {
        case .timer, .signal, .child: effort.outcome = .waiting
        case .idle, .trying, .retrying, .ongoing, .callback, .received: break
        }
        open[Place(step: step, op: effort.op)] = entries.count
        entries.append(.effort(effort))
    }

    /// The effort that the fact speaks of, or a new one when the last has ended.
    private mutating func change(_ fact: Fact, _ body: (inout Effort) -> Void) {
        guard let step = fact.step else { return }
        let place = Place(step: step, op: fact.op ?? .action)
        let index = open[place] ?? entries.count
        var effort = Effort(step: step, op: place.op, began: fact.at)
        if index < entries.count, case .effort(let known) = entries[index] { effort = known }
        if effort.start == nil { effort.start = efforts.last { $0.step == step && $0.op == place.op }?.start }
        effort.attempts = max(effort.attempts, fact.attempt ?? 0)
        body(&effort)
        if index < entries.count { entries[index] = .effort(effort) } else { entries.append(.effort(effort)) }
        open[place] = effort.ended == nil ? index : nil
    }

    private mutating func goOn(_ fact: Fact, _ outcome: Effort.Outcome, _ note: String, _ what: Try.What? = nil) {
        change(fact) { effort in
            effort.outcome = outcome
            effort.note = note
            if let what { effort.add(Try(at: fact.at, number: fact.attempt, what: what)) }
        }
    }

    private mutating func end(_ fact: Fact, _ outcome: Effort.Outcome, _ note: String) {
        change(fact) { effort in
            effort.ended = fact.at
            effort.outcome = outcome
            effort.note = note
            if effort.attempts > 1 {
                effort.note += (note.isEmpty ? "" : ", ") + "after \(effort.attempts) tries"
            }
        }
    }
}

extension SagaTimeline.Effort {
    fileprivate mutating func add(_ next: SagaTimeline.Try) {
        if let last = tries.last, last.number == next.number, last.what == next.what {
            tries[tries.count - 1].count += 1
            tries[tries.count - 1].at = next.at
        } else {
            tries.append(next)
        }
    }
}

extension Fact {
    fileprivate var place: String { step.map { " \(op == .compensate ? "the compensation of " : "")\($0)" } ?? "" }
}

/// Tells times from a saga's start, and those to come from now.
struct SagaClock: Sendable {
    let began: Timestamp
    let now: Timestamp

    /// `214ms`, since the start. Clocks of workers are read through the database's, and may be off by a little.
    func offset(_ time: Timestamp) -> String { (time - began).brief }

    /// `2026-11-24T08:16:12Z, in 3m12s`
    func words(_ time: Timestamp) -> String {
        "\(time.brief), " + (time > now ? "in \((time - now).brief)" : "\((now - time).brief) ago")
    }
}
