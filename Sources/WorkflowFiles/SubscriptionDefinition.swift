package import Delivery
package import Expressions
package import Primitives

/// Which topics go to which handler, and how they are delivered.
package struct SubscriptionDefinition: Sendable, Hashable {
    /// Where a subscription that is new to the database begins to read the log.
    package enum Start: Sendable, Hashable {
        case now
        case earliest
        case at(Timestamp)
    }

    package enum Guarantee: String, Sendable, Hashable, CaseIterable {
        case atLeastOnce = "at-least-once"
        /// Removed before it is sent; no retry.
        case atMostOnce = "at-most-once"
    }

    /// What becomes of a message whose tries are used up.
    package enum Exhaustion: String, Sendable, Hashable, CaseIterable {
        case deadLetter = "dead_letter"
        /// A dead letter that the later messages of its key wait for.
        case block
        case drop
    }

    /// Which tries are kept in `delivery_attempts`.
    package enum Audit: String, Sendable, Hashable, CaseIterable {
        case failures
        case all
    }

    /// How many deliveries may be in flight at once.
    package enum Concurrency: Sendable, Hashable, ExpressibleByIntegerLiteral {
        /// Over all workers together: 1...10000.
        case atMost(Int)
        /// As many as the handler can take, which each worker finds out for itself.
        case auto

        package init(integerLiteral value: Int) {
            self = .atMost(value)
        }
    }

    package var name: String
    /// At least one; a message that matches several is delivered once.
    package var topics: [TopicPattern]
    /// Default now.
    package var from: Start = .now
    /// Sees `.payload .topic .key .headers`; false ends the delivery as filtered.
    package var filter: Expression?
    package var target: DeliveryTarget
    /// Default at least once.
    package var guarantee: Guarantee = .atLeastOnce
    /// Whether the messages of a key are delivered one at a time, in the order of commits. Default false.
    package var isOrdered = false
    /// Deliveries of one key in flight at once, over all workers: 1...1000; nil, the default, for any number.
    package var concurrencyPerKey: Int?
    /// Default 64.
    package var concurrency: Concurrency = 64
    /// Of requests, over all workers together. Default none.
    package var rate: Rate?
    /// Default none: each message in a request of its own.
    package var batch: BatchDefinition?
    /// Of one try. Default 30 s.
    package var timeout: Duration = .seconds(30)
    package var retry = RetryPolicy()
    /// Default dead letter.
    package var onExhausted: Exhaustion = .deadLetter
    /// Default failures.
    package var audit: Audit = .failures
    /// See `Definition.content`.
    package var content: JSON

    /// How many messages of one key may be out at once; nil for any number.
    package var perKey: Int? { isOrdered ? 1 : concurrencyPerKey }
}
