package import Store

/// Finds ids below which nothing can be left in the queue, so that claims never wade through rows that are dead but cannot be
/// vacuumed while somebody holds an old snapshot.
///
/// The rule: let M be the newest id that was drawn when some transaction T of ours begins to write. Whoever drew an id up to M
/// began to write before T, because ids are drawn after the row of the log is written. Once every transaction that began
/// before T has ended (`oldestRunning >= next`, T's own number), all ids up to M are decided: there or never. M is *sealed*. A
/// claim that is made after that and finds nothing (more) up to M proves that nothing will ever be there: rows that come back
/// get new ids.
///
/// A value per session: a promoted standby may give out lower ids again, so it must not outlive the connection.
package struct Floor: Sendable {
    private var candidate: (id: Int64, next: UInt64)?
    private var lastRead: Int64?
    /// The newest id of which it is known that no transaction can still bring it or an older one.
    private(set) var sealed: Int64 = 0

    package init() {}

    /// One reading of the horizon. Its transaction began to write after the reading before, whose id goes with it.
    package mutating func observed(_ horizon: Exchange.Horizon) {
        if let candidate, horizon.oldestRunning >= candidate.next {
            sealed = max(sealed, candidate.id)
            self.candidate = nil
        }
        if candidate == nil, let lastRead, let next = horizon.next { candidate = (lastRead, next) }
        lastRead = horizon.newestID
    }

    /// The new floor of one subscription after a claim above `floor` that began after the last reading.
    ///
    /// - Parameters:
    ///   - asked: how many rows the claim had room for.
    ///   - newest: the largest id that it returned, nil when it returned nothing.
    package func raised(_ floor: Int64, asked: Int, got: Int, newest: Int64?) -> Int64 {
        let proven = got < asked ? sealed : min(sealed, newest ?? 0)
        return max(floor, proven)
    }
}
