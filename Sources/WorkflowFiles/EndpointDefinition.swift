package import Delivery
package import Expressions
package import Primitives

/// A named destination: its address, credentials and TLS settings.
package struct EndpointDefinition: Sendable, Hashable {
    package struct Header: Sendable, Hashable {
        package var name: String
        /// May hold `$env.NAME`.
        package var value: Template
    }

    /// Credentials; secrets stand in them by name only.
    package enum Authentication: Sendable, Hashable {
        /// `Authorization: Bearer <secret>`
        case bearer(SecretReference)
        /// RFC 7617.
        case basic(username: String, password: SecretReference)
        /// A header of the user's choice.
        case header(name: String, value: SecretReference)
    }

    package struct TLS: Sendable, Hashable {
        /// Paths of PEM files. Default: the system's authorities, no client certificate.
        package var ca: String?
        package var cert: String?
        package var key: String?
        /// Whether the server's certificate is checked. Default true.
        package var verify = true
    }

    package var name: String
    package var url: URLTemplate
    package var headers: [Header] = []
    package var authentication: Authentication?
    /// The secret of Standard Webhooks signatures.
    package var signingSecret: SecretReference?
    package var tls = TLS()
    /// Requests in flight at once, over all workers and whatever they are for: 1...10000, default none.
    package var concurrency: Int?
    /// Of requests, over all workers together. Default none.
    package var rate: Rate?
    /// Default none.
    package var breaker: CircuitBreaker.Policy?
    /// See `Definition.content`.
    package var content: JSON
}
