import HTTPClient
import HTTPServer
import TestSupport
import Testing

/// How many transfers run at once.
struct CrowdTests {
    /// A thread that is offered more than it can do: how many transfers end in a second, and how much of the time it has nothing
    /// to do, by how many are under way.
    private struct Thread {
        var crowd: Crowd
        var now = ContinuousClock.now
        var offered = 640
        var law: (_ running: Int) -> (rate: Double, idle: Double)
        var ended = 0.0

        init(law: @escaping (Int) -> (rate: Double, idle: Double)) {
            self.law = law
            crowd = Crowd(now: now)
        }

        mutating func run(_ duration: Duration) {
            for _ in 0..<Int(duration / .milliseconds(10)) {
                let running = min(offered, crowd.most)
                let (rate, idle) = law(running)
                now += .milliseconds(10)
                ended += rate / 100
                crowd.turned(slept: .milliseconds(10) * idle, ended: Int(rate / 100), running: running, now: now)
            }
        }

        /// The handlers take so long; the thread ends 20,000 in a second, and a third more while few are under way.
        static func handlers(taking latency: Double) -> Thread {
            Thread { running in
                let most = 20_000 * (1 + 0.33 * Double(640 - running) / 640)
                let rate = latency > 0 ? min(most, Double(running) / latency) : most
                return (rate, 1 - rate / most)
            }
        }
    }

    @Test func withNearHandlersABusyThreadHasFewerRunThoughNeverTooFew() {
        var thread = Thread.handlers(taking: 0)
        #expect(thread.crowd.most == .max)
        thread.run(.milliseconds(100))
        #expect(thread.crowd.most == 320)
        thread.run(.seconds(1))
        #expect(thread.crowd.most == 64)
        thread.run(.seconds(60))
        #expect(thread.crowd.most == 64)
    }

    @Test(arguments: [0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 1])
    func withSlowHandlersHardlyLessIsDone(latency: Double) {
        var thread = Thread.handlers(taking: latency)
        thread.run(.seconds(60))
        #expect(thread.ended / 60 > 0.98 * thread.law(640).rate)
    }

    @Test func whatIsTriedInVainIsNotTriedAgainForAWhile() {
        var thread = Thread.handlers(taking: 0.03)
        thread.run(.milliseconds(100))
        #expect(thread.crowd.most == 320)
        thread.run(.milliseconds(200))
        #expect(thread.crowd.most == .max)
        thread.run(.milliseconds(4800))
        #expect(thread.crowd.most == .max)
        thread.run(.milliseconds(100))
        #expect(thread.crowd.most == 320)
    }

    @Test func withTimeToSpareThereIsNoLimit() {
        var thread = Thread.handlers(taking: 0)
        thread.run(.seconds(2))
        thread.law = Thread.handlers(taking: 1).law
        thread.run(.milliseconds(100))
        #expect(thread.crowd.most == .max)
    }

    @Test func fewAreNotMadeFewer() {
        var thread = Thread.handlers(taking: 0)
        thread.offered = 64
        thread.run(.seconds(60))
        #expect(thread.crowd.most == .max)
    }

    /// Handlers that hang, as many as may run while the thread is busy, do not hold up the others.
    @Test(.timeLimit(.minutes(1))) func whatHangsHoldsUpNothing() async throws {
        let keeper = Keeper()
        let server = try HTTPServer(address: "127.0.0.1:0") { request, responder in
            if request.path == "/hang" {
                keeper.keep(responder)
            } else {
                responder.respond(ServerResponse(status: 200))
            }
        }
        defer { server.stop() }
        let exchanges = Exchanges()
        defer { exchanges.client.close() }
        // Keeps the thread busy, so that it lets few run.
        for hundred in 1...60 {
            exchanges.client.submit((0..<100).map { HTTPRequest(id: $0, url: "\(server.url)/") })
            try await exchanges.wait(for: (hundred - 6) * 100)
        }
        exchanges.client.submit((1000..<1200).map { HTTPRequest(id: $0, url: "\(server.url)/hang") })
        exchanges.client.submit((0..<200).map { HTTPRequest(id: $0, url: "\(server.url)/") })
        try await exchanges.wait(for: 6200)
        #expect(exchanges.ended.allSatisfy { $0.id < 1000 })
        // Nothing is lost of what was running, nor of what was to wait.
        exchanges.client.cancelAll()
        try await exchanges.wait(for: 6400)
        #expect(keeper.count == 200)
    }
}
