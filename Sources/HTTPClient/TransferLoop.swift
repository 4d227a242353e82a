internal import CLibCurl
internal import Glibc
internal import Primitives

/// The client's thread: takes orders, runs libcurl's multi interface on epoll, reports what ended.
final class TransferLoop {
    private let inbox: Inbox
    private let multi: UnsafeMutableRawPointer
    private let epoll: Int32
    /// When libcurl wants to be called without an event.
    private var alarm: ContinuousClock.Instant?
    /// The sockets that libcurl waits for.
    private var wanted: Set<Int32> = []
    private var running: [Transfer] = []
    /// What may not run yet.
    private var pending: ArraySlice<HTTPRequest> = []
    private var crowd = Crowd(now: .now)
    private var endedInTurn = 0
    private var idle: [Transfer] = []
    private var ended: [HTTPExchange] = []

    /// Handles beyond these are freed when their transfer ends: each holds some 20 KiB.
    private static let idleTransfers = 256
    /// How long those that may not run yet wait for nothing to happen, in milliseconds.
    private static let lookAtCrowd: Int32 = 100

    private static let globalInit: Void = {
        precondition(curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK, "libcurl cannot be initialised")
    }()

    init(inbox: Inbox, connections: Int) {
        Self.globalInit
        self.inbox = inbox
        multi = curl_multi_init()!
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        precondition(epoll >= 0, "epoll_create1 failed with errno \(errno)")
        watch(inbox.wakeUp, EPOLLIN.rawValue, EPOLL_CTL_ADD)

        let me = Unmanaged.passUnretained(self).toOpaque()
        outrider_multi_setopt_long(multi, CURLMOPT_MAXCONNECTS, connections)
        outrider_multi_setopt_pointer(multi, CURLMOPT_SOCKETDATA, me)
        outrider_multi_setopt_socket(multi) { _, socket, what, loop, _ in
            Unmanaged<TransferLoop>.fromOpaque(loop!).takeUnretainedValue().want(what, on: socket)
            return 0
        }
        outrider_multi_setopt_pointer(multi, CURLMOPT_TIMERDATA, me)
        outrider_multi_setopt_timer(multi) { _, milliseconds, loop in
            Unmanaged<TransferLoop>.fromOpaque(loop!).takeUnretainedValue().alarm =
                milliseconds < 0 ? nil : .now + .milliseconds(milliseconds)
            return 0
        }
    }

    deinit {
        idle = []
        curl_multi_cleanup(multi)
        _ = Glibc.close(epoll)
    }

    func run() {
        while true {
            let orders = inbox.take()
            if orders.cancelStarted { cancel(orders.withdrawn) }
            start(orders.requests)
            runDueTimers()
            collect()
            report()
            if orders.close { return }
            wait()
        }
    }

    // MARK: - Orders

    private func start(_ requests: [HTTPRequest]) {
        pending += requests
        if pending.isEmpty { return }
        let now = ContinuousClock.now
        while running.count < crowd.most, let request = pending.popFirst() {
            if let notAfter = request.notAfter, notAfter < now {
                ended.append(request.cancelled())
                continue
            }
            let transfer = idle.popLast() ?? Transfer()
            do throws(Refusal) {
                try transfer.prepare(request, now: now)
            } catch {
                ended.append(transfer.refused(error))
                idle.append(transfer)
                continue
            }
            transfer.place = running.count
            running.append(transfer)
            // Sets a timer for at once: in this very turn each transfer runs until it has to wait. A transfer that `cancel`
            // meets has therefore begun, and knows whether anything of it was sent.
            curl_multi_add_handle(multi, transfer.easy)
        }
    }

    private func cancel(_ withdrawn: [HTTPRequest]) {
        ended += (pending + withdrawn).map { $0.cancelled() }
        pending = []
        let now = ContinuousClock.now
        while let transfer = running.last {
            let exchange = transfer.cancelled(now: now)
            stop(transfer)
            ended.append(exchange)
        }
    }

    private func stop(_ transfer: Transfer) {
        curl_multi_remove_handle(multi, transfer.easy)
        let last = running.removeLast()
        if last !== transfer {
            running[transfer.place] = last
            last.place = transfer.place
        }
        if idle.count < Self.idleTransfers { idle.append(transfer) }
    }

