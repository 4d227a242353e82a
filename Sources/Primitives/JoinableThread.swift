internal import Glibc
internal import Synchronization

/// A thread of its own for what blocks: with a name that `top -H` shows, of at most 15 bytes. It receives no signals, so that
/// these reach the threads that wait for them.
package final class JoinableThread: Sendable {
    private final class Body {
        let name: String
        let run: @Sendable () -> Void

        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    private let id: pthread_t
    private let joined = Mutex(false)

    package init(name: String, run: @escaping @Sendable () -> Void) {
        let body = Unmanaged.passRetained(Body(name: name, run: run))
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        // The new thread inherits the mask, SIGPIPE included: OpenSSL writes without MSG_NOSIGNAL.
        pthread_sigmask(SIG_SETMASK, &all, &before)
        var id = pthread_t()
        let failure = pthread_create(
            &id, nil,
            { argument in
                let body = Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue()
                nameThisThread(body.name)
                body.run()
                return nil
            }, body.toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        precondition(failure == 0, "cannot start the thread \(name): \(String(cString: strerror(failure)))")
        self.id = id
    }

    deinit {
        // A thread that nobody joins keeps its stack after its end unless it is detached.
        if !joined.withLock({ $0 }) { pthread_detach(id) }
    }

    /// Waits for the end, the first time it is called. Called on the thread itself it lets it end on its own.
    package func join() {
        let first = joined.withLock { joined in
            defer { joined = true }
            return !joined
        }
        guard first else { return }
        if pthread_equal(id, pthread_self()) != 0 {
            pthread_detach(id)
        } else {
            pthread_join(id, nil)
        }
    }
}

/// By the file, since Swift's Glibc lacks `pthread_setname_np` (proc(5), /proc/[pid]/comm).
private func nameThisThread(_ name: String) {
    let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    _ = write(file, name, name.utf8.count)
    close(file)
}
