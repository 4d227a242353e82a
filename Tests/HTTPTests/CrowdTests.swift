import HTTPClient
import HTTPServer
import TestSupport
import Testing

/// How many transfers run at once.
struct CrowdTests {
    /// A thread whose turns take 10 ms.
    private struct Thread {
        var crowd: Crowd
        var now: ContinuousClock.Instant

        init() {
            now = .now
            crowd = Crowd(now: now)
        }

        mutating func turn(_ count: Int = 1, sleeping share: Double, running: Int = 640) {
            for _ in 0..<count {
                let end = now + .milliseconds(10)
                crowd.slept(from: end - .milliseconds(10) * share, until: end, running: running)
                now = end
            }
        }
    }

    @Test func aBusyThreadHasFewerRunThoughNeverTooFew() {
        var thread = Thread()
        #expect(thread.crowd.most == .max)
        thread.turn(sleeping: 0.1)
        #expect(thread.crowd.most == 576)
        thread.turn(sleeping: 0.1)
        #expect(thread.crowd.most == 513)
        thread.turn(100, sleeping: 0)
        #expect(thread.crowd.most == 64)
    }

    @Test func withTimeToSpareMoreRunAndWithMuchOfItAll() {
        var thread = Thread()
        thread.turn(100, sleeping: 0)
        thread.turn(sleeping: 0.3)
        #expect(thread.crowd.most == 64)
        thread.turn(sleeping: 0.5)
        #expect(thread.crowd.most == 80)
        thread.turn(200, sleeping: 0.5)
        #expect(thread.crowd.most == .max)
        thread.turn(100, sleeping: 0)
        thread.turn(sleeping: 0.9)
        #expect(thread.crowd.most == .max)
    }

    @Test func aTurnThatIsShortDecidesNothing() {
        var thread = Thread()
        let end = thread.now + .milliseconds(9)
        thread.crowd.slept(from: end, until: end, running: 640)
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
        for hundred in 1...30 {
            exchanges.client.submit((0..<100).map { HTTPRequest(id: $0, url: "\(server.url)/") })
            try await exchanges.wait(for: (hundred - 3) * 100)
        }
        exchanges.client.submit((1000..<1200).map { HTTPRequest(id: $0, url: "\(server.url)/hang") })
        exchanges.client.submit((0..<200).map { HTTPRequest(id: $0, url: "\(server.url)/") })
        try await exchanges.wait(for: 3200)
        #expect(exchanges.ended.allSatisfy { $0.id < 1000 })
        // Nothing is lost of what was running, nor of what was to wait.
        exchanges.client.cancelAll()
        try await exchanges.wait(for: 3400)
        #expect(keeper.count == 200)
    }
}
