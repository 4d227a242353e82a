internal import CLibJQ
internal import Glibc

/// The process for expressions: the program itself, started again as `outrider --expression-worker`.
///
/// It can be killed at any moment and limits its own memory; whatever an expression does, it costs this process only.
package struct ExpressionWorker {
    /// How it ends when an expression wants more memory than its limit.
    static let memoryExitCode: Int32 = 77
    static let memoryLimitMegabytes = 64

    private enum Compiled {
        case program(JQProgram)
        case failed(String)
    }

    private var environment: [UInt8] = Array("{}".utf8)
    private var programs: [UInt32: Compiled] = [:]

    /// Answers requests on standard input until it ends.
    package static func serve() -> Never {
        // It ends with its parent, not with a signal to the group or the control group: evaluations go on while the
        // parent lets its work finish.
        signal(SIGTERM, SIG_IGN)
        signal(SIGINT, SIG_IGN)
        _ = outrider_die_with_parent()
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        var worker = ExpressionWorker()
        worker.run()
        exit(0)
    }

    private mutating func run() {
        var buffer = FrameBuffer()
        limitMemory()
        guard send(.ready) else { return }
        while true {
            while let frame = buffer.next() {
                guard let request = Request(frame) else { return }
                if let reply = answer(request), !send(reply) { return }
            }
            let isOpen = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 65_536) { piece in
                let count = read(STDIN_FILENO, piece.baseAddress, piece.count)
                if count > 0 { buffer.append(piece[..<count]) }
                return count > 0 || count < 0 && errno == EINTR
            }
            guard isOpen else { return }
        }
    }

    private mutating func answer(_ request: Request) -> Reply? {
        switch request {
        case .environment(let json):
            environment = json
            return nil
        case .program(let id, let text):
            do throws(JQProgram.CompileError) {
                programs[id] = .program(try JQProgram(text, environment: environment))
            } catch {
                programs[id] = .failed(error.message)
            }
            // Programs are part of the baseline, above which each expression has its room.
            limitMemory()
            return .ready
        case .run(let id, let input):
            switch programs[id] {
            case .program(let program): return program.run(input)
            case .failed(let message): return .syntax(message)
            case nil: return .syntax("the program is unknown")
            }
        case .check(let text):
            do throws(JQProgram.CompileError) {
                _ = try JQProgram(text, environment: environment)
                return .ready
            } catch {
                return .syntax(error.message)
            }
        }
    }

    private func send(_ reply: Reply) -> Bool {
        var bytes: [UInt8] = []
        reply.frame.write(into: &bytes)
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(STDOUT_FILENO, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 { rest.removeFirst(count) } else if errno != EINTR { return false }
        }
        return true
    }

    /// Allows as much data as there is now and the limit above it (Linux: RLIMIT_DATA bounds private mappings too).
    private func limitMemory() {
        guard let file = fopen("/proc/self/statm", "re") else { return }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, Int32(line.count), file) != nil else { return }
        let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(
            separator: " ")
        guard fields.count > 5, let pages = UInt(fields[5]) else { return }
        let now = pages * UInt(sysconf(Int32(_SC_PAGESIZE)))
        var limit = rlimit(rlim_cur: now + UInt(Self.memoryLimitMegabytes) << 20, rlim_max: rlim_t.max)
        setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit)
    }
}
