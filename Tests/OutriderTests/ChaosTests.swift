import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// Faults at random, while publishers go on: what was committed arrives, and nothing else does.
struct ChaosTests {
    private enum Fault: CaseIterable {
        case killed, frozen, drained, disconnected, pausedAndResumed
    }

    /// The seed of a run that failed brings the same faults again, though not the same moments.
    @Test func randomFaultsLoseAndInventNothing() async throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed of the faults: \(seed)")
        var random = SplitMix(state: seed)
        // Every tenth request fails, and the retry succeeds or fails by itself.
        let requests = Atomic(0)
        let handler = HandlerServer.Behaviour.decides { _ in
            requests.add(1, ordering: .relaxed).newValue % 10 == 0 ? .text("busy", status: 503) : .text("ok")
        }
        let options = "timeout: 5s\nretry: { attempts: forever, initial: 20ms, max: 200ms }"
        try await Scene.with(options: options, handler: handler) { scene in
            var workers = [try await scene.worker(), try await scene.worker(), try await scene.worker()]
            let publishers = Publishers(count: 8, url: scene.database.url)
            for step in 1...14 {
                try await scene.handler.wait(for: step * 100)
                let victim = Int.random(in: workers.indices, using: &random)
                switch Fault.allCases.randomElement(using: &random)! {
                case .killed:
                    workers[victim].kill9()
                    workers[victim] = try await scene.worker()
                case .frozen:
                    // It is taken over once its lease is over, and thawed while others have its work.
                    workers[victim].freeze()
                    try await scene.handler.wait(for: scene.handler.count() + 50)
                    workers[victim].thaw()
                case .drained:
                    workers[victim].terminate()
                    workers[victim] = try await scene.worker()
                case .disconnected:
                    try await scene.database.query(
                        """
                        select pg_terminate_backend(a.pid) from pg_stat_activity a
                        where a.datname = current_database() and a.application_name like 'outrider %'
                            and a.application_name not like '%housekeeping' order by random() limit 1
                        """)
                case .pausedAndResumed:
                    try await scene.database.execute("select outrider.pause('mail'); select outrider.resume('mail')")
                }
            }
            let committed = try await publishers.stop()
            try await scene.waitUntilDelivered(within: .seconds(60))
            #expect(committed.count >= 1000)
            #expect(committed.subtracting(scene.deliveredIDs).isEmpty)
            #expect(Set(scene.deliveredIDs).subtracting(committed).isEmpty)
            #expect(try await scene.deadLetters() == 0)
        }
    }
}

/// Sessions that publish transaction after transaction, of which every fourth is rolled back.
private final class Publishers: Sendable {
    private let tasks: [Task<Set<String>, any Error>]

    private final class Flag: Sendable {
        let isSet = Atomic(false)
    }

    private let flag = Flag()

    init(count: Int, url: String) {
        let flag = flag
        tasks = (0..<count).map { number in
            Task {
                let session = Session(url)
                var committed: Set<String> = []
                var turn = number
                while !flag.isSet.load(ordering: .relaxed) {
                    turn += 1
                    let (size, commits) = (Int32(1 + turn % 7), turn % 4 != 0)
                    let ids = try await session.run { connection in
                        try connection.execute(script: "begin")
                        let ids = try connection.query(
                            """
                            insert into outrider.outbox (topic, payload)
                            select 'order.created', '{}' from generate_series(1, \(size)) returning id
                            """
                        ).map { try $0.decode(0, as: UUID.self).description }
                        try connection.query("select pg_sleep(0.02)")
                        try connection.execute(script: commits ? "commit" : "rollback")
                        return ids
                    }
                    if commits { committed.formUnion(ids) }
                }
                await session.close()
                return committed
            }
        }
    }

    /// The ids of all that was committed.
    func stop() async throws -> Set<String> {
        flag.isSet.store(true, ordering: .relaxed)
        var committed: Set<String> = []
        for task in tasks { committed.formUnion(try await task.value) }
        return committed
    }
}

/// A generator with a seed: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
