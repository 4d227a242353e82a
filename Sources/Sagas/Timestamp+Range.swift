import Primitives

/// The history keeps times as RFC 3339, which has no more than four digits for a year.
extension Timestamp {
    static let earliest = Timestamp(microseconds: -62_167_219_200_000_000)
    static let latest = Timestamp(microseconds: 253_402_300_799_999_999)

    /// This much later, but no later than the history can say.
    func adding(_ time: Duration) -> Timestamp { min(self + time, .latest) }
}
