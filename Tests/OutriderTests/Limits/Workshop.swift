import HTTPServer
import Synchronization
import TestSupport

/// A handler that counts what it works on at once, and is done with it when the test says so, or by itself.
final class Workshop: Sendable {
    struct Job: Sendable {
        let request: ServerRequest
        let at: ContinuousClock.Instant
        /// How long nothing had come before it.
        let quiet: Duration
        fileprivate let responder: Responder
    }

    private struct State: Sendable {
        var open: [Job] = []
        var seen: [Job] = []
        var most = 0
        /// Nil while it is done only when told.
        var finishes: (@Sendable (_ job: Job, _ open: Int) -> ServerResponse?)?
        /// Does the work on a job that is to be answered; nil where there is none.
        var work: (@Sendable (_ number: Int) async -> Void)?
    }

    private final class Journal: Sendable {
        let state = Mutex(State())
    }

    private let journal = Journal()
    private let server: HTTPServer

    init() throws {
        let journal = journal
        server = try HTTPServer(address: "127.0.0.1:0", threads: 2) { request, responder in
            let (answer, work, number) = journal.state.withLock { state in
                let now = ContinuousClock.now
                let job = Job(
                    request: request, at: now, quiet: state.seen.last.map { now - $0.at } ?? .zero, responder: responder
                )
                state.seen.append(job)
                state.most = max(state.most, state.open.count + 1)
                let answer = state.finishes?(job, state.open.count + 1)
                if answer == nil { state.open.append(job) }
                return (answer, state.work, state.seen.count)
            }
            guard let answer else { return }
            guard let work else { return responder.respond(answer) }
            Task {
                await work(number)
                responder.respond(answer)
            }
        }
    }

    var url: String { "http://127.0.0.1:\(server.port)" }
    var open: Int { journal.state.withLock { $0.open.count } }
    var seen: [Job] { journal.state.withLock { $0.seen } }
    /// Worked on at once, at most, since it was last forgotten.
    var most: Int { journal.state.withLock { $0.most } }

    func count(_ path: String) -> Int { seen.count { $0.request.path == path } }

    func forgetMost() { journal.state.withLock { $0.most = $0.open.count } }

    /// From now on each is answered, unless it says nil.
    ///
    /// - Parameter work: what is done before the answer; is told the how many-th request it is.
    func answers(
        after work: (@Sendable (_ number: Int) async -> Void)? = nil,
        _ answer: (@Sendable (_ job: Job, _ open: Int) -> ServerResponse?)?
    ) {
        journal.state.withLock { state in
            state.finishes = answer
            state.work = work
        }
    }

    /// Answers the oldest that are open.
    func finish(_ count: Int = 1, _ response: ServerResponse = .text("ok")) {
        let jobs = journal.state.withLock { state in
            defer { state.open.removeFirst(min(count, state.open.count)) }
            return state.open.prefix(count)
        }
        for job in jobs { job.responder.respond(response) }
    }

    func waitFor(open count: Int) async throws {
        do {
            try await eventually("\(count) are open at the handler") { self.open == count }
        } catch {
            throw NeverHappened(description: "\(error): \(open) are, of \(seen.count)")
        }
    }

    func waitFor(seen count: Int) async throws {
        do {
            try await eventually("the handler has seen \(count)") { self.seen.count >= count }
        } catch {
            throw NeverHappened(description: "\(error): it has seen \(seen.count)")
        }
    }
}
