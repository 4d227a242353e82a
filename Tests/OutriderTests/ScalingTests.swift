import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Workers that come and go under load: the work moves to whoever is there, within a second.
@Suite(.serialized) struct ScalingTests {
    /// More than a worker gets through before the next one is there.
    private static let load = 15_000

    /// A worker with a handler of its own, so that one can tell who sent what.
    private struct Site {
        let name: String
        let handler: HandlerServer
        let worker: RunningOutrider

        init(_ name: String, in scene: Scene) async throws {
            self.name = name
            handler = try HandlerServer()
            worker = try await scene.worker(environment: ["OUTRIDER_NAME": name, "SHOP": handler.url])
        }

        var deliveredIDs: [String] { handler.received.compactMap { $0.header("ce-id") } }
    }

    @Test func aWorkerThatJoinsHasWorkWithinASecond() async throws {
        try await Scene.with { scene in
            let first = try await Site("first", in: scene)
            var sites = [first]
            try await expectWithinASecond {
                try await scene.publish(Self.load)
                let joined = try await Site("joined-\(sites.count)", in: scene)
                let ready = ContinuousClock.now
                sites.append(joined)
                try await joined.handler.wait(for: 1)
                return joined.handler.received[0].at - ready
            }
            try await scene.waitUntilDelivered(within: .seconds(60))
            let delivered = sites.flatMap(\.deliveredIDs)
            #expect(delivered.count == Self.load * (sites.count - 1))
            #expect(Set(delivered).count == delivered.count)
        }
    }

    @Test func theShareOfAWorkerThatStopsIsTheOthersWithinASecondAndNothingIsSentTwice() async throws {
        try await Scene.with { scene in
            let first = try await Site("first", in: scene)
            var sites = [first]
            try await expectWithinASecond {
                try await scene.publish(Self.load)
                let leaving = try await Site("leaving-\(sites.count)", in: scene)
                sites.append(leaving)
                try await leaving.handler.wait(for: 50)
                let took = try await scene.untilNothingIsHeld(by: leaving.name) { leaving.worker.terminate() }
                #expect(try await leaving.worker.exit() == .code(0))
                return took
            }
            try await scene.waitUntilDelivered(within: .seconds(60))
            let delivered = sites.flatMap(\.deliveredIDs)
            #expect(delivered.count == Self.load * (sites.count - 1))
            #expect(Set(delivered).count == delivered.count)
        }
    }

    @Test func theShareOfAWorkerThatIsKilledIsTheOthersWithinASecondAndLittleIsSentTwice() async throws {
        try await Scene.with { scene in
            let first = try await Site("first", in: scene)
            var sites = [first]
            try await expectWithinASecond {
                try await scene.publish(Self.load)
                let dying = try await Site("dying-\(sites.count)", in: scene)
                sites.append(dying)
                try await dying.handler.wait(for: 50)
                return try await scene.untilNothingIsHeld(by: dying.name) { dying.worker.kill9() }
            }
            try await scene.waitUntilDelivered(within: .seconds(60))
            let delivered = sites.flatMap(\.deliveredIDs)
            let distinct = Set(delivered).count
            #expect(distinct == Self.load * (sites.count - 1))
            // Twice came at most what the killed ones had in hand.
            let rescued = try await scene.database.count(
                "select count(*) from outrider.delivery_attempts where outcome = 'rescued'")
            #expect(delivered.count - distinct <= rescued)
            // 64 in flight, and at most a thousand claimed ahead.
            #expect(rescued <= 1064 * (sites.count - 1))
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
    /// How long it takes from the beginning of the end of a worker until no delivery is in its hands.
    fileprivate func untilNothingIsHeld(
        by worker: String, after end: () -> Void
    ) async throws -> Duration {
        let token = try await database.value("select token from outrider.workers where name = \(worker)", as: UUID.self)
        let began = ContinuousClock.now
        end()
        try await eventually("\(worker) is gone, and holds nothing") {
            try await database.count(
                """
                select (select count(*) from outrider.worker w where w.token = \(token) and not w.draining)
                    + (select count(*) from outrider.delivery d where d.owner = \(token))
                """) == 0
        }
        return .now - began
    }
}
