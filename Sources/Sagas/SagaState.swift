package import Primitives

/// All that a saga's decisions depend on. Made by nothing but its facts: applying the same history gives the same state.
package struct SagaState: Sendable, Hashable {
    /// - `running`: goes forward. Can transition to: all others.
    /// - `compensating`: the decision to abort is made; what is in flight is awaited, then what was started is undone, the
    ///   last started first. Can transition to: `compensated`, `failed`, `stuck`, `terminated`.
    /// - `stuck`: a person must act. Can transition to: `running` or `compensating`, where it came from; `terminated`.
    /// - `completed`, `compensated`, `failed`, `terminated`: ended. Only a completed sub-saga goes on, to `compensating`,
    ///   when its parent aborts.
    package enum Status: String, Sendable, Hashable, CaseIterable {
        case running, compensating, completed, compensated, failed, stuck, terminated

        package var hasEnded: Bool {
            switch self {
            case .completed, .compensated, .failed, .terminated: true
            case .running, .compensating, .stuck: false
            }
        }
    }

    package var status = Status.running
    package var suspendedAt: Timestamp?
    package var begunAt: Timestamp?
    /// Of the forward path.
    package var deadline: Timestamp?
    /// Why it aborts.
    package var failure: Failure?
    /// A reason to abort that came while the pivot was under way.
    package var noted: Failure?
    /// Why it is stuck.
    package var trouble: Trouble?
    package var hasPivoted = false
    package var output = JSON.null
    package var steps: [StepPath: StepState] = [:]
    /// In the order of their starts: compensation goes through it from its end.
    package var starts: [StepPath] = []
    /// Numbers starts and ends.
    package var clock = 0
    /// Failed or unknown, and neither retried nor skipped.
    package var failedSteps: Set<StepPath> = []
    /// Steps that an operator skipped after their expressions had failed: they have an output and no start.
    package var skippedBeforeStart: [StepPath] = []
    /// Whether `compensating` has been recorded.
    package var isUndoing = false
    /// Signals that no step has taken yet, the oldest first.
    package var signals: [String: [JSON]] = [:]
    /// Compensations that an operator skipped.
    package var skipped = 0

    package init() {}
}

/// Why a saga aborts or a step failed, as `failure` and `error` show it.
package struct Failure: Error, Sendable, Hashable {
    /// Of the step that failed; nil when it is the saga's own.
    package var step: StepPath?
    /// A problem type of the handler, or one of our own: `exhausted`, `refused`, `timeout`, `deadline`, `expression`, `cancelled`, …
    package var type: String
    /// Of a handler's problem (RFC 9457).
    package var title: String?
    package var detail: String?
    package var status: Int?

    package init(
        step: StepPath? = nil, type: String, title: String? = nil, detail: String? = nil, status: Int? = nil
    ) {
        self.step = step
        self.type = type
        self.title = title
        self.detail = detail
        self.status = status
    }

    package func at(_ step: StepPath) -> Failure {
        var failure = self
        failure.step = step
        return failure
    }

    /// All that is known but the type: `HTTP 402: Declined: no funds`.
    package var said: String? {
        var parts = [title, detail].compactMap(\.self)
        // An answer without a problem is told by its status already.
        if let status, detail?.hasPrefix("HTTP ") != true { parts.insert("HTTP \(status)", at: 0) }
        return parts.isEmpty ? nil : parts.joined(separator: ": ")
    }
}

/// Why a saga is stuck, and where.
package struct Trouble: Sendable, Hashable {
    package enum Reason: String, Sendable, Hashable {
        /// A compensation was refused or out of tries.
        case compensation
        /// A step after the pivot failed.
        case forward
        /// The pivot's outcome stays unknown.
        case pivot
        /// The saga's timeout came after the pivot.
        case timeout
        /// It was taken over from dead workers again and again.
        case abandoned
    }

    package var reason: Reason
    package var step: StepPath?
    package var op: Op
    package var detail: String?
    /// What the saga goes back to.
    package var interrupted: SagaState.Status

    package init(
        _ reason: Reason, step: StepPath? = nil, op: Op = .action, detail: String? = nil, interrupted: SagaState.Status
    ) {
        self.reason = reason
        self.step = step
        self.op = op
        self.detail = detail
        self.interrupted = interrupted
    }
}

