package import Delivery
package import Expressions
package import Sagas

/// Where a delivery goes.
package enum DeliveryTarget: Sendable, Hashable {
    case http(HTTPTarget)
    /// A statement in Outrider's own database, in the transaction that acknowledges: exactly once.
    case sql(SQLCall)
}

/// `deliver: { http: METHOD URL }`, or with `endpoint:` a path below the endpoint's URL.
package struct HTTPTarget: Sendable, Hashable {
    package var method: HTTPMethod
    /// Absolute; or with an endpoint a path that begins with `/`, or nothing.
    package var url: URLTemplate
    /// The name of an endpoint document.
    package var endpoint: String?
}
