import Primitives

/// The database's time: as it was last heard, and this machine's steady clock since. A wall clock that is minutes off, or
/// jumps, changes nothing.
struct DatabaseClock: Sendable {
    private let heard: Timestamp
    private let at = ContinuousClock.now

    /// Just heard from the database.
    init(_ time: Timestamp) {
        heard = time
    }

    var now: Timestamp { heard + (ContinuousClock.now - at) }
}
