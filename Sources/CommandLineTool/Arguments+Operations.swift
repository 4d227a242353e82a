import Glibc
import Primitives
import Store
import Telemetry

extension Option {
    /// Of commands that order what a worker carries out.
    static let wait = flag("wait", "stay until it has ended, and tell how far it is")
}

extension Arguments {
    /// Tells of an operation that was ordered; with `--wait` also how far it is, until it has ended.
    ///
    /// - Returns: 1 if it was waited for and has failed or was cancelled.
    func report(_ operation: Operations.Ordered) async throws -> Int32 {
        if let note = operation.note { complain("note: \(note)") }
        guard has("wait") else {
            print("operation \(operation.id) is queued; a worker carries it out")
            return 0
        }
        var line = ProgressLine()
        var pause = Duration.milliseconds(50)
        while true {
            guard let progress = try await withDatabase({ try Operations($0).progress(of: operation.id) }) else {
                throw CommandFailure("operation \(operation.id) is gone: somebody deleted it")
            }
            guard !progress.isOver else {
                line.end()
                if let note = progress.note, note != operation.note { complain("note: \(note)") }
                print("operation \(operation.id): \(progress.description)")
                return progress.status == "finished" ? 0 : 1
            }
            line.show(progress.description)
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
        }
    }
}

/// On standard error: rewritten in place at a terminal, else a line for each change.
private struct ProgressLine {
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private var shown = ""

    mutating func show(_ text: String) {
        guard text != shown else { return }
        shown = text
        if isTerminal {
            // Back to the beginning, and clear what stood there.
            writeToStandardError(Array("\r\u{1B}[K\(text.cut(to: Terminal.width))".utf8))
        } else {
            complain(text)
        }
    }

    mutating func end() {
        if isTerminal, !shown.isEmpty { writeToStandardError(Array("\r\u{1B}[K".utf8)) }
        shown = ""
    }
}

extension Operations.Progress {
    /// `redrive of order-billing: running, 12000 of about 1000000`.
    fileprivate var description: String {
        var text = "\(kind) of \(subscription): \(status), \(done)"
        if let total { text += " of about \(total)" }
        if let reachedAt, !isOver { text += ", at \(reachedAt.brief)" }
        if let error { text += "; \(error)" }
        if !isOver, !hasWorkers { text += "; no worker is running to carry it out" }
        return text
    }
}
