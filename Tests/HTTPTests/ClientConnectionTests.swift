import HTTPClient
import HTTPServer
import TestSupport
import Testing

/// How connections are made, used again, lost and given up.
struct ClientConnectionTests {
    @Test func aConnectionIsUsedAgain() async throws {
        let server = RawServer.answering(emptyOK)
        let caller = HTTPCaller()
        defer { caller.close() }
        for _ in 0..<5 { #expect(try await caller.send(HTTPRequest(url: server.url)).response.status == 200) }
        #expect(server.requests.count == 5)
        #expect(server.connections == 1)
    }

    @Test func afterConnectionCloseTheNextRequestTakesANewOne() async throws {
        let server = RawServer { peer in
            while peer.request() != nil {
                peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            }
        }
        let caller = HTTPCaller()
        defer { caller.close() }
        for _ in 0..<3 { #expect(try await caller.send(HTTPRequest(url: server.url)).response.status == 200) }
        #expect(server.connections == 3)
    }

    @Test func freshConnectionsAreNotShared() async throws {
        let server = RawServer.answering(emptyOK)
        let caller = HTTPCaller()
        defer { caller.close() }
        var fresh = HTTPRequest(url: server.url)
        fresh.freshConnection = true
        for request in [HTTPRequest(url: server.url), fresh, fresh, HTTPRequest(url: server.url)] {
            #expect(try await caller.send(request).response.status == 200)
        }
        #expect(server.connections == 3)
    }

    @Test func aConnectionThatWasClosedMeanwhileIsReplacedInSilence() async throws {
        let server = RawServer { peer in
            if peer.request() != nil { peer.send(emptyOK) }
        }
        let caller = HTTPCaller()
        defer { caller.close() }
        for _ in 0..<3 {
            #expect(try await caller.send(HTTPRequest(method: "POST", url: server.url)).response.status == 200)
        }
        #expect(server.requests.count == 3)
    }

    /// libcurl would send it again at once, up to five times.
    @Test(arguments: [false, true])
    func aRequestIsSentOnceAlsoWhenItsConnectionDiesWithoutAnAnswer(isFresh: Bool) async throws {
        // Reads each connection's second request and closes without a word.
        let server = RawServer { peer in
            guard peer.request() != nil else { return }
            if isFresh && peer.number > 1 { return }
            peer.send(emptyOK)
            _ = peer.request()
        }
        let caller = HTTPCaller()
        defer { caller.close() }
        var request = HTTPRequest(method: "POST", url: server.url, body: Array("once".utf8))
        #expect(try await caller.send(request).response.status == 200)
        request.freshConnection = isFresh
        let second = await caller.send(request)
        #expect(try second.failure.kind == .unknown)
        #expect(try second.failure.message.hasSuffix("the connection was closed without an answer"))
        #expect(server.requests.count == 2)
        if !isFresh { #expect(try await caller.send(request).response.status == 200) }
    }

    @Test func manyRequestsAtOnceAllEndOnceWithTheirOwnAnswers() async throws {
        let server = try HTTPServer(address: "127.0.0.1:0", threads: 2) { request, responder in
            responder.respond(.text(request.query("n") ?? ""))
        }
        defer { server.stop() }
        let exchanges = Exchanges()
        exchanges.client.submit((1...2000).map { HTTPRequest(id: $0, url: "\(server.url)/?n=\($0)") })
        try await exchanges.wait(for: 2000)
        exchanges.client.close()
        #expect(Set(exchanges.ended.map(\.id)).count == 2000)
        #expect(exchanges.ended.count == 2000)
        for exchange in exchanges.ended { #expect(try exchange.response.text == "\(exchange.id)") }
    }

    @Test func aSlowAnswerHoldsUpNoOther() async throws {
        let keeper = Keeper()
        let server = try HTTPServer(address: "127.0.0.1:0") { request, responder in
            if request.path == "/slow" { keeper.keep(responder) } else { responder.respond(.text("quick")) }
        }
        defer { server.stop() }
        let exchanges = Exchanges()
        exchanges.client.submit([HTTPRequest(id: 1, url: "\(server.url)/slow")])
        exchanges.client.submit((2...50).map { HTTPRequest(id: $0, url: "\(server.url)/quick") })
        try await exchanges.wait(for: 49)
        #expect(!exchanges.ended.contains { $0.id == 1 })
        keeper.respond(.text("slow"))
        try await exchanges.wait(for: 50)
        #expect(try exchanges.ended.last?.response.text == "slow")
    }

    // MARK: - Failures

    @Test func refusedIsNotStarted() async throws {
        let port = ReservedPort()
        let failure = try await send(HTTPRequest(url: "http://user:hush@127.0.0.1:\(port.number)/secret?token=hush"))
            .failure
        #expect(failure.kind == .notStarted)
        #expect(failure.message == "127.0.0.1:\(port.number): cannot connect: Connection refused")
    }

    @Test func anUnresolvableNameIsNotStarted() async throws {
        let failure = try await send(HTTPRequest(url: "http://outrider.invalid/", connectTimeout: .seconds(3))).failure
        #expect(failure.kind == .notStarted)
        #expect(failure.message.hasPrefix("outrider.invalid: "))
    }

    @Test func aConnectionThatIsNotMadeInTimeIsNotStarted() async throws {
        let port = ReservedPort(.isSilent)
        let request = HTTPRequest(
            url: "http://127.0.0.1:\(port.number)/", timeout: .seconds(30), connectTimeout: .milliseconds(200))
        let exchange = await send(request)
        #expect(try exchange.failure.kind == .notStarted)
        #expect(try exchange.failure.message.hasSuffix("no connection within 200 ms"))
        #expect(exchange.duration >= .milliseconds(200) && exchange.duration < .seconds(10))
    }

    @Test func theTotalTimeoutCoversConnecting() async throws {
        let port = ReservedPort(.isSilent)
        let request = HTTPRequest(
            url: "http://127.0.0.1:\(port.number)/", timeout: .milliseconds(200), connectTimeout: .seconds(30))
        let exchange = await send(request)
        #expect(try exchange.failure.kind == .notStarted)
        #expect(try exchange.failure.message.hasSuffix("no connection within 200 ms"))
        #expect(exchange.duration < .seconds(10))
    }

    @Test(arguments: ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
    func anAnswerThatIsNotCompleteInTimeIsUnknown(beginning: String) async throws {
        let server = RawServer { peer in
            _ = peer.request()
            peer.send(beginning)
            _ = peer.request()
        }
        let exchange = await send(HTTPRequest(url: server.url, timeout: .milliseconds(300)))
        #expect(try exchange.failure.kind == .unknown)
        #expect(try exchange.failure.message.hasSuffix("no complete answer within 300 ms"))
        #expect(exchange.duration >= .milliseconds(300) && exchange.duration < .seconds(10))
    }

    @Test func aServerThatClosesBeforeReadingIsUnknown() async throws {
        let server = RawServer { _ in }
        #expect(try await send(HTTPRequest(method: "POST", url: server.url, body: [1, 2, 3])).failure.kind == .unknown)
    }

    @Test func aServerThatClosesAfterReadingIsUnknown() async throws {
        let server = RawServer { _ = $0.request() }
        let failure = try await send(HTTPRequest(method: "POST", url: server.url, body: [1, 2, 3])).failure
        #expect(failure.kind == .unknown)
        #expect(failure.message == "127.0.0.1:\(server.port): the connection was closed without an answer")
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhalf",
    ])
    func aServerThatClosesInTheMiddleOfTheAnswerIsUnknown(beginning: String) async throws {
        let server = RawServer { peer in
            _ = peer.request()
            peer.send(beginning)
        }
        let failure = try await send(HTTPRequest(url: server.url)).failure
        #expect(failure.kind == .unknown)
        #expect(failure.message == "127.0.0.1:\(server.port): the connection was closed in the middle of the answer")
    }

    @Test(arguments: ["220 mail.example.com ESMTP\r\n", "\u{0}\u{1}\u{2}\u{3}", "HTTP/1.1 abc\r\n\r\n"])
    func anAnswerThatIsNotHTTPIsUnknown(answer: String) async throws {
        let server = RawServer { peer in
            _ = peer.request()
            peer.send(answer)
        }
        #expect(try await send(HTTPRequest(url: server.url)).failure.kind == .unknown)
    }

    @Test func afterAFailureTheClientGoesOn() async throws {
        let server = RawServer { peer in
            guard peer.request() != nil else { return }
            if peer.number > 1 { peer.send(emptyOK) }
        }
        let caller = HTTPCaller()
        defer { caller.close() }
        #expect(try await caller.send(HTTPRequest(url: server.url)).failure.kind == .unknown)
        #expect(try await caller.send(HTTPRequest(url: server.url)).response.status == 200)
    }
}
