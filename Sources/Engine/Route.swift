import Delivery
import Expressions
import HTTPClient
import Primitives
package import WorkflowFiles

/// A subscription with its endpoint and secrets resolved: all that is the same for each of its deliveries.
package struct Route: Sendable {
    package let subscription: String
    let method: String
    let url: String
    /// Header lines that every request carries.
    let headers: [String]
    let signer: WebhookSigner?
    let tls: TLSOptions?
    let timeout: Duration
    let concurrency: Int
    let guarantee: SubscriptionDefinition.Guarantee
    let filter: Expression?
    let machine: DeliveryMachine
    let recordsAll: Bool
    /// What the endpoint's secrets look like in a request: never to be repeated.
    let secrets: [String]

    /// A handler's words without the secrets that it was sent.
    func redacted(_ text: String) -> String {
        secrets.reduce(text) { $0.replacing($1, with: "***") }
    }
}

/// Why a worker cannot serve a subscription, in words for an operator.
package struct RouteError: Error, Sendable, CustomStringConvertible {
    package let description: String
}

/// Where routes get what the files only name.
package struct RouteResolver: Sendable {
    private let endpoints: [String: Result<EndpointDefinition, DefinitionError>]
    private let secrets: Secrets
    /// The variables that expressions may see.
    private let exposed: [String: String]
    private let source: String

    package init(
        endpoints: [String: Result<EndpointDefinition, DefinitionError>], secrets: Secrets, exposed: [String: String],
        source: String
    ) {
        self.endpoints = endpoints
        self.secrets = secrets
        self.exposed = exposed
        self.source = source
    }

    package func resolve(_ definition: SubscriptionDefinition) throws(RouteError) -> Route {
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
        }
        var url = try target.url.resolve(environment: exposed)
        var headers = [
            "Content-Type: application/json",
            "User-Agent: outrider/\(outriderVersion)",
            "ce-specversion: 1.0",
            "ce-source: \(source)",
            "Outrider-Subscription: \(definition.name)",
        ]
        var signer: WebhookSigner?
        var tls: TLSOptions?
        var sent: [String] = []
        if let name = target.endpoint {
            guard let endpoint = try endpoints[name]?.get() else {
                throw RouteError(description: "there is no endpoint \(name)")
            }
            var base = try endpoint.url.resolve(environment: exposed)
            if base.hasSuffix("/") { base.removeLast() }
            url = base + url
            for header in endpoint.headers {
                headers.append("\(header.name): \(try header.value.resolve(environment: exposed))")
            }
            if let authentication = endpoint.authentication {
                headers.append(try authentication.header(secrets))
                sent = try authentication.forms(secrets)
            }
            if let secret = try endpoint.signingSecret.map({ try secrets.resolve($0) }) {
                signer = try WebhookSigner(secret: secret)
                sent.append(secret.value)
            }
            let options = endpoint.tls
            if options.ca != nil || options.cert != nil || options.key != nil || !options.verify {
                tls = TLSOptions(
                    authorities: options.ca, certificate: options.cert, key: options.key, verify: options.verify)
            }
        }
        guard !headers.contains(where: { $0.utf8.contains { $0 == 0x0A || $0 == 0x0D } }) else {
            throw RouteError(description: "a header of its endpoint holds a line break")
        }
        let exhausted: DeliveryMachine.Exhausted =
            switch definition.onExhausted {
            case .deadLetter: .deadLetter
            case .drop: .drop
            }
        return Route(
            subscription: definition.name, method: target.method.rawValue, url: url, headers: headers, signer: signer,
            tls: tls, timeout: definition.timeout, concurrency: definition.concurrency, guarantee: definition.guarantee,
            filter: definition.filter, machine: DeliveryMachine(policy: definition.retry, onExhausted: exhausted),
            recordsAll: definition.audit == .all, secrets: sent.filter { $0.utf8.count >= 4 })
    }
}

extension EndpointDefinition.Authentication {
    /// The secret, and what else it looks like in a header.
    fileprivate func forms(_ secrets: Secrets) throws -> [String] {
        switch self {
        case .bearer(let secret), .header(_, let secret): [try secrets.resolve(secret).value]
        case .basic(let username, let password):
            [try secrets.resolve(password).value, base64("\(username):\(try secrets.resolve(password).value)".utf8)]
        }
    }

    fileprivate func header(_ secrets: Secrets) throws -> String {
        switch self {
        case .bearer(let secret): "Authorization: Bearer \(try secrets.resolve(secret).value)"
        case .basic(let username, let password):
            "Authorization: Basic \(base64("\(username):\(try secrets.resolve(password).value)".utf8))"
        case .header(let name, let secret): "\(name): \(try secrets.resolve(secret).value)"
        }
    }
}
