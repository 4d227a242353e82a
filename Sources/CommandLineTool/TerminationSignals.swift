import Glibc
import Primitives

/// SIGTERM and SIGINT as events: the first asks to end in good order, the second ends at once.
enum TerminationSignals {
    /// To be called before any thread is started, so that all inherit the mask and none is killed by the signal.
    static func block() {
        signal(SIGPIPE, SIG_IGN)
        var set = terminating
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Calls the body, on a thread of its own, with the first signal.
    static func onFirst(_ body: @escaping @Sendable () -> Void) {
        // The thread lives as long as the process: nobody waits for it.
        _ = Unmanaged.passRetained(
            JoinableThread(name: "outrider-signal") {
                _ = next()
                body()
                exitNow(128 + next())
            })
    }

    private static func next() -> Int32 {
        var set = terminating
        var received: Int32 = 0
        while sigwait(&set, &received) != 0 {}
        return received
    }

    private static var terminating: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        return set
    }

    /// Without running destructors: whoever asked twice does not want to wait.
    private static func exitNow(_ status: Int32) {
        _exit(status)
    }
}
