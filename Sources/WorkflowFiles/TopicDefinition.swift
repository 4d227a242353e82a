package import Primitives

/// The policy of a topic. One that no document declares has the defaults.
package struct TopicDefinition: Sendable, Hashable {
    package static let defaultRetention = Duration.seconds(86_400)

    package var name: String
    /// How long messages can be replayed at least; zero promises nothing after delivery. Default 1 d.
    package var retention: Duration = defaultRetention
    /// How long a dedupe key is remembered. Default: what the store has for undeclared topics.
    package var dedupeWindow: Duration?
    /// See `Definition.content`.
    package var content: JSON
}
