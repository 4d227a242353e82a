/// This worker's part of a limit that holds over all workers. A value without I/O; whoever counts what is in use guards it.
///
/// It shrinks before the database knows, and grows after: together the workers never have more than the amount.
struct Share: Sendable {
    let name: String
    /// Requests in flight; of a rate, millionths of one a second.
    var amount: Int64
    private(set) var granted: Int64 = 0
    /// What it would be if nothing were in flight anywhere.
    private(set) var target: Int64 = 0
    /// What it could use.
    var need: Int64
    private var knownNeed: Int64?
    private var hasGivenBack = false

    init(name: String, amount: Int64, need: Int64) {
        self.name = name
        self.amount = amount
        self.need = need
    }

    /// The target is clear: what is above it and not in use is given up at once.
    mutating func settled(target: Int64, inUse: Int64) {
        self.target = target
        knownNeed = need
        hasGivenBack = false
        granted = min(granted, max(target, inUse))
    }

    /// The database has it.
    mutating func grew(to granted: Int64) {
        self.granted = max(self.granted, granted)
    }

    /// Something ended: what is above the target goes back. True if something does.
    @discardableResult
    mutating func ended(inUse: Int64) -> Bool {
        guard granted > target, granted > inUse else { return false }
        granted = max(target, inUse)
        hasGivenBack = true
        return true
    }

    /// The same under a new definition.
    func redefined(as new: Share) -> Share {
        var share = self
        share.amount = new.amount
        share.need = new.need
        return share
    }

    /// A new session has nothing.
    mutating func sessionBegan() {
        granted = 0
        target = 0
        knownNeed = nil
        hasGivenBack = false
    }

    /// Whether the workers are to negotiate at once.
    var hasNews: Bool { knownNeed == nil || hasGivenBack || knownNeed != need && granted < amount }

    /// Nothing more is to come.
    var isSatisfied: Bool { knownNeed != nil && granted == target }
}

/// What a worker says of its part of a limit when shares are negotiated.
struct Standing: Sendable {
    let name: String
    let amount: Int64
    let need: Int64
    let granted: Int64
    /// Whether all who take part draw on the same work, so that it does not matter who does it.
    let isCommon: Bool
}
