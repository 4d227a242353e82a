import HTTPClient
import HTTPServer
import Primitives
import Synchronization
import TestSupport
import Testing

/// Every request ends in exactly one exchange, whatever ends it.
struct ClientEndTests {
    @Test func cancelAllEndsWhatIsUnderWayAndTheClientGoesOn() async throws {
        let keeper = Keeper()
        let server = try HTTPServer(address: "127.0.0.1:0") { request, responder in
            if request.path == "/hang" { keeper.keep(responder) } else { responder.respond(.text("ok")) }
        }
        defer { server.stop() }
        let exchanges = Exchanges()
        exchanges.client.submit((1...50).map { HTTPRequest(id: $0, url: "\(server.url)/hang") })
        try await eventually("the server has all of them") { keeper.count == 50 }
        exchanges.client.cancelAll()
        try await exchanges.wait(for: 50)
        for exchange in exchanges.ended {
            #expect(try exchange.failure.kind == .cancelled(sent: true))
            #expect(try exchange.failure.message == "127.0.0.1:\(server.port): cancelled")
        }
        exchanges.client.submit([HTTPRequest(id: 51, url: server.url)])
        try await exchanges.wait(for: 51)
        #expect(exchanges.ended.map(\.id).sorted() == Array(1...51))
        #expect(try exchanges.ended[50].response.status == 200)
    }

    @Test func whatNeverGotAConnectionIsCancelledAsNotSent() async throws {
        let port = ReservedPort(.isSilent)
        let exchanges = Exchanges()
        exchanges.client.submit([HTTPRequest(id: 1, url: "http://127.0.0.1:\(port.number)/")])
        exchanges.client.close()
        #expect(exchanges.ended.map(\.id) == [1])
        #expect(try exchanges.ended[0].failure.kind == .cancelled(sent: false))
    }

    @Test func whatComesTooLateIsNotSent() async throws {
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in responder.respond(.text("ok")) }
        defer { server.stop() }
        let exchanges = Exchanges()
        exchanges.client.submit([
            HTTPRequest(id: 1, url: server.url, notAfter: .now - .milliseconds(1)),
            HTTPRequest(id: 2, url: server.url, notAfter: .now + .seconds(60)),
        ])
        try await exchanges.wait(for: 2)
        let ended = exchanges.ended.sorted { $0.id < $1.id }
        #expect(try ended[0].failure.kind == .cancelled(sent: false))
        #expect(try ended[1].response.status == 200)
    }

    @Test func closeReportsEverythingBeforeItReturns() async throws {
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in responder.respond(.text("ok")) }
        defer { server.stop() }
        let exchanges = Exchanges()
        exchanges.client.submit((1...500).map { HTTPRequest(id: $0, url: server.url) })
        exchanges.client.close()
        #expect(exchanges.ended.map(\.id).sorted() == Array(1...500))
        exchanges.client.close()
        exchanges.client.cancelAll()
        #expect(exchanges.ended.count == 500)
    }

    @Test func afterCloseRequestsEndAtOnce() throws {
        let exchanges = Exchanges()
        exchanges.client.close()
        exchanges.client.submit([HTTPRequest(id: 1, url: "http://127.0.0.1/"), HTTPRequest(id: 2, url: "nonsense")])
        #expect(exchanges.ended.map(\.id) == [1, 2])
        for exchange in exchanges.ended { #expect(try exchange.failure.kind == .cancelled(sent: false)) }
    }

    @Test func whileManyThreadsSubmitAndCancelEachRequestEndsOnce() async throws {
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in responder.respond(.text("ok")) }
        defer { server.stop() }
        let exchanges = Exchanges()
        await withTaskGroup(of: Void.self) { group in
            for part in 0..<4 {
                group.addTask {
                    for round in 0..<50 {
                        let first = UInt64(part * 1000 + round * 20)
                        exchanges.client.submit((0..<20).map { HTTPRequest(id: first + $0, url: server.url) })
                        if round % 5 == part { exchanges.client.cancelAll() }
                    }
                }
            }
        }
        try await exchanges.wait(for: 4000)
        exchanges.client.close()
        #expect(exchanges.ended.map(\.id).sorted() == Array(0..<4000))
        for exchange in exchanges.ended {
            switch exchange.result {
            case .success(let response): #expect(response.status == 200)
            case .failure(let failure):
                guard case .cancelled = failure.kind else { throw failure }
            }
        }
    }

    @Test func submitsThatRaceWithCloseEndOnceToo() async throws {
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in responder.respond(.text("ok")) }
        defer { server.stop() }
        for _ in 0..<20 {
            let exchanges = Exchanges()
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    for id in 0..<100 { exchanges.client.submit([HTTPRequest(id: UInt64(id), url: server.url)]) }
                }
                group.addTask { exchanges.client.close() }
            }
            // What came before close is reported when that returns, what came after when submit does.
            #expect(exchanges.ended.map(\.id).sorted() == Array(0..<100))
        }
    }

    @Test func aCompletionMaySubmitTheNextRequest() async throws {
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in responder.respond(.text("ok")) }
        defer { server.stop() }
        let chain = Chain(url: server.url)
        chain.begin()
        try await eventually("a hundred requests follow each other") { chain.count == 100 }
        chain.end()
    }

    @Test func aClientThatIsLetGoEndsWhatIsUnderWay() async throws {
        let keeper = Keeper()
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in keeper.keep(responder) }
        defer { server.stop() }
        let ended = Counter()
        do {
            let client = HTTPClient { ended.add($0.count) }
            client.submit([HTTPRequest(url: server.url), HTTPRequest(url: server.url)])
            try await eventually("the server has both") { keeper.count == 2 }
        }
        #expect(ended.value == 2)
    }
}

private final class Counter: Sendable {
    private let count = Atomic(0)
    var value: Int { count.load(ordering: .relaxed) }
    func add(_ amount: Int) { count.add(amount, ordering: .relaxed) }
}

/// A client that sends the next request when the one before has ended.
private final class Chain: Sendable {
    private let url: String
    private let counter = Counter()
    private let client = Mutex<HTTPClient?>(nil)

    init(url: String) {
        self.url = url
    }

    var count: Int { counter.value }

    func begin() {
        let client = HTTPClient { [weak self] exchanges in self?.ended(exchanges) }
        self.client.withLock { $0 = client }
        client.submit([HTTPRequest(url: url)])
    }

    func end() {
        client.withLock { $0.take() }?.close()
    }

    private func ended(_ exchanges: [HTTPExchange]) {
        counter.add(exchanges.count)
        if count < 100 { client.withLock { $0 }?.submit(exchanges.map { _ in HTTPRequest(url: url) }) }
    }
}
