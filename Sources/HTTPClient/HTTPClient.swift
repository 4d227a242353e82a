internal import Primitives

/// Sends many HTTP requests at once from one thread of its own (`outrider-http`), over libcurl's multi interface.
///
/// HTTP/1.1 with connections kept alive; HTTP/2 where a TLS server chooses it by ALPN. Proxies follow curl's standard: the
/// environment variables `http_proxy`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` (curl(1), ENVIRONMENT).
/// How many requests are in flight is up to the caller; while the thread is busy all the time, some of them wait here (`Crowd`).
package final class HTTPClient: Sendable {
    private let inbox: Inbox
    private let thread: JoinableThread

    /// - Parameters:
    ///   - connections: how many connections, in use or kept alive, it takes until each request that ends has the oldest idle
    ///     one closed. To be larger than what is ever in flight, else connections are not used again. 2,048 by default.
    ///   - onCompletion: called on the client's thread with all requests that ended in one turn. It must not block: nothing
    ///     is sent or received meanwhile. It may submit further requests.
    package init(connections: Int = 2048, onCompletion: @escaping @Sendable ([HTTPExchange]) -> Void) {
        let inbox = Inbox(onCompletion: onCompletion)
        self.inbox = inbox
        thread = JoinableThread(name: "outrider-http") {
            TransferLoop(inbox: inbox, connections: connections).run()
        }
    }

    deinit {
        close()
    }

    /// Queues the requests; from any thread. After `close` they end at once, as cancelled, on the caller's thread.
    package func submit(_ requests: [HTTPRequest]) {
        if requests.isEmpty || inbox.put(requests) { return }
        inbox.onCompletion(requests.map { $0.cancelled() })
    }

    /// Ends everything submitted so far as cancelled, unless it is already done.
    package func cancelAll() {
        inbox.cancelAll()
    }

    /// Cancels everything, waits until all of it has been reported, and ends the thread. Harmless when repeated.
    package func close() {
        inbox.close()
        thread.join()
    }
}
