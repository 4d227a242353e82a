import Glibc
import Primitives

/// SIGTERM and SIGINT as events: the first asks to end in good order, the second ends at once.
///
/// A handler writes the signal's number into a pipe, which a thread reads. Not sigwait(3): the main thread of a concurrent
/// program sleeps in libdispatch's sigsuspend(2), which lets every signal through to it, whatever was blocked.
enum TerminationSignals {
    /// Written once, before the handler is installed.
    nonisolated(unsafe) private static var pipeEnd: Int32 = -1

    /// A write to a socket whose peer is gone must be an error of that write, not the end of the process.
    static func ignoreBrokenPipes() {
        signal(SIGPIPE, SIG_IGN)
    }

    /// Calls the body, on a thread of its own, with the first signal. To be called once.
    static func onFirst(_ body: @escaping @Sendable () -> Void) {
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "no pipe: too many open files")
        let reader = ends[0]
        pipeEnd = ends[1]
        for number in ends { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
        // The thread lives as long as the process: nobody waits for it.
        _ = Unmanaged.passRetained(
            JoinableThread(name: "outrider-signal") {
                _ = next(reader)
                body()
                // Without destructors: whoever asks twice does not want to wait.
                _exit(128 + Int32(next(reader)))
            })
        for number in [SIGTERM, SIGINT] {
            signal(number) { number in
                var byte = UInt8(truncatingIfNeeded: number)
                _ = write(TerminationSignals.pipeEnd, &byte, 1)
            }
        }
    }

    private static func next(_ reader: Int32) -> UInt8 {
        var byte: UInt8 = 0
        while read(reader, &byte, 1) != 1 {}
        return byte
    }
}
