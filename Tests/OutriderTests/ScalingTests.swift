import EmbeddedPostgres
import Glibc
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Workers that come and go under load: the work moves to whoever is there, within a second.
struct ScalingTests {
    /// A worker with a handler of its own, so that one can tell who sent what. A request takes it 2 ms, one after the other.
    private struct Site {
        let name: String
        let handler: HandlerServer
        let worker: RunningOutrider

        init(_ name: String, in scene: Scene) async throws {
            self.name = name
            handler = try HandlerServer(
                .decides { _ in
                    usleep(2000)
                    return .text("ok")
                })
            worker = try await scene.worker(environment: ["OUTRIDER_NAME": name, "SHOP": handler.url])
        }

        var deliveredIDs: [String] { handler.received.compactMap { $0.header("ce-id") } }
    }

    @Test func aWorkerThatJoinsHasWorkWithinASecond() async throws {
        try await Scene.with(options: "concurrency: 8") { scene in
            let first = try await Site("first", in: scene)
            try await scene.publish(6000)
            try await first.handler.wait(for: 100)
            var sites = [first]
            try await expectWithinASecond {
                let joined = try await Site("joined-\(sites.count)", in: scene)
                let ready = ContinuousClock.now
                sites.append(joined)
                try await joined.handler.wait(for: 1)
                return joined.handler.received[0].at - ready
            }
            try await scene.waitUntilDelivered(within: .seconds(60))
            let delivered = sites.flatMap(\.deliveredIDs)
            #expect(delivered.count == 6000)
            #expect(Set(delivered).count == 6000)
            #expect(sites[1].handler.count() > 100)
        }
    }

    @Test func theShareOfAWorkerThatStopsIsTheOthersWithinASecondAndNothingIsSentTwice() async throws {
        try await Scene.with(options: "concurrency: 8") { scene in
            let first = try await Site("first", in: scene)
            var sites = [first]
            try await scene.publish(6000)
            try await expectWithinASecond {
                let leaving = try await Site("leaving-\(sites.count)", in: scene)
                sites.append(leaving)
                try await leaving.handler.wait(for: 50)
                let told = ContinuousClock.now
                leaving.worker.terminate()
                let took = try await scene.untilNothing(isHeldBy: leaving.name, since: told)
                #expect(try await leaving.worker.exit() == .code(0))
                return took
            }
            try await first.handler.wait(for: first.handler.count() + 100)
            try await scene.waitUntilDelivered(within: .seconds(60))
            let delivered = sites.flatMap(\.deliveredIDs)
            #expect(delivered.count == 6000)
            #expect(Set(delivered).count == 6000)
        }
    }

    @Test func theShareOfAWorkerThatIsKilledIsTheOthersWithinASecondAndLittleIsSentTwice() async throws {
        try await Scene.with(options: "concurrency: 8") { scene in
            let first = try await Site("first", in: scene)
            var sites = [first]
            try await scene.publish(6000)
            try await expectWithinASecond {
                let dying = try await Site("dying-\(sites.count)", in: scene)
                sites.append(dying)
                try await dying.handler.wait(for: 50)
                let killed = ContinuousClock.now
                dying.worker.kill9()
                return try await scene.untilNothing(isHeldBy: dying.name, since: killed)
            }
            try await scene.waitUntilDelivered(within: .seconds(60))
            let delivered = sites.flatMap(\.deliveredIDs)
            #expect(Set(delivered).count == 6000)
            // Twice came at most what the killed ones had in hand.
            let rescued = try await scene.database.count(
                "select count(*) from outrider.delivery_attempts where outcome = 'rescued'")
            #expect(delivered.count - 6000 <= rescued)
            #expect(rescued <= 100 * (sites.count - 1))
            #expect(try await scene.deadLetters() == 0)
        }
    }

    // MARK: - What an autoscaler sees

    @Test func theViewTellsDepthAgeWorkersAndUtilisation() async throws {
        try await Scene.with(options: "concurrency: 4", handler: .hangs) { scene in
            func scaling() async throws -> JSON {
                try await scene.database.value("select to_jsonb(s) from outrider.scaling s", as: JSON.self)
            }
            #expect(try await scene.command("apply").exit == .code(0))
            try await scene.publish(10)
            let before = try await scaling()
            #expect(before["depth"] == 10)
            #expect(before["workers"] == 0)
            #expect(before["utilisation"] == 0)
            let worker = try await scene.worker()
            try await scene.handler.wait(for: 4)
            try await eventually("the worker is counted") { try await scaling()["workers"] == 1 }
            let after = try await scaling()
            #expect(after["depth"] == 10)
            #expect(after["concurrency"] == 4)
            #expect(after["utilisation"] == 1)
            #expect(after["oldest_age"]?.string != nil)
            #expect(after["paused"] == false)
            #expect(try await scene.command("subscription", "pause", "mail").exit == .code(0))
            #expect(try await scaling()["paused"] == true)
            worker.terminate()
            try await eventually("a worker that drains is not counted") { try await scaling()["workers"] == 0 }
        }
    }

    /// Passes if it is so once in three times: a busy machine's pause is not what is asked for, a slow way of doing it is.
    private func expectWithinASecond(_ move: () async throws -> Duration) async throws {
        var took: [Duration] = []
        repeat { took.append(try await move()) } while took.last! >= .seconds(1) && took.count < 3
        #expect(took.last! < .seconds(1), "it took \(took)")
    }
}

extension Scene {
    /// How long it takes until no delivery is in the hands of the worker of this name.
    fileprivate func untilNothing(
        isHeldBy worker: String, since start: ContinuousClock.Instant
    ) async throws -> Duration {
        try await eventually("\(worker) holds nothing") {
            try await database.count("select count(*) from outrider.deliveries where worker = \(worker)") == 0
                && database.count("select count(*) from outrider.workers where name = \(worker) and not draining") == 0
        }
        return .now - start
    }
}
