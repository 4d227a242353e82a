/// Why there is no answer, and what that says about the request.
package struct TransportFailure: Error, Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// Not a byte of the request left: refused, name not resolved, TLS handshake failed, timeout while connecting, or a
        /// request that cannot be sent. The server knows nothing of it.
        case notStarted
        /// Nothing left, because this process has no file descriptor or memory left for a connection.
        case noResources
        /// At least a part was sent: timeout, connection lost, answer that is not HTTP. The server may have done it.
        case unknown
        /// The answer's body is longer than the limit; `received` bytes had come when it was cut off.
        case tooLarge(received: Int)
        /// By `cancelAll` or `close`; `sent` says whether any of the request had left.
        case cancelled(sent: Bool)
    }

    package let kind: Kind
    /// For people: the host and the reason; never a header's value, the body, or what follows the host in the URL.
    package let message: String
}

extension TransportFailure: CustomStringConvertible {
    package var description: String { message }
}
