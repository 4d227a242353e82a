/// The advisory locks of Outrider: the first key says what is locked, the second which one of it. `Migrations/001_outbox.up.sql`
/// explains them where they are taken.
enum AdvisoryLock {
    /// Held exclusively by a worker that sleeps, shared by whoever makes work; second key: the subscription.
    static let sleep: Int32 = 1_870_033_010
    /// Held by a worker's session as long as it lives; second key: the worker.
    static let life: Int32 = 1_870_033_011
    /// Held by the one worker that keeps house.
    static let housekeeping: Int32 = 1_870_033_012
    /// Held while migrating or applying definitions.
    static let schema: Int32 = 1_870_033_013
    /// Shared by the workers that serve a schedule; second key: the schedule.
    static let schedule: Int32 = 1_870_033_020
    /// Held while shares of limits are changed.
    static let limits: Int32 = 1_870_033_017
}
