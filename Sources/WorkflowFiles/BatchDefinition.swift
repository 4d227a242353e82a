/// `batch: { max: 100, linger: 5ms }`: many messages in one request.
package struct BatchDefinition: Sendable, Hashable {
    /// Messages in one request: 1...1000, default 100. One that waits alone goes alone, as a batch of one.
    package var max = 100
    /// How long a batch that is not full waits for more, from the moment its first message is at hand: 0...10 s, default 0.
    package var linger: Duration = .zero

    package init() {}
}