package struct StepState: Sendable, Hashable {
    /// - `running`: a call is in flight, or an inner step is at work. Can transition to: all that follow.
    /// - `waiting`: for a retry, a callback, a signal, a time, a sub-saga. Can transition to: `running` and the ends.
    /// - `succeeded`, `failed`, `unknown` (it may have happened), `skipped`: ended. An operator can bring a failed or unknown
    ///   one back.
    package enum Status: String, Sendable, Hashable, CaseIterable {
        case pending, running, waiting, succeeded, failed, unknown, skipped
    }

    package enum CompensationStatus: String, Sendable, Hashable {
        case notRequired = "not_required"
        case pending, running, compensated, failed, skipped
    }

    package var status = Status.pending
    package var compensationStatus = CompensationStatus.notRequired
    /// The value of the saga's `clock` when it started and ended.
    package var startedAt: Int?
    package var endedAt: Int?
    package var action = Effort()
    package var undo: Effort?
    package var output = JSON.null
    package var error: Failure?
    /// The case that a `switch` chose; nil when none did.
    package var choice: Int?

    package init() {}
}

/// Tries towards one end, doing or undoing.
package struct Effort: Sendable, Hashable {
    package enum Phase: Sendable, Hashable {
        /// Nothing goes on: not begun, ended, or a step whose inner steps are at work.
        case idle
        /// A request is with the handler; after `until` it is given up.
        case trying(until: Timestamp)
        case retrying(at: Timestamp)
        /// The handler is still at work and is asked again.
        case ongoing(at: Timestamp)
        /// Accepted; the outcome comes by callback.
        case callback(until: Timestamp)
        case timer(until: Timestamp)
        case signal(name: String, until: Timestamp?)
        /// The signal has come.
        case received(JSON)
        /// A sub-saga is at work.
        case child
    }

    package var phase = Phase.idle
    /// What was evaluated: the body of a request, the arguments of a statement, the items of a loop, ….
    package var input = JSON.null
    package var request: Request?
    /// Tries that count, over all rounds.
    package var attempts = 0
    /// Those of earlier rounds: an operator's "try again" begins a new one.
    package var attemptsBefore = 0
    /// The next request repeats a try that a worker's death cut off.
    package var isRepeat = false
    /// Requests that were sent, or were about to be when a worker died: tells the answers of one from those of another.
    package var sends = 0
    /// How often an operator edited the input.
    package var edits = 0
    /// When the first try of this round began.
    package var began: Timestamp?
    package var deadline: Timestamp?
    /// A try had an outcome that is not known; sticky.
    package var mayHaveHappened = false
    /// The handler said that it was at work. A refusal that follows is its outcome; that it cannot be reached is none.
    package var isOngoing = false
    /// Until then a try whose worker died may still arrive.
    package var quietAt: Timestamp?
    package var lastError: Failure?
    /// The signal that it took.
    package var signal: JSON?
    /// When the latest request went out.
    package var sentAt: Timestamp?

    /// It has happened, or is happening, for all that is known.
    var isOpen: Bool { mayHaveHappened || isOngoing }

    package init() {}
}

/// A request as it was evaluated, once and for all tries. The body is the effort's input.
package enum Request: Sendable, Hashable {
    case http(HTTP)
    case sql

    /// Of the request of an async call, whose own timeout is that of the callback.
    static let asyncTimeout = Step.defaultTimeout

    var isAsync: Bool {
        if case .http(let http) = self { http.isAsync } else { false }
    }

    package struct HTTP: Sendable, Hashable {
        package var method: String
        /// A path where an endpoint is named.
        package var url: String
        package var endpoint: String?
        /// Complete lines.
        package var headers: [String]
        package var hasBody: Bool
        package var isAsync: Bool
    }
}
