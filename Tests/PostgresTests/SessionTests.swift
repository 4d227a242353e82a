import EmbeddedPostgres
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

struct SessionTests {
    private struct Wrapped: Error {
        let cause: any Error
    }

    @Test func unitsRunOneAfterTheOtherOnOneConnection() async throws {
        let session = Session(TestCluster.shared.url())
        let order = Holder()
        let units = (0..<50).map { _ in
            Task {
                try await session.run { connection in
                    order.note("begins")
                    defer { order.note("ends") }
                    return try connection.value("select pg_backend_pid()", as: Int32.self)
                }
            }
        }
        var pids: Set<Int32> = []
        for unit in units { pids.insert(try await unit.value) }
        #expect(pids.count == 1)
        #expect(order.notes == (0..<50).flatMap { _ in ["begins", "ends"] })
        await session.close()
    }

    /// What a unit makes of the error that tells it of the loss.
    enum Reaction: CaseIterable {
        case passesOn, wraps, swallows
    }

    @Test(arguments: Reaction.allCases)
    func afterALostConnectionTheNextUnitHasANewOne(reaction: Reaction) async throws {
        let session = Session(TestCluster.shared.url())
        let first = try await session.run { $0.backendPID }
        try await session.run { try $0.terminate() }
        let unit: @Sendable (Connection) throws -> Bool = { connection in
            do {
                try connection.query("select 1")
                return false
            } catch {
                switch reaction {
                case .passesOn: throw error
                case .wraps: throw Wrapped(cause: error)
                case .swallows: return true
                }
            }
        }
        switch reaction {
        case .passesOn: await #expect(throws: PostgresError.self) { try await session.run(unit) }
        case .wraps: await #expect(throws: Wrapped.self) { try await session.run(unit) }
        case .swallows: #expect(try await session.run(unit))
        }
        #expect(try await session.run { try $0.value("select pg_backend_pid()", as: Int32.self) } != first)
        await session.close()
    }

    @Test func anErrorOfAStatementKeepsTheConnection() async throws {
        let session = Session(TestCluster.shared.url())
        let first = try await session.run { $0.backendPID }
        await #expect(throws: PostgresError.self) {
            try await session.run { try $0.query("select 1 / 0").count }
        }
        #expect(try await session.run { $0.backendPID } == first)
        await session.close()
    }

    @Test func whatCannotConnectNowMayConnectLater() async throws {
        let url = TestCluster.shared.url(database: "test_later")
        let session = Session(url)
        await #expect(throws: PostgresError.self) { try await session.run { $0.backendPID } }
        try connect().execute(script: "create database test_later")
        #expect(try await session.run { $0.database } == "test_later")
        await session.close()
    }

    @Test func afterCloseNothingRuns() async throws {
        let session = Session(TestCluster.shared.url())
        let pid = try await session.run { $0.backendPID }
        await session.close()
        await session.close()
        let error = await #expect(throws: PostgresError.self) { try await session.run { $0.backendPID } }
        #expect(error?.message == "the session was closed")
        try await eventually("the session is gone") {
            try connect().value("select not exists (select from pg_stat_activity where pid = \(pid))", as: Bool.self)
        }
    }

    @Test func whatWasQueuedBeforeCloseStillRuns() async throws {
        let session = Session(TestCluster.shared.url())
        let units = (0..<20).map { n in Task { try await session.run { try $0.value("select \(n)", as: Int.self) } } }
        for (n, unit) in units.enumerated() { #expect(try await unit.value == n) }
        await session.close()
    }

    @Test func aSessionThatIsLetGoDisconnects() async throws {
        var session: Session? = Session(TestCluster.shared.url())
        let pid = try await session!.run { $0.backendPID }
        session = nil
        try await eventually("the session is gone") {
            try connect().value("select not exists (select from pg_stat_activity where pid = \(pid))", as: Bool.self)
        }
    }
}

struct DedicatedThreadTests {
    private struct Mine: Error {}

    @Test func joinWaitsForTheEndAndThrowsWhatTheBodyThrew() async throws {
        let done = Holder()
        let go = ThreadSignal()
        let thread = DedicatedThread(name: "worker") {
            go.wait()
            done.note("done")
        }
        async let first: Void = thread.join()
        async let second: Void = thread.join()
        go.signal()
        _ = try await (first, second)
        #expect(done.notes == ["done"])
        try await thread.join()  // and again, after the end

        let failing = DedicatedThread(name: "worker") { throw Mine() }
        await #expect(throws: Mine.self) { try await failing.join() }
        await #expect(throws: Mine.self) { try await failing.join() }
    }

    @Test func threadsStartThreadsAndSessionsWithinThem() async throws {
        let holder = Holder()
        let done = ThreadSignal()
        let outer = DedicatedThread(name: "outer") {
            let inner = DedicatedThread(name: "inner") {
                holder.note("inner")
                done.signal()
            }
            done.wait()
            holder.note("outer")
            _ = inner
        }
        try await outer.join()
        #expect(holder.notes == ["inner", "outer"])

        // A unit of one session may start the unit of another: each has its own thread.
        let (first, second) = (Session(TestCluster.shared.url()), Session(TestCluster.shared.url()))
        let nested = try await first.run { connection in
            (try connection.value("select 1", as: Int.self), Task { try await second.run { $0.backendPID } })
        }
        #expect(nested.0 == 1)
        #expect(try await nested.1.value > 0)
        await first.close()
        await second.close()
    }

    @Test func threadsLeaveNoStackBehind() async throws {
        func mappings() -> Int { (Files.text("/proc/self/maps") ?? "").utf8.count { $0 == 0x0A } }
        let before = mappings()
        let ended = Holder()
        for number in 0..<2000 {
            let thread = DedicatedThread(name: "short") { ended.note("") }
            if number % 2 == 0 { try await thread.join() }
        }
        try await eventually("all of them have run") { ended.notes.count == 2000 }
        // Each stack is a mapping and its guard page another one; what else changes meanwhile is far less.
        try await eventually("their stacks are gone") { mappings() < before + 1000 }
    }
}

private final class Holder: Sendable {
    private let state = Mutex<[String]>([])
    var notes: [String] { state.withLock { $0 } }
    func note(_ text: String) { state.withLock { $0.append(text) } }
}

struct ReconnectBackoffTests {
    @Test func itDoublesToFiveSecondsHalfOfItRandom() {
        var backoff = ReconnectBackoff()
        var seen: Set<Duration> = []
        for attempt in 0..<1000 {
            let ceiling = Duration.milliseconds(min(100 << min(attempt, 20), 5000))
            let delay = backoff.next()
            #expect(delay >= ceiling / 2 && delay <= ceiling)
            seen.insert(delay)
        }
        #expect(seen.count > 500)  // of 2,501 that are possible from the seventh on
        backoff.reset()
        #expect(backoff.next() <= .milliseconds(100))
    }

    @Test func twoWorkersDoNotWaitInStep() {
        var (first, second) = (ReconnectBackoff(), ReconnectBackoff())
        #expect((0..<20).contains { _ in first.next() != second.next() })
    }
}
