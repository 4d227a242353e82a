internal import CLibJQ
internal import Glibc
internal import Primitives

/// One running process for expressions and the socket to it. Used by one thread.
final class WorkerProcess {
    /// How a conversation ends early.
    enum Failure: Error {
        case timedOut
        /// The process ended by itself or was killed.
        case ended(status: Int32)
    }

    let id: pid_t
    private let socket: Int32
    private var incoming = FrameBuffer()
    private var outgoing: [UInt8] = []
    private var isReaped = false
    /// Numbers of the programs that it has.
    var programs: [String: UInt32] = [:]

    /// - Throws: `ExpressionError.unavailable`.
    init(executable: String, arguments: [String]) throws(ExpressionError) {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw .unavailable("no socket: \(String(cString: strerror(errno)))")
        }
        defer { close(ends[1]) }
        do throws(ExpressionError) {
            id = try Self.spawn(executable, arguments, standard: ends[1])
        } catch {
            close(ends[0])
            throw error
        }
        socket = ends[0]
        _ = fcntl(socket, F_SETFL, O_NONBLOCK)
    }

    deinit {
        kill()
        close(socket)
    }

    private static func spawn(
        _ executable: String, _ arguments: [String], standard: Int32
    ) throws(ExpressionError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, standard, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, standard, STDOUT_FILENO)
        // An assertion of libjq would print what it was working on.
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        // A database session must end with the worker: no copy of its socket may live on here.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))

        // Nothing of the worker's environment but where its libraries are.
        var variables: [UnsafeMutablePointer<CChar>?] = []
        if let path = getenv("LD_LIBRARY_PATH") { variables.append(strdup("LD_LIBRARY_PATH=" + String(cString: path))) }
        variables.append(nil)
        var words: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
        words.append(nil)
        defer { for pointer in words + variables { free(pointer) } }
        var id = pid_t()
        let failure = posix_spawn(&id, executable, &actions, &attributes, words, variables)
        guard failure == 0 else {
            throw .unavailable("\(executable) cannot be started: \(String(cString: strerror(failure)))")
        }
        return id
    }

    // MARK: - Talking

    /// Takes a request to be sent while waiting for replies.
    func queue(_ request: Request) {
        request.frame.write(into: &outgoing)
    }

    /// The next reply; what is queued is sent meanwhile.
    func reply(within limit: Duration) throws(Failure) -> Reply {
        let deadline = ContinuousClock.now + limit
        while true {
            if let frame = incoming.next() {
                guard let reply = Reply(frame) else { throw .ended(status: kill()) }
                return reply
            }
            let left = ContinuousClock.now.duration(to: deadline)
            var state = pollfd(
                fd: socket, events: Int16(outgoing.isEmpty ? POLLIN : POLLIN | POLLOUT), revents: 0)
            // Even when the time is over what has come is read first: this process itself may have been held up.
            let ready = poll(&state, 1, left > .zero ? Int32(left.milliseconds + 1) : 0)
            if ready == 0 { throw .timedOut }
            if state.revents & Int16(POLLOUT) != 0 { flush() }
            if state.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 {
                guard receive() else { throw .ended(status: kill()) }
            }
        }
    }

    private func flush() {
        let count = outgoing.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if count > 0 { outgoing.removeFirst(count) }
        // A process that is gone is noticed by reading.
        if count < 0, errno == EPIPE || errno == ECONNRESET { outgoing = [] }
    }

    /// False at the end of the stream.
    private func receive() -> Bool {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 65_536) { piece in
            let count = read(socket, piece.baseAddress, piece.count)
            if count > 0 { incoming.append(piece[..<count]) }
            return count > 0 || count < 0 && (errno == EINTR || errno == EAGAIN)
        }
    }

    /// Kills and reaps; the status as `waitpid` gives it, 0 when somebody else has reaped.
    @discardableResult
    func kill() -> Int32 {
        guard !isReaped else { return 0 }
        isReaped = true
        Glibc.kill(id, SIGKILL)
        var status: Int32 = 0
        while waitpid(id, &status, 0) < 0, errno == EINTR {}
        return status
    }
}
