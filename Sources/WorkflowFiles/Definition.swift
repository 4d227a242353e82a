package import Primitives
package import Sagas

/// What one document of the workflow folder declares.
package enum Definition: Sendable, Hashable {
    case saga(SagaDefinition)
    case subscription(SubscriptionDefinition)
    case topic(TopicDefinition)
    case endpoint(EndpointDefinition)
    case schedule(ScheduleDefinition)

    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case saga, subscription, topic, endpoint, schedule
    }

    package var kind: Kind {
        switch self {
        case .saga: .saga
        case .subscription: .subscription
        case .topic: .topic
        case .endpoint: .endpoint
        case .schedule: .schedule
        }
    }

    /// Unique among the definitions of its kind; of sagas together with the version.
    package var name: String {
        switch self {
        case .saga(let saga): saga.name
        case .subscription(let subscription): subscription.name
        case .topic(let topic): topic.name
        case .endpoint(let endpoint): endpoint.name
        case .schedule(let schedule): schedule.name
        }
    }

    /// The document as canonical JSON: comments gone, aliases expanded, members sorted by name. `Definition(content:)`
    /// reads it again, so a definition can be stored by it and compared by it.
    package var content: JSON {
        switch self {
        case .saga(let saga): saga.content
        case .subscription(let subscription): subscription.content
        case .topic(let topic): topic.content
        case .endpoint(let endpoint): endpoint.content
        case .schedule(let schedule): schedule.content
        }
    }
}
