internal import Glibc
internal import Primitives
internal import Synchronization

/// The thread that talks to the process for expressions: it starts it, hands it work, kills it when it overstays, and
/// goes on with a new one. Only the expression that was running pays.
final class EvaluationThread: Sendable {
    struct Work: Sendable {
        let program: String
        /// Nil: only compile.
        let input: [UInt8]?
    }

    typealias Outcome = Result<[UInt8], ExpressionError>

    private struct Job: Sendable {
        let work: [Work]
        let done: @Sendable ([Outcome]) -> Void
    }

    private struct State {
        var jobs: [Job] = []
        var isStarted = false
        var isClosed = false
    }

    /// A process has at most this many programs; then a new one begins with none.
    private static let programLimit = 256
    /// Of starting and of compiling.
    private static let startLimit = Duration.seconds(5)

    private let executable: String
    private let arguments: [String]
    private let environment: [UInt8]
    private let timeLimit: Duration
    private let state = Mutex(State())
    private let wake: ThreadSignal = ThreadSignal()
    /// 0 while there is none.
    let processID = Atomic<Int32>(0)

    init(executable: String, arguments: [String], environment: [UInt8], timeLimit: Duration) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.timeLimit = timeLimit
    }

    /// One outcome for each piece of work, in its order.
    func run(_ work: [Work]) async -> [Outcome] {
        guard !work.isEmpty else { return [] }
        return await withCheckedContinuation { continuation in
            let job = Job(work: work) { continuation.resume(returning: $0) }
            let (isClosed, isFirst) = state.withLock { state in
                guard !state.isClosed else { return (true, false) }
                state.jobs.append(job)
                defer { state.isStarted = true }
                return (false, !state.isStarted)
            }
            if isClosed { return job.done(work.map { _ in .failure(.unavailable("the evaluator is closed")) }) }
            if isFirst { start() }
            wake.signal()
        }
    }

    /// Ends thread and process once the work at hand is done; later work is refused.
    func close() {
        state.withLock { $0.isClosed = true }
        wake.signal()
    }

    private func start() {
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        // The thread inherits the mask: signals are for those who wait for them.
        pthread_sigmask(SIG_SETMASK, &all, &before)
        var id = pthread_t()
        let failure = pthread_create(
            &id, nil,
            { argument in
                Unmanaged<EvaluationThread>.fromOpaque(argument!).takeRetainedValue().loop()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        precondition(failure == 0, "cannot start a thread: \(String(cString: strerror(failure)))")
        pthread_detach(id)
    }

    // MARK: - On the thread

    private func loop() {
        var process: WorkerProcess?
        while true {
            wake.wait()
            while let job = state.withLock({ $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }) {
                job.done(run(job.work, &process))
            }
            if state.withLock({ $0.isClosed && $0.jobs.isEmpty }) { return }
        }
    }

    /// What the next reply is about.
    private enum Expected {
        case compiled(program: String)
        case outcome(Int, program: String)

        var program: String {
            switch self {
            case .compiled(let program), .outcome(_, let program): program
            }
        }
    }

    private func run(_ work: [Work], _ process: inout WorkerProcess?) -> [Outcome] {
        var outcomes: [Outcome?] = Array(repeating: nil, count: work.count)
        var suspects: Set<String> = []
        while outcomes.contains(where: { $0 == nil }) {
            do throws(ExpressionError) {
                let running: WorkerProcess
                if let process { running = process } else { running = try startProcess() }
                process = running
                let isIntact = converse(with: running, work, &outcomes, &suspects)
                if !isIntact || running.programs.count >= Self.programLimit { endProcess(&process) }
            } catch {
                for index in outcomes.indices where outcomes[index] == nil { outcomes[index] = .failure(error) }
            }
        }
        return outcomes.map { $0! }
    }

    private func startProcess() throws(ExpressionError) -> WorkerProcess {
        let process = try WorkerProcess(executable: executable, arguments: arguments)
        do throws(WorkerProcess.Failure) {
            guard try process.reply(within: Self.startLimit) == .ready else { throw .timedOut }
        } catch {
            throw .unavailable("\(executable) did not start as a process for expressions")
        }
        processID.store(process.id, ordering: .relaxed)
        process.queue(.environment(environment))
        return process
    }

    private func endProcess(_ process: inout WorkerProcess?) {
        processID.store(0, ordering: .relaxed)
        process?.kill()
        process = nil
    }

    /// Sends all that has no outcome yet and takes the replies, which come in the order of the requests. False when the
    /// process is lost; then the piece of work that it was at has its outcome, and those behind it have none yet.
    ///
    /// A process may be killed by somebody else, or die of what came before: the first crash of a program makes it a
    /// suspect and is forgiven, the second is its own.
    private func converse(
        with process: WorkerProcess, _ work: [Work], _ outcomes: inout [Outcome?], _ suspects: inout Set<String>
    ) -> Bool {
        for expected in ask(process, work, outcomes) {
            do throws(WorkerProcess.Failure) {
                switch expected {
                case .compiled: _ = try process.reply(within: Self.startLimit)
                case .outcome(let index, _):
                    let isCheck = work[index].input == nil
                    let reply = try process.reply(within: isCheck ? Self.startLimit : timeLimit)
                    outcomes[index] = Self.outcome(reply)
                }
            } catch {
                let error = self.error(for: error)
                if case .crashed = error, suspects.insert(expected.program).inserted { return false }
                switch expected {
                case .compiled(let program):
                    for index in work.indices where work[index].program == program && outcomes[index] == nil {
                        outcomes[index] = .failure(error)
                    }
                case .outcome(let index, _): outcomes[index] = .failure(error)
                }
                return false
            }
        }
        return true
    }

    private func ask(_ process: WorkerProcess, _ work: [Work], _ outcomes: [Outcome?]) -> [Expected] {
        var expected: [Expected] = []
        for (index, piece) in work.enumerated() where outcomes[index] == nil {
            guard let input = piece.input else {
                process.queue(.check(text: piece.program))
                expected.append(.outcome(index, program: piece.program))
                continue
            }
            let id = process.programs[piece.program] ?? UInt32(process.programs.count)
            if process.programs.updateValue(id, forKey: piece.program) == nil {
                process.queue(.program(id: id, text: piece.program))
                expected.append(.compiled(program: piece.program))
            }
            process.queue(.run(id: id, input: input))
            expected.append(.outcome(index, program: piece.program))
        }
        return expected
    }

    private static func outcome(_ reply: Reply) -> Outcome {
        switch reply {
        case .ready: .success([])
        case .value(let json): .success(json)
        case .failed(let message): .failure(.failed(message: message))
        case .syntax(let message): .failure(.syntax(message: message, offset: 0))
        case .resultCount(let found): .failure(.resultCount(found))
        case .inexactNumber(let digits): .failure(.inexactNumber(digits))
        }
    }

    private func error(for failure: WorkerProcess.Failure) -> ExpressionError {
        switch failure {
        case .timedOut: return .timeLimit(timeLimit)
        case .ended(let status):
            let signal = status & 0x7F
            if signal == 0, status >> 8 == ExpressionWorker.memoryExitCode {
                return .memoryLimit(megabytes: ExpressionWorker.memoryLimitMegabytes)
            }
            return .crashed(signal == 0 ? "ended with \(status >> 8)" : "was ended by signal \(signal)")
        }
    }
}
