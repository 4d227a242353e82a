import Primitives
import Sagas

/// A saga on one page, for whoever is on call: what it is, what happened in the order in which it began, and what helps.
///
///     saga      place-order, version 1, key 17
///     status    stuck since …
///
///        0ms  ✓ reserve      12ms
///       13ms  ✗ charge       2.3s  failed: card-declined: HTTP 402
///      212ms      try 1            HTTP 503; the next one at 501ms
///       2.3s  ! aborts: charge: card-declined
///       2.3s  ✗ ↶ reserve    31ms  1 of 1: not undone: refused: HTTP 403
struct SagaDrawing {
    /// Of so many tries those in the middle are left out.
    private static let mostTries = 8

    private let saga: SagaRecord
    private let timeline: SagaTimeline
    private let clock: SagaClock
    /// Of the column of names; the same for all lines.
    private let nameWidth: Int

    init(_ saga: SagaRecord) {
        self.saga = saga
        clock = SagaClock(began: saga.startedAt, now: saga.seenAt)
        timeline = SagaTimeline(saga.history, clock)
        nameWidth = min(30, max(10, timeline.efforts.map { Self.name($0).count }.max() ?? 0))
    }

    var text: String {
        var parts = [head]
        let drawn = drawnTimeline
        if !drawn.isEmpty { parts.append(drawn) }
        let advice = drawnAdvice
        if !advice.isEmpty { parts.append(advice) }
        return parts.map { $0.map { $0 + "\n" }.joined() }.joined(separator: "\n")
    }

    // MARK: - Head

    private var head: [String] {
        var rows: [(label: String, text: String)] = []
        rows.append(
            ("saga", "\(saga.name), version \(saga.version)" + (saga.key.map { ", key \($0)" } ?? "")))
        rows.append(("id", saga.id))
        if let parent = saga.parent { rows.append(("parent", "\(parent.name) \(parent.id), at \(parent.step)")) }
        rows.append(("status", status))
        if saga.isSuspended { rows.append(("", suspension)) }
        if saga.status != .running { rows.append(("started", saga.startedAt.brief)) }
        if let deadline = saga.deadline, saga.status == .running { rows.append(("deadline", clock.words(deadline))) }
        if let failure = saga.failure { rows.append(("failure", failure.words.cut(to: 400))) }
        if let trouble = saga.trouble?.reason { rows.append(("trouble", trouble.words.cut(to: 400))) }
        if let waiting = saga.waitingFor, saga.trouble == nil { rows.append(("waits for", waiting)) }
        if let worker = saga.worker, !saga.status.hasEnded { rows.append(("at work", worker)) }
        rows.append(("input", saga.input.text.plain.cut(to: Terminal.width - 11)))
        if !saga.output.isNull { rows.append(("output", saga.output.text.plain.cut(to: Terminal.width - 11))) }
        return rows.flatMap { label, text in
            Terminal.wrapped(text, to: Terminal.width - 11).enumerated().map { index, line in
                let line = label == "status" ? Terminal.styled(line, style(of: saga.status)) : line
                return (index == 0 ? label : "").padded(to: 11) + line
            }
        }
    }

    private var status: String {
        let name = saga.status.rawValue
        if let finished = saga.finishedAt {
            let skipped =
                switch saga.skipped {
                case 0: ""
                case 1: "; 1 compensation was skipped"
                default: "; \(saga.skipped) compensations were skipped"
                }
            return "\(name) since \(clock.words(finished)); took \((finished - saga.startedAt).brief)\(skipped)"
        }
        if saga.startedAt > saga.seenAt { return "starts at \(clock.words(saga.startedAt))" }
        let since = saga.trouble?.since ?? abortedAt ?? saga.startedAt
        let text = "\(name) since \(clock.words(since))"
        return saga.history.isEmpty ? text + "; no worker has taken it up yet" : text
    }

    private var abortedAt: Timestamp? {
        guard saga.status == .compensating else { return nil }
        return saga.history.last { if case .aborting = $0.kind { true } else { false } }?.at
    }

    private var suspension: String {
        let fact = saga.history.last { if case .suspended = $0.kind { true } else { false } }
        return fact.map { "suspended since \(clock.words($0.at)), \($0.words)" } ?? "suspended"
    }

    private func style(of status: SagaState.Status) -> Terminal.Style {
        switch status {
        case .completed: .green
        case .running, .compensating: .cyan
        case .compensated, .failed, .terminated: .yellow
        case .stuck: .red
        }
    }

    // MARK: - Timeline

    private var drawnTimeline: [String] {
        var lines: [String] = []
        for (index, entry) in timeline.entries.enumerated() {
            switch entry {
            case .event(let event): lines += draw(event)
            case .effort(let effort): lines += draw(effort) + drawSubSagas(of: effort, at: index)
            }
        }
        if !saga.status.hasEnded {
            for step in timeline.undoing
            where !timeline.efforts.contains(where: { $0.step == step && $0.op == .compensate }) {
                lines += line(
                    "", Terminal.styled("·", .dim), "↶ \(step)", "", "\(turn(step))to be undone")
            }
        }
        return lines
    }

