internal import Glibc
import Primitives
internal import Synchronization

/// A program that was started and is waited for. It dies with its parent, also when that is killed, and its output goes to a file.
package final class ChildProcess: Sendable {
    package struct CannotStart: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    package enum Exit: Sendable, Hashable {
        case code(Int32)
        case signal(Int32)
    }

    package let id: Int32

    /// The child's life as its own thread sees it.
    private final class Life: Sendable {
        let started = Mutex<Result<Int32, CannotStart>?>(nil)
        let exit = Mutex<Exit?>(nil)
    }

    private let life: Life
    private let thread: JoinableThread

    /// - Parameters:
    ///   - command: the program, looked for in PATH, and its arguments.
    ///   - user: runs it as this user, which needs root.
    ///   - environment: in addition to the own one.
    ///   - output: the file that standard output is appended to; nil throws it away.
    ///   - errors: the same for standard error; nil appends it to `output`.
    ///   - input: the file that is standard input; nil is nothing.
    ///   - deathSignal: what the child gets when this process ends, whatever ends it.
    package init(
        _ command: [String], user: String? = nil, environment: [String: String] = [:], directory: String? = nil,
        output: String? = nil, errors: String? = nil, input: String? = nil, deathSignal: String = "INT"
    ) throws(CannotStart) {
        // setpriv (util-linux) asks the kernel for the signal, which posix_spawn cannot.
        var words = ["setpriv", "--pdeathsig", deathSignal]
        if let user { words += ["--reuid", user, "--regid", user, "--clear-groups"] }
        if let directory { words += ["env", "--chdir", directory] }
        words += command
        let files = (input: input ?? "/dev/null", output: output ?? "/dev/null", errors: errors)
        let life = Life()
        let spawned = ThreadSignal()
        // The kernel sends the signal when the thread that started the child ends, and threads of a pool do end. So each
        // child has a thread of its own, which waits for it.
        thread = JoinableThread(name: "outrider-child") { [words] in
            let result = Self.spawn(words, environment, files)
            life.started.withLock { $0 = result }
            spawned.signal()
            guard case .success(let id) = result else { return }
            let exit = Self.await(id)
            life.exit.withLock { $0 = exit }
            Self.reap(id)
        }
        self.life = life
        spawned.wait()
        id = try (life.started.withLock { $0 } ?? .failure(CannotStart(description: "cannot start \(command[0])")))
            .get()
    }

    deinit {
        if status == nil { kill(SIGKILL) }
        thread.join()
    }

    private static func spawn(
        _ words: [String], _ environment: [String: String], _ files: (input: String, output: String, errors: String?)
    ) -> Result<Int32, CannotStart> {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, files.input, O_RDONLY, 0)
        let append = O_WRONLY | O_CREAT | O_APPEND
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, files.output, append, 0o644)
        if let errors = files.errors {
            posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors, append, 0o644)
        } else {
            posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        // A group of its own: Ctrl-C in the terminal is for us, and we say when the child is to stop.
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        let variables = currentEnvironment().merging(environment) { $1 }.map { strdup("\($0)=\($1)") } + [nil]
        defer { for pointer in arguments + variables { free(pointer) } }
        var id = pid_t()
        let failure = posix_spawnp(&id, words[0], &actions, &attributes, arguments, variables)
        guard failure == 0 else {
            return .failure(CannotStart(description: "cannot start \(words[0]): \(String(cString: strerror(failure)))"))
        }
        return .success(id)
    }

    /// Waits without taking the process from the kernel's table, so that its number cannot become another one's meanwhile.
    private static func await(_ id: Int32) -> Exit {
        var info = siginfo_t()
        while waitid(P_PID, UInt32(id), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        let status = info._sifields._sigchld.si_status
        return info.si_code == Int32(CLD_EXITED) ? .code(status) : .signal(status)
    }

    private static func reap(_ id: Int32) {
        var status: Int32 = 0
        while waitpid(id, &status, 0) < 0, errno == EINTR {}
    }

    /// How it ended; nil while it runs.
    package var status: Exit? { life.exit.withLock { $0 } }

    /// Blocks until it has ended.
    @discardableResult
    package func wait() -> Exit {
        thread.join()
        return status ?? .code(127)
    }

    /// To the process; harmless when it has ended.
    package func kill(_ signal: Int32) {
        life.exit.withLock { exit in
            if exit == nil { _ = Glibc.kill(id, signal) }
        }
    }
}

package func currentEnvironment() -> [String: String] {
    var variables: [String: String] = [:]
    var next: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = environ
    while let entry = next?.pointee {
        let text = String(cString: entry)
        if let equals = text.firstIndex(of: "=") {
            variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
        }
        next = next?.advanced(by: 1)
    }
    return variables
}
