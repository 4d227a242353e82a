import Primitives
import Sagas
import Store

/// A saga that this worker has in memory: its machine, and what of the machine's decisions is not written yet.
struct LiveSaga {
    /// Tells it from the same saga taken up before: what was asked for that one is no answer to this one.
    let number: Int
    let context: SagaRequest.Context
    let lane: Int32
    let hasParent: Bool
    var machine: SagaMachine
    /// The machine as the database has it, and what it was told since: to decide again when the database refuses something.
    var written: SagaMachine
    var events: [(event: SagaEvent, at: Timestamp)] = []
    var commit: SagaCommit
    /// The row as the database has it.
    var row: SagaRow
    /// Facts that the database holds, late answers aside, which anybody may append.
    var factCount: Int
    /// To go out once the commit is durable.
    var calls: [Effect.CallEffect] = []
    var queries: [Effect.QueryEffect] = []
    var tokens: [TokenKey: String] = [:]
    /// Of handlers, since the last commit: late ones, should there be no other.
    var answers: [(step: StepPath, op: Op, attempt: Int)] = []

    /// Calls that are with their handlers.
    var inFlight = 0
    /// Evaluations in jq's process.
    var evaluating = 0
    /// A statement of its own transaction is under way, with the machine.
    var isQuerying = false
    /// What came meanwhile.
    var waiting: [SagaEvent] = []
    /// There may be mail.
    var wantsMail = false
    /// It was taken up from its history, and goes on once its mail is read: a callback may have come for what was in flight.
    var needsRecovery = false
    /// Given up: the worker stops, and another one takes it up from its history.
    var isAbandoned = false
    /// It was taken over from a dead worker, and has come no further since.
    var wasRescued: Bool
    /// Until then, or until it comes further, it may be what kills its workers: no other such one is taken up.
    var suspectUntil: Timestamp?
    /// When the machine wants to be told that time has passed.
    var due: Timestamp?
    /// When it was last told.
    var tickedAt: Timestamp?
    /// Nothing of it is written before: the database was not able to.
    var postponedUntil: Timestamp?
    private let startsAt: Timestamp
    /// Of the decision at hand.
    private var refused: Set<Effect.Message.Origin> = []

    struct TokenKey: Hashable {
        let step: StepPath
        let op: Op
        let send: Int
    }

    init(
        _ claimed: ClaimedSaga, _ head: ClaimedSaga.Head, _ program: SagaProgram, history: [Fact], number: Int
    ) {
        self.number = number
        startsAt = head.saga.startedAt
        context = SagaRequest.Context(
            saga: claimed.saga, name: head.name, version: program.definition.version, traceParent: head.traceParent)
        lane = claimed.lane
        hasParent = head.hasParent
        machine = SagaMachine(program, head.saga, history: history)
        written = machine
        commit = SagaCommit(saga: claimed.saga, lane: claimed.lane)
        commit.held = [claimed.row]
        wasRescued = claimed.rescues > 0
        row = SagaRow(machine.state)
        factCount = history.count { !$0.isLate }
    }

    /// It has not begun, and nothing stands in its way but perhaps the time that it is to start at.
    var isFresh: Bool { machine.state.begunAt == nil && machine.state.status == .running }

    var nextDue: Timestamp? {
        guard let due = isFresh ? startsAt : machine.nextDue else { return nil }
        // What the machine was told already it is not told again and again.
        guard let tickedAt, due <= tickedAt else { return due }
        return tickedAt + .milliseconds(250)
    }

    /// Nothing can come of it but by time or mail.
    var isAtRest: Bool {
        inFlight == 0 && evaluating == 0 && !isQuerying && waiting.isEmpty && calls.isEmpty && queries.isEmpty
            && !wantsMail && !needsRecovery
    }

    var isBusy: Bool { evaluating > 0 || isQuerying }

    var hasNews: Bool { !commit.facts.isEmpty || !commit.readMail.isEmpty }

    /// It has come further, or the worker has lived with it: what was held against it counts no more.
    mutating func acquit() {
        suspectUntil = nil
        if wasRescued { commit.clearsRescues = true }
        wasRescued = false
    }

    /// Makes the commit complete: the row, if the machine changed it.
    mutating func finishCommit() {
        let row = SagaRow(machine.state)
        commit.row = row == self.row ? nil : row
    }

    /// The database has it all.
    mutating func isCommitted() {
        if let row = commit.row { self.row = row }
        factCount += commit.facts.count { !$0.isLate }
        written = machine
        events = []
        answers = []
        refused = []
        renewCommit()
    }

    /// The database refuses a message or a sub-saga of the decision: the machine goes back to what the database has, knowing so.
    ///
    /// - Returns: what it is to be told again; nil when it knew already.
    mutating func refuse(_ origin: Effect.Message.Origin, _ failure: Failure) -> [(event: SagaEvent, at: Timestamp)]? {
        guard refused.insert(origin).inserted else { return nil }
        written.refuse(origin, failure)
        machine = written
        calls = []
        queries = []
        tokens = [:]
        let (readMail, clearsRescues) = (commit.readMail, commit.clearsRescues)
        renewCommit()
        commit.readMail = readMail
        commit.clearsRescues = clearsRescues
        defer { events = [] }
        // What was evaluated is evaluated again on the way.
        return events.filter { if case .evaluated = $0.event { false } else { true } }
    }

    /// Sorts what the machine wants done; an evaluation is the caller's.
    mutating func absorb(_ effect: Effect) {
        switch effect {
        case .record(let fact): commit.facts.append(fact)
        case .evaluate: preconditionFailure("an evaluation is answered at once")
        case .call(let call):
            calls.append(call)
            guard call.request.isAsync else { return }
            // 122 random bits: nobody guesses it.
            let token = UUID.random().description.replacing("-", with: "")
            tokens[TokenKey(step: call.step, op: call.op, send: call.send)] = token
            commit.callbacks.append(
                SagaCommit.CallbackToken(token: token, step: call.step, op: call.op, send: call.send))
        case .query(let query): queries.append(query)
        case .publish(let message): commit.messages.append(message)
        case .startChild(let step, let saga, let input, let key):
            commit.children.append(SagaCommit.Child(step: step, saga: saga, input: input, key: key))
        case .tellChild(let step, let act): commit.childActs.append((step, act))
        case .tellParent(let outcome): if hasParent { commit.outcome = outcome }
        case .bury(let letter): commit.letters.append(letter)
        case .settleLetters(let by, let reason): commit.settled = SagaCommit.Settlement(by: by, discarding: reason)
        }
    }

    private mutating func renewCommit() {
        let held = commit.held
        commit = SagaCommit(saga: commit.saga, lane: lane)
        commit.held = held
    }
}

extension Fact {
    fileprivate var isLate: Bool {
        if case .late = kind { true } else { false }
    }
}