    private func draw(_ event: SagaTimeline.Event) -> [String] {
        let (sign, style): (String, Terminal.Style) =
            switch event.kind {
            case .decision: ("!", .red)
            case .voice: ("@", .cyan)
            case .late: ("~", .dim)
            case .end(let status): ("■", self.style(of: status))
            }
        let margin = Self.offsetWidth + 4
        return Terminal.wrapped(event.text.cut(to: 500), to: Terminal.width - margin).enumerated().map { index, text in
            index == 0
                ? clock.offset(event.at).padded(from: Self.offsetWidth) + "  " + Terminal.styled(sign, style) + " "
                    + text
                : String(repeating: " ", count: margin) + text
        }
    }

    private func draw(_ effort: SagaTimeline.Effort) -> [String] {
        var note = effort.note.cut(to: 400)
        if effort.op == .compensate { note = turn(effort.step) + note }
        if effort.ended == nil, saga.status.hasEnded { note = "left as it was" + (note.isEmpty ? "" : ": \(note)") }
        let took = (effort.ended ?? saga.finishedAt ?? saga.seenAt) - effort.began
        // What takes no time has no duration: what was skipped, what was published with its start.
        let duration = effort.ended == effort.began ? "" : took.brief
        return line(clock.offset(effort.began), mark(effort.outcome), Self.name(effort), duration, note)
            + draw(effort.tries)
    }

    /// Below the last effort of a `run` step.
    private func drawSubSagas(of effort: SagaTimeline.Effort, at index: Int) -> [String] {
        guard effort.start?.phase == .child, effort.op == .action else { return [] }
        let isLast = !timeline.entries[(index + 1)...].contains {
            if case .effort(let later) = $0 { later.step == effort.step && later.op == .action } else { false }
        }
        guard isLast else { return [] }
        return saga.subSagas.filter { $0.step == effort.step.text }.flatMap { child in
            line("", " ", "  sub-saga", "", "\(child.name) \(child.id) \(child.status)")
        }
    }

    private func draw(_ tries: [SagaTimeline.Try]) -> [String] {
        guard tries.count > Self.mostTries else { return tries.flatMap { draw($0) } }
        let (first, last) = (tries.prefix(Self.mostTries / 2), tries.suffix(Self.mostTries / 2))
        let left = tries.count - first.count - last.count
        return first.flatMap { draw($0) }
            + line("", " ", "  …", "", "\(left) more: outrider saga history \(saga.id)") + last.flatMap { draw($0) }
    }

    private func draw(_ one: SagaTimeline.Try) -> [String] {
        let times = one.count > 1 ? ", \(one.count) times" : ""
        let text =
            switch one.what {
            case .failed(let words, let next):
                "\(words.cut(to: 300)); the next one "
                    + (next > saga.seenAt ? "at \(clock.words(next))" : "at \(clock.offset(next))")
            case .postponed: "held back\(times)"
            case .ongoing: "the handler is at work\(times)"
            case .accepted: "accepted"
            case .heartbeat: "a heartbeat\(times)"
            case .lost: "its worker was lost"
            }
        return line(clock.offset(one.at), " ", one.number.map { "  try \($0)" } ?? "", "", text)
    }

    private static func name(_ effort: SagaTimeline.Effort) -> String {
        (effort.op == .compensate ? "↶ " : "") + effort.step.text
    }

    private func mark(_ outcome: SagaTimeline.Effort.Outcome) -> String {
        switch outcome {
        case .running: Terminal.styled("▸", .cyan)
        case .waiting: Terminal.styled("…", .cyan)
        case .succeeded: Terminal.styled("✓", .green)
        case .failed: Terminal.styled("✗", .red)
        case .unknown: Terminal.styled("?", .yellow)
        case .skipped: Terminal.styled("–", .dim)
        }
    }

    /// `1 of 3: `, by the order in which steps are undone.
    private func turn(_ step: StepPath) -> String {
        guard let index = timeline.undoing.firstIndex(of: step) else { return "" }
        return "\(index + 1) of \(timeline.undoing.count): "
    }

    private static let offsetWidth = 7
    private static let durationWidth = 6

    /// - Parameter mark: one character, styled.
    private func line(
        _ offset: String, _ mark: String, _ name: String, _ duration: String, _ note: String
    ) -> [String] {
        let margin = Self.offsetWidth + 4 + nameWidth + 2 + Self.durationWidth + 2
        let front = offset.padded(from: Self.offsetWidth) + "  \(mark) "
        let middle = "  " + duration.padded(from: Self.durationWidth) + "  "
        var lines: [String] = []
        for (index, text) in Terminal.wrapped(note, to: Terminal.width - margin).enumerated() {
            if index > 0 {
                lines.append(String(repeating: " ", count: margin) + text)
            } else if name.count <= nameWidth {
                lines.append(front + name.padded(to: nameWidth) + middle + text)
            } else {
                lines.append(front + name)
                lines.append(String(repeating: " ", count: Self.offsetWidth + 4 + nameWidth) + middle + text)
            }
        }
        return lines.map { line in String(line.reversed().drop { $0 == " " }.reversed()) }.filter { !$0.isEmpty }
    }

    // MARK: - What helps

    private var drawnAdvice: [String] {
        let advice = SagaAdvice(saga, timeline)
        guard !advice.lines.isEmpty else { return [] }
        return [Terminal.styled("What helps:", .bold)]
            + advice.lines.flatMap { sentence, command in
                Terminal.wrapped(sentence, to: Terminal.width - 2).map { "  \($0)" } + ["    \(command)"]
            }
    }
}
