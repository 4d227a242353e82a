package import Primitives

/// The policy of a topic. One that no document declares has the defaults.
package struct TopicDefinition: Sendable, Hashable {
    package static let defaultRetention = Duration.seconds(86_400)

    /// What becomes of a message when a limit is reached.
    package enum Overflow: String, Sendable, Hashable, CaseIterable {
        /// Its publisher is refused.
        case reject
        /// Its publisher waits.
        case block
        /// The oldest messages that wait are given up for it.
        case dropOldest = "drop_oldest"
        /// It goes only to the subscriptions that have room.
        case dropNewest = "drop_newest"
    }

    package var name: String
    /// How long messages can be replayed at least; zero promises nothing after delivery. Default 1 d.
    package var retention: Duration = defaultRetention
    /// How long a dedupe key is remembered. Default: what the store has for undeclared topics.
    package var dedupeWindow: Duration?
    /// How many messages may wait for the deepest of its subscriptions. Default: any number.
    package var maxBacklog: Int?
    package var overflow: Overflow = .reject
    /// The longest that a publisher waits, where it does. Default 5 s.
    package var blockFor: Duration = .seconds(5)
    /// How many messages its publishers may bring, over all of them. Default: any number.
    package var publishRate: Rate?
    /// See `Definition.content`.
    package var content: JSON
}
