internal import CLibPQ
internal import Glibc
import Primitives

/// A session with a server. Not `Sendable`: it belongs to one thread, and a unit of work is done there in one go.
///
/// Calls block the thread, so it must be a thread of one's own: see `DedicatedThread` and `Session`. libpq never raises SIGPIPE
/// where the platform has MSG_NOSIGNAL, which Linux does (libpq manual, section 34.20).
package final class Connection {
    private let handle: OpaquePointer
    /// libpq has its address.
    private let noticeReceiver: NoticeReceiver?
    private var statements = StatementCache(capacity: 128)
    /// Prepared statements that nothing uses any more, and that are still to be told to the server.
    private var discarded: [String] = []

    /// - Parameter conninfo: as libpq understands it (manual, section 34.1.1): a URL or keywords, several hosts, TLS, services;
    ///   empty means the environment variables `PG…`.
    package init(_ conninfo: String, options: ConnectionOptions = ConnectionOptions()) throws(PostgresError) {
        if let malformed = Self.malformed(conninfo) {
            throw PostgresError(kind: .cannotConnect(retryable: false), message: malformed)
        }
        // A later keyword wins over an earlier one: `dbname` brings the whole string, behind our defaults.
        let parameters = options.parameters + [(name: "dbname", value: conninfo)]
        var keywords: [UnsafePointer<CChar>?] = parameters.map { UnsafePointer(strdup($0.name)) } + [nil]
        var values: [UnsafePointer<CChar>?] = parameters.map { UnsafePointer(strdup($0.value)) } + [nil]
        defer { for pointer in keywords + values { free(UnsafeMutablePointer(mutating: pointer)) } }
        noticeReceiver = options.onNotice.map { NoticeReceiver($0) }
        guard let handle = PQconnectdbParams(&keywords, &values, 1) else { throw .cannotConnect("out of memory") }
        self.handle = handle
        guard PQstatus(handle) == CONNECTION_OK else {
            throw .cannotConnect(PostgresError.text(PQerrorMessage(handle)))
        }
        NoticeReceiver.install(noticeReceiver, on: handle)
        var settings = options.settings
        if let timeout = options.statementTimeout {
            settings.append(("statement_timeout", String(timeout.milliseconds)))
        }
        if !settings.isEmpty {
            _ = try query(
                "select set_config(n, v, false) from unnest(\(settings.map(\.name)), \(settings.map(\.value))) t (n, v)"
            )
        }
    }

    deinit {
        PQfinish(handle)
    }

    private static func malformed(_ conninfo: String) -> String? {
        var message: UnsafeMutablePointer<CChar>?
        let parsed = PQconninfoParse(conninfo, &message)
        defer {
            PQconninfoFree(parsed)
            PQfreemem(message)
        }
        guard parsed == nil, !conninfo.isEmpty else { return nil }
        let malformed =
            "the connection string is malformed: expected a URL such as postgresql://user@host/database, or keywords "
            + "such as host=… dbname=…"
        // To libpq a bare word is a database's name; here it is more likely a URL that went wrong.
        guard conninfo.contains("=") || conninfo.contains("://") else { return malformed }
        return malformed + "; " + withoutQuotations(PostgresError.text(message))
    }

    /// libpq repeats what it cannot read, and that may be the password or hold it: `…: "postgresql://…"`, `… after "…" in …`.
    private static func withoutQuotations(_ message: String) -> String {
        let end = [": \"", " after \""].compactMap { message.firstRange(of: $0)?.lowerBound }.min()
        return String(message[..<(end ?? message.endIndex)])
    }

    package var backendPID: Int32 { PQbackendPID(handle) }
    package var serverVersion: Int { Int(PQserverVersion(handle)) }
    package var host: String { PQhost(handle).map { String(cString: $0) } ?? "" }
    package var database: String { PQdb(handle).map { String(cString: $0) } ?? "" }
    package var user: String { PQuser(handle).map { String(cString: $0) } ?? "" }
    package var isEncrypted: Bool { PQsslInUse(handle) != 0 }

    /// Cancels this connection's statement from another thread.
    package func canceller() -> Canceller { Canceller(handle) }

    /// Whether the session is known to be gone. One that ended while nothing was sent looks well until it is used.
    package var isLost: Bool { PQstatus(handle) == CONNECTION_BAD }

    /// Whether the server has ended the session, as far as word of it has come here. Asks the server nothing.
    package var hasEnded: Bool {
        // Its reason may come before its end.
        while awaitSocket(Int16(POLLIN), timeout: 0, or: nil).socket != 0 {
            if PQconsumeInput(handle) == 0 { return true }
        }
        return isLost
    }

    private var isInTransaction: Bool { PQtransactionStatus(handle) != PQTRANS_IDLE }

    // MARK: - Statements

    /// Runs one statement. Its text is prepared the first time and kept for later.
    @discardableResult
    package func query(_ sql: SQL) throws(PostgresError) -> Rows {
        let (text, parameters) = sql.rendered()
        return try withFreshPlans(for: [text]) { () throws(PostgresError) in try run(text, parameters) }
    }

    /// "cached plan must not change result type": a table has changed since a statement was prepared. Its plan is forgotten,
    /// and the body tried once more; in a transaction, which has failed with it, only the next one is better off.
    private func withFreshPlans<T>(for texts: [String], _ body: () throws(PostgresError) -> T) throws(PostgresError)
        -> T
    {
        do {
            return try body()
        } catch  where error.sqlState == .featureNotSupported {
            discarded += texts.compactMap { statements.forget($0) }
            guard !isInTransaction else { throw error }
            return try body()
        }
    }

    private func run(_ text: String, _ parameters: [Parameter]) throws(PostgresError) -> Rows {
        let name = try prepared(text, parameters)
        deallocateDiscarded()
        let result = parameters.withPointers { values, lengths, formats in
            PQexecPrepared(handle, name, Int32(parameters.count), values, lengths, formats, 1)
        }
        return try checked(result)
    }

    private func prepared(_ text: String, _ parameters: [Parameter]) throws(PostgresError) -> String {
        switch statements.use(text, types: parameters.lazy.map(\.type)) {
        case .known(let name): return name
        case .new(let name, let evicted):
            if let evicted { discarded.append(evicted) }
            let result = PQprepare(handle, name, text, Int32(parameters.count), parameters.map(\.type))
            do {
                _ = try checked(result)
            } catch {
                statements.forget(text)
                throw error
            }
            return name
        }
    }

    /// Not at once: a pipeline may have more statements than are kept, and a transaction that has failed refuses it.
    private func deallocateDiscarded() {
        guard !discarded.isEmpty, PQtransactionStatus(handle) != PQTRANS_INERROR else { return }
        PQclear(PQexec(handle, discarded.map { "deallocate \($0)" }.joined(separator: ";")))
        discarded = []
    }

    /// See `run(foreign:_:)`.
    func foreignRows(_ text: String, _ arguments: [String?]) throws(PostgresError) -> Rows {
        let values: [UnsafePointer<CChar>?] = arguments.map { $0.map { UnsafePointer(strdup($0)) } ?? nil }
        defer { for value in values { free(UnsafeMutablePointer(mutating: value)) } }
        return try checked(PQexecParams(handle, text, Int32(arguments.count), nil, values, nil, nil, 0))
    }

    /// Runs a script of several statements, without parameters, in one implicit transaction unless it says otherwise.
    package func execute(script: String) throws(PostgresError) {
        _ = try checked(PQexec(handle, script))
    }

    /// Begins a transaction and commits it, or rolls it back when the body throws.
    package func transaction<T>(_ body: () throws -> T) throws -> T {
        try execute(script: "begin")
        do {
            let value = try body()
            try execute(script: "commit")
            return value
        } catch {
            // When this fails too, the session is gone, and the transaction with it.
            try? execute(script: "rollback")
            throw error
        }
    }

    private func checked(_ result: OpaquePointer?) throws(PostgresError) -> Rows {
        switch PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY, PGRES_COPY_IN:
            guard let result else { throw .connectionLost("out of memory") }
            return Rows(result)
        default:
            defer { PQclear(result) }
            guard result != nil else { throw .connectionLost(PostgresError.text(PQerrorMessage(handle))) }
            throw PostgresError(result, on: handle)
        }
    }

    // MARK: - Pipeline

    /// Runs the statements in one round trip and one implicit transaction: all or none (libpq manual, section 34.5).
    ///
    /// - Throws: the first error; the connection is usable afterwards unless it was lost.
    package func pipeline(_ sql: [SQL]) throws(PostgresError) -> [Rows] {
        guard !sql.isEmpty else { return [] }
        let rendered = sql.map { $0.rendered() }
        // Nothing of a failed pipeline has happened, so that it can be run again.
        let results = try withFreshPlans(for: rendered.map(\.text)) { () throws(PostgresError) in
            try runPipeline(rendered)
        }
        deallocateDiscarded()
        return results
    }

    private func runPipeline(_ rendered: [(text: String, parameters: [Parameter])]) throws(PostgresError) -> [Rows] {
        // Prepared beforehand: what a failed pipeline had prepared in it would be unknown.
        let names = try rendered.map { (text, parameters) throws(PostgresError) in try prepared(text, parameters) }
        guard PQenterPipelineMode(handle) == 1 else { throw lost() }
        // Without it, sending much while the server sends much back would block both for ever.
        PQsetnonblocking(handle, 1)
        defer {
            PQsetnonblocking(handle, 0)
            PQexitPipelineMode(handle)
        }
        for (name, statement) in zip(names, rendered) {
            let parameters = statement.parameters
            let sent = parameters.withPointers { values, lengths, formats in
                PQsendQueryPrepared(handle, name, Int32(parameters.count), values, lengths, formats, 1)
            }
            guard sent == 1 else { throw lost() }
        }
        guard PQpipelineSync(handle) == 1 else { throw lost() }
        try flush()
        var results: [Rows] = []
        var failure: PostgresError?
        for _ in names {
            let result = try nextResult()
            switch PQresultStatus(result) {
            case PGRES_PIPELINE_ABORTED: PQclear(result)
            default:
                do {
                    results.append(try checked(result))
                } catch {
                    if failure == nil { failure = error }
                    if error.kind == .connectionLost { throw error }
                }
            }
            // Each statement's results end with a nil.
            while let more = try nextResult() { PQclear(more) }
        }
        PQclear(try nextResult())  // the sync itself
        if let failure { throw failure }
        return results
    }

    private func flush() throws(PostgresError) {
        while true {
            switch PQflush(handle) {
            case 0: return
            case 1:
                let ready = awaitSocket(Int16(POLLIN | POLLOUT), timeout: -1, or: nil).socket
                if ready & Int16(POLLIN) != 0, PQconsumeInput(handle) == 0 { throw lost() }
            default: throw lost()
            }
        }
    }

    private func nextResult() throws(PostgresError) -> OpaquePointer? {
        while PQisBusy(handle) == 1 {
            _ = awaitSocket(Int16(POLLIN), timeout: -1, or: nil)
            guard PQconsumeInput(handle) == 1 else { throw lost() }
        }
        return PQgetResult(handle)
    }

    private func lost() -> PostgresError {
        .connectionLost(PostgresError.text(PQerrorMessage(handle)))
    }

    // MARK: - COPY

    /// Runs `COPY … FROM STDIN` with what the body writes; returns how many rows came in.
    package func copy(into statement: String, _ body: (_ write: (String) throws(PostgresError) -> Void) throws -> Void)
        throws -> Int
    {
        _ = try checked(PQexec(handle, statement))
        do {
            try body { [handle] text throws(PostgresError) in
                var text = text
                let sent = text.withUTF8 { utf8 in
                    utf8.withMemoryRebound(to: CChar.self) { PQputCopyData(handle, $0.baseAddress, Int32($0.count)) }
                }
                guard sent == 1 else { throw self.lost() }
            }
        } catch {
            PQputCopyEnd(handle, "the writer gave up")
            while let result = PQgetResult(handle) { PQclear(result) }
            throw error
        }
        guard PQputCopyEnd(handle, nil) == 1 else { throw lost() }
        let result = PQgetResult(handle)
        while let rest = PQgetResult(handle) { PQclear(rest) }
        return try checked(result).affected
    }

    // MARK: - Notifications

    package func listen(_ channel: String) throws(PostgresError) {
        _ = try query("listen \(unsafeSQL: channel)")
    }

    /// Waits for a notification, a signal of `wakeup`, or the end of the time, whichever is first.
    ///
    /// - Returns: the notifications that have come, also those that came with earlier statements.
    /// - Throws: `connectionLost` when the server closed the session.
    package func wait(timeout: Duration?, or wakeup: Wakeup? = nil) throws(PostgresError) -> [Notification] {
        let waiting = takeNotifications()
        guard waiting.isEmpty else { return waiting }
        let events = awaitSocket(Int16(POLLIN), timeout: timeout.map(milliseconds) ?? -1, or: wakeup)
        if events.socket != 0, PQconsumeInput(handle) == 0 { throw lost() }
        if events.isWoken { wakeup?.take() }
        return takeNotifications()
    }

    /// The notifications that have come with the statements so far.
    package func takeNotifications() -> [Notification] {
        var notifications: [Notification] = []
        while let notification = PQnotifies(handle) {
            notifications.append(
                Notification(
                    channel: String(cString: notification.pointee.relname),
                    payload: String(cString: notification.pointee.extra)))
            PQfreemem(notification)
        }
        return notifications
    }

    private func awaitSocket(_ events: Int16, timeout: Int32, or wakeup: Wakeup?) -> (socket: Int16, isWoken: Bool) {
        var descriptors = [pollfd(fd: PQsocket(handle), events: events, revents: 0)]
        if let wakeup { descriptors.append(pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0)) }
        while poll(&descriptors, nfds_t(descriptors.count), timeout) < 0, errno == EINTR {}
        return (descriptors[0].revents, wakeup != nil && descriptors[1].revents != 0)
    }
}

package struct Notification: Sendable, Hashable {
    package let channel: String
    package let payload: String
}

extension [Parameter] {
    /// The three arrays that libpq takes, valid within the body.
    fileprivate func withPointers<T>(
        _ body: (UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UnsafePointer<Int32>?) -> T
    ) -> T {
        // One buffer for all values, so that there is one allocation and not one for each.
        var all: [UInt8] = []
        var ranges: [Range<Int>?] = []
        for parameter in self {
            guard let bytes = parameter.bytes else {
                ranges.append(nil)
                continue
            }
            ranges.append(all.count..<all.count + bytes.count)
            all += bytes
        }
        all.append(0)  // so that an empty value has an address, and is not taken for NULL
        let lengths = ranges.map { Int32($0?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: count)
        return all.withUnsafeBytes { buffer in
            let start = buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
            let values: [UnsafePointer<CChar>?] = ranges.map { range in range.map { start + $0.lowerBound } }
            return body(values, lengths, formats)
        }
    }
}