    // MARK: - Events

    private func wait() {
        var timeout: Int32 = 0
        if inbox.fallAsleep() { timeout = millisecondsToAlarm() }
        if !pending.isEmpty {
            // The handlers of all that runs may be stuck: the next look at the crowd finds out.
            let most = running.count < crowd.most ? 0 : Self.lookAtCrowd
            timeout = timeout < 0 ? most : min(timeout, most)
        }
        withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 128) { events in
            let start = ContinuousClock.now
            let count = epoll_wait(epoll, events.baseAddress, Int32(events.count), timeout)
            let now = ContinuousClock.now
            crowd.turned(slept: now - start, ended: endedInTurn, running: running.count, now: now)
            endedInTurn = 0
            for event in events.prefix(Int(max(0, count))) {
                if event.data.fd == inbox.wakeUp {
                    var value: UInt64 = 0
                    _ = read(inbox.wakeUp, &value, 8)
                } else {
                    act(on: event.data.fd, event.events)
                }
            }
        }
    }

    private func act(on socket: Int32, _ events: UInt32) {
        guard wanted.contains(socket) else {
            watch(socket, 0, EPOLL_CTL_DEL)
            return
        }
        var ready: Int32 = 0
        // An error or a hang-up shows when libcurl reads or writes, with its reason.
        let trouble = EPOLLERR.rawValue | EPOLLHUP.rawValue
        if events & (EPOLLIN.rawValue | trouble) != 0 { ready |= CURL_CSELECT_IN }
        if events & (EPOLLOUT.rawValue | trouble) != 0 { ready |= CURL_CSELECT_OUT }
        var stillRunning: Int32 = 0
        curl_multi_socket_action(multi, socket, ready, &stillRunning)
    }

    private func runDueTimers() {
        guard let alarm, alarm <= .now else { return }
        self.alarm = nil
        var stillRunning: Int32 = 0
        curl_multi_socket_action(multi, CURL_SOCKET_BAD, 0, &stillRunning)
    }

    /// Rounded up, lest the loop spins through the last millisecond.
    private func millisecondsToAlarm() -> Int32 {
        guard let alarm else { return -1 }
        let milliseconds = (ContinuousClock.now.duration(to: alarm).microseconds + 999) / 1000
        return Int32(max(0, min(milliseconds, 3_600_000)))
    }

    private func collect() {
        var left: Int32 = 0
        var now: ContinuousClock.Instant?
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle else { continue }
            let code = message.pointee.data.result
            let transfer = Transfer.of(easy)
            let time = now ?? ContinuousClock.now
            now = time
            // Removing the handle ends what the answer's headers and the message point to.
            let exchange = transfer.finished(code, now: time)
            stop(transfer)
            ended.append(exchange)
            endedInTurn += 1
        }
    }

    private func report() {
        if ended.isEmpty { return }
        let batch = ended
        ended = []
        inbox.onCompletion(batch)
    }

    // MARK: - Sockets

    /// A socket that libcurl no longer cares for stays with epoll, as the next request on a connection kept alive wants it
    /// again; it is taken out when something happens on it, and leaves by itself when it is closed.
    private func want(_ what: Int32, on socket: Int32) {
        if what == CURL_POLL_REMOVE {
            wanted.remove(socket)
            return
        }
        wanted.insert(socket)
        var events: UInt32 = 0
        if what & CURL_POLL_IN != 0 { events |= EPOLLIN.rawValue }
        if what & CURL_POLL_OUT != 0 { events |= EPOLLOUT.rawValue }
        // A socket that was closed meanwhile, and whose number has come back, is not known to epoll.
        if !watch(socket, events, EPOLL_CTL_MOD) { watch(socket, events, EPOLL_CTL_ADD) }
    }

    @discardableResult
    private func watch(_ descriptor: Int32, _ events: UInt32, _ operation: Int32) -> Bool {
        var event = epoll_event(events: events, data: epoll_data_t(fd: descriptor))
        return epoll_ctl(epoll, operation, descriptor, &event) == 0
    }
}
