internal import CLibPQ
internal import Synchronization

/// Cancels what a connection is doing, from any thread.
///
/// libpq sends the request over a connection of its own and waits until the server has closed that, which it does after it has
/// signalled the backend. `cancel` returns only then; a caller that lets the next statement wait for it cannot hit that.
package final class Canceller: Sendable {
    private let handle: Mutex<Handle>

    private struct Handle: @unchecked Sendable {
        // libpq: PQcancel is thread-safe, the object is never written to after it was made.
        let pointer: OpaquePointer?
    }

    init(_ connection: OpaquePointer) {
        handle = Mutex(Handle(pointer: PQgetCancel(connection)))
    }

    deinit {
        handle.withLock { PQfreeCancel($0.pointer) }
    }

    /// Blocks until the server has taken the request.
    package func cancel() throws(PostgresError) {
        let message: String? = handle.withLock { handle in
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
                PQcancel(handle.pointer, buffer.baseAddress, 256) == 1 ? nil : String(cString: buffer.baseAddress!)
            }
        }
        if let message { throw .connectionLost(message) }
    }
}
