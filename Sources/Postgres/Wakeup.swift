internal import CLibPQ
internal import Glibc
import Primitives
internal import Synchronization

/// Ends somebody's wait from any thread: an eventfd. Signals that nobody has taken yet are one.
package final class Wakeup: Sendable {
    let descriptor: Int32
    private let isSignalled = Atomic(false)

    package init() {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        precondition(descriptor >= 0, "no eventfd: too many open files")
    }

    deinit {
        close(descriptor)
    }

    package func signal() {
        // The flag saves the system call when a signal is under way already.
        guard !isSignalled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        _ = eventfd_write(descriptor, 1)
    }

    /// Takes the signals that came so far. The flag is cleared before whoever was woken looks for work, so that none is missed.
    func take() {
        var count: eventfd_t = 0
        _ = eventfd_read(descriptor, &count)
        isSignalled.store(false, ordering: .sequentiallyConsistent)
    }

    /// Blocks the thread until signalled, or for the duration.
    package func wait(for duration: Duration) {
        var descriptors = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
        _ = poll(&descriptors, 1, milliseconds(duration))
        take()
    }
}

/// For poll(2): rounded up, so that a wait for less than a millisecond does not spin.
func milliseconds(_ duration: Duration) -> Int32 {
    Int32(clamping: (max(duration, .zero).microseconds + 999) / 1000)
}
