/// How a request ended. Every request submitted ends in exactly one exchange.
package struct HTTPExchange: Sendable {
    /// The request's.
    package let id: UInt64
    package let result: Result<HTTPResponse, TransportFailure>
    /// From the moment libcurl got the request until it was done with it.
    package let duration: Duration
}
