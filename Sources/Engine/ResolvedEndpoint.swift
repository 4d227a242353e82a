import Expressions
import HTTPClient
import Primitives
import WorkflowFiles

/// An endpoint with its variables and secrets put in.
struct ResolvedEndpoint: Sendable {
    /// Without a slash at its end.
    let base: String
    /// Header lines that every request carries.
    let headers: [String]
    let signer: WebhookSigner?
    let tls: TLSOptions?
    /// Its limits and its breaker; nil where it has none.
    let gate: EndpointGate?
    /// What the secrets look like in a request: never to be repeated.
    private let secrets: [String]

    init(
        _ endpoint: EndpointDefinition, secrets store: Secrets, exposed: [String: String], gate: EndpointGate?
    ) throws {
        self.gate = gate
        var base = try endpoint.url.resolve(environment: exposed)
        if base.hasSuffix("/") { base.removeLast() }
        self.base = base
        var headers: [String] = []
        var sent: [String] = []
        for header in endpoint.headers {
            headers.append("\(header.name): \(try header.value.resolve(environment: exposed))")
        }
        if let authentication = endpoint.authentication {
            headers.append(try authentication.header(store))
            sent = try authentication.forms(store)
        }
        if let secret = try endpoint.signingSecret.map({ try store.resolve($0) }) {
            signer = try WebhookSigner(secret: secret)
            sent.append(secret.value)
        } else {
            signer = nil
        }
        guard !headers.contains(where: { $0.utf8.contains { $0 == 0x0A || $0 == 0x0D } }) else {
            throw RouteError(description: "a header of its endpoint holds a line break")
        }
        self.headers = headers
        let options = endpoint.tls
        let isSpecial = options.ca != nil || options.cert != nil || options.key != nil || !options.verify
        tls =
            isSpecial
            ? TLSOptions(authorities: options.ca, certificate: options.cert, key: options.key, verify: options.verify)
            : nil
        secrets = sent.filter { $0.utf8.count >= 4 }
    }

    /// A handler's words without the secrets that it was sent.
    func redacted(_ text: String) -> String {
        secrets.reduce(text) { $0.replacing($1, with: "***") }
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
