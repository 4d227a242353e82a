package import Delivery
package import Primitives

/// What happened to a saga: one row of its history. The state is made of nothing else.
package struct Fact: Sendable, Hashable {
    package var at: Timestamp
    package var step: StepPath?
    package var op: Op?
    /// The number of the try that it speaks of, from 1.
    package var attempt: Int?
    package var kind: Kind

    package init(at: Timestamp, step: StepPath? = nil, op: Op? = nil, attempt: Int? = nil, _ kind: Kind) {
        self.at = at
        self.step = step
        self.op = op
        self.attempt = attempt
        self.kind = kind
    }

    package enum Kind: Sendable, Hashable {
        // Of the saga
        case begun(deadline: Timestamp?)
        /// The decision to abort: durable before anything is undone.
        case aborting(Failure)
        /// A reason to abort that waits for the pivot's outcome.
        case noted(Failure)
        /// What will be undone, in this order.
        case compensating([StepPath])
        case completed(output: JSON)
        case compensated
        case failed(Failure)
        case stuck(Trouble)
        case terminated(reason: String, by: String)
        case suspended(by: String, reason: String? = nil)
        case resumed(by: String, reason: String? = nil)
        /// A signal came; it is kept until a step takes it.
        case signalled(event: String, payload: JSON, by: String)
        /// Something that was asked for and changes nothing in this state.
        case refused(act: String, reason: String, by: String)
        /// What a hook would have published could not be made.
        case hookFailed(hook: String, error: String)

        // Of a step, forward or back
        case started(Start)
        /// A further try goes out.
        case sent(until: Timestamp)
        case tryFailed(Failure, happened: TryOutcome.Knowledge, next: Timestamp)
        /// The endpoint is kept from requests, or this one was to see whether it still has to be: the same try, later.
        case postponed(Failure, happened: TryOutcome.Knowledge, next: Timestamp)
        case ongoing(next: Timestamp)
        case accepted(until: Timestamp)
        case heartbeat(until: Timestamp)
        /// The worker died while the try was in flight.
        case lost
        /// A signal was taken by its step.
        case received(event: String, payload: JSON)
        case succeeded(output: JSON)
        /// For good. `isUnknown`: it may have happened.
        case stepFailed(Failure, isUnknown: Bool)
        case skipped(reason: String, output: JSON, by: String?)
        /// An answer or callback that came when nobody waited for it; changes nothing.
        case late(String)
        /// An operator has it tried again, with another input if given.
        case retried(input: JSON?, by: String, reason: String? = nil)
        /// An operator says what became of it.
        case resolved(happened: Bool, by: String, reason: String? = nil)
    }

    package struct Start: Sendable, Hashable {
        package var input = JSON.null
        package var request: Request?
        /// What it waits for, or how long its first try may take.
        package var phase = Effort.Phase.idle
        package var deadline: Timestamp?
        package var choice: Int?
        /// Whether the definition says how to undo it.
        package var compensates = false

        package init() {}
    }
}
