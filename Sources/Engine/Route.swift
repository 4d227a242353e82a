import Delivery
import Expressions
import Primitives
import Sagas
import WorkflowFiles

/// A subscription with its endpoint and secrets resolved: all that is the same for each of its deliveries.
struct Route: Sendable {
    let subscription: String
    let method: String
    let url: String
    /// Header lines that every request carries.
    let headers: [String]
    let endpoint: ResolvedEndpoint?
    let timeout: Duration
    let concurrency: SubscriptionDefinition.Concurrency
    let rate: Rate?
    /// Whether handlers are told by a number which of two sends of a key came later.
    let isFenced: Bool
    /// Nil: each message in a request of its own.
    let batch: Batch?
    /// Nil: messages are sent, not run.
    var statement: Statement?
    let guarantee: SubscriptionDefinition.Guarantee
    let filter: Expression?
    let machine: DeliveryMachine
    let recordsAll: Bool

    /// Many messages in one request.
    struct Batch: Sendable {
        let max: Int
        let linger: Duration
        /// How each event of it begins, up to its id.
        let eventHead: [UInt8]

        init(_ definition: BatchDefinition, source: String) {
            max = definition.max
            linger = definition.linger
            eventHead = BatchRequest.eventHead(source: source)
        }
    }

    /// What is run instead of sending anything.
    struct Statement: Sendable {
        let text: String
        let arguments: [ValueTemplate]
    }

    /// A handler's words without the secrets that it was sent.
    func redacted(_ text: String) -> String { endpoint?.redacted(text) ?? text }
}

/// Why a worker cannot serve a subscription, in words for an operator.
package struct RouteError: Error, Sendable, CustomStringConvertible {
    package let description: String
}

/// Where routes get what the files only name.
struct RouteResolver: Sendable {
    private let endpoints: [String: Result<EndpointDefinition, DefinitionError>]
    private let secrets: Secrets
    /// The variables that expressions may see.
    private let exposed: [String: String]
    private let source: String
    private let limits: Limits?

    /// - Parameter limits: where the gates of endpoints are; nil for a resolver that sends nothing.
    init(
        endpoints: [String: Result<EndpointDefinition, DefinitionError>], secrets: Secrets, exposed: [String: String],
        source: String, limits: Limits? = nil
    ) {
        self.endpoints = endpoints
        self.secrets = secrets
        self.exposed = exposed
        self.source = source
        self.limits = limits
    }

    func resolve(_ definition: SubscriptionDefinition) throws(RouteError) -> Route {
        do {
            return try route(definition)
        } catch let error as RouteError {
            throw error
        } catch {
            throw RouteError(description: "\(error)")
        }
    }

    private func route(_ definition: SubscriptionDefinition) throws -> Route {
        let target: HTTPTarget
        switch definition.target {
        case .http(let http): target = http
        case .sql(let call): return route(definition, to: call)
        }
        let endpoint = try target.endpoint.map { try self.endpoint($0) }
        let headers =
            [
                "User-Agent: outrider/\(outriderVersion)",
                "Outrider-Subscription: \(definition.name)",
            ]
            + (definition.batch == nil
                ? ["Content-Type: application/json", "ce-specversion: 1.0", "ce-source: \(source)"]
                : ["Content-Type: application/cloudevents-batch+json"]) + (endpoint?.headers ?? [])
        return Route(
            subscription: definition.name, method: target.method.rawValue,
            url: (endpoint?.base ?? "") + (try target.url.resolve(environment: exposed)), headers: headers,
            endpoint: endpoint, timeout: definition.timeout, concurrency: definition.concurrency, rate: definition.rate,
            isFenced: definition.isOrdered, batch: definition.batch.map { Route.Batch($0, source: source) },
            guarantee: definition.guarantee,
            filter: definition.filter, machine: DeliveryMachine(definition),
            recordsAll: definition.audit == .all)
    }

    private func route(_ definition: SubscriptionDefinition, to call: SQLCall) -> Route {
        Route(
            subscription: definition.name, method: "", url: "", headers: [], endpoint: nil, timeout: definition.timeout,
            concurrency: definition.concurrency, rate: definition.rate, isFenced: false, batch: nil,
            statement: Route.Statement(text: call.statement, arguments: call.arguments),
            guarantee: definition.guarantee, filter: definition.filter, machine: DeliveryMachine(definition),
            recordsAll: definition.audit == .all)
    }

    func endpoint(_ name: String) throws -> ResolvedEndpoint {
        guard let endpoint = try endpoints[name]?.get() else {
            throw RouteError(description: "there is no endpoint \(name)")
        }
        return try ResolvedEndpoint(endpoint, secrets: secrets, exposed: exposed, gate: limits?.gate(for: endpoint))
    }
}

extension DeliveryMachine {
    fileprivate init(_ definition: SubscriptionDefinition) {
        let exhausted: Exhausted =
            switch definition.onExhausted {
            case .deadLetter, .block: .deadLetter
            case .drop: .drop
            }
        self.init(policy: definition.retry, onExhausted: exhausted)
    }
}
