package import Primitives

/// What a claim hands to a worker: the queue's row and the message that it points to.
package struct ClaimedDelivery: Sendable {
    /// Of the row in the queue, not of the message.
    package let id: Int64
    package let subscription: Int32
    /// Token of the worker that holds the row; nil when the row was removed by the claim (at-most-once).
    package let owner: UUID?
    /// Tries that were made before this one.
    package let attempts: Int
    package let isReplay: Bool
    /// Whether it holds a slot of its key, which goes to the next message of the key when this one has ended for good.
    package let isKeyed: Bool
    /// Since the first try began, by the database's clock at the claim; nil before the first try.
    package let elapsed: Duration?
    /// Nil when the log does not hold the message any more, which is somebody's manual delete.
    package let message: Message?
    package let messageID: UUID

    /// SQL: the row `d` of the queue is the one that `t` names. Written so, it can be looked up in the index by both columns,
    /// and the planner can do nothing else with it: of a plain join it turns the order round, and reads the whole queue for
    /// each statement, whenever its statistics were taken while the table was empty or full of what was not committed yet.
    static let isRow = "d.subscription_id = any (array[t.subscription]) and d.id >= t.id and d.id <= t.id"

    package struct Message: Sendable {
        package let topic: String
        package let key: String?
        /// The JSON as PostgreSQL prints it.
        package let payload: [UInt8]
        /// A JSON object of strings.
        package let headers: [UInt8]?
        package let publishedAt: Timestamp
        package let isExpired: Bool
    }
}

/// How many rows a subscription has room for, and the id from which on to look.
package struct ClaimRequest: Sendable {
    package var subscription: Int32
    package var count: Int
    package var floor: Int64
    package var removes: Bool

    package init(subscription: Int32, count: Int, floor: Int64, removes: Bool) {
        self.subscription = subscription
        self.count = count
        self.floor = floor
        self.removes = removes
    }
}

/// A try that is over, as the database learns of it.
package struct FinishedTry: Sendable {
    package enum Ending: Sendable {
        /// The row goes; nothing is left to do.
        case done
        case again(after: Duration, attempts: Int)
        case dead(reason: String)
    }

    package var delivery: ClaimedDelivery
    package var attempt: Int
    /// As in `delivery_attempts.outcome`.
    package var outcome: String
    package var status: Int?
    package var duration: Duration
    package var error: String?
    package var ending: Ending
    /// Whether the try is to be seen in `delivery_attempts`.
    package var isRecorded: Bool
    /// What the handler answered, where the message asks for it.
    package var reply: Reply?

    package init(
        delivery: ClaimedDelivery, attempt: Int, outcome: String, status: Int? = nil, duration: Duration = .zero,
        error: String? = nil, ending: Ending, isRecorded: Bool
    ) {
        self.delivery = delivery
        self.attempt = attempt
        self.outcome = outcome
        self.status = status
        self.duration = duration
        self.error = error
        self.ending = ending
        self.isRecorded = isRecorded
    }
}
