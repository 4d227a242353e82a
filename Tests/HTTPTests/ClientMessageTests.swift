import HTTPClient
import HTTPServer
import TestSupport
import Testing

/// What is sent, and what is understood of the answer.
struct ClientMessageTests {
    /// The request as it arrives, sent to a server that answers 200.
    private func arriving(_ request: (_ url: String) -> HTTPRequest) async throws -> String {
        let server = RawServer.answering(emptyOK)
        #expect(try await send(request(server.url)).response.status == 200)
        return try #require(server.requests.first)
    }

    // MARK: - Requests

    @Test func theBodyIsSentWithItsLengthAndWithoutWaitingForLeave() async throws {
        let body = [UInt8](repeating: UInt8(ascii: "x"), count: 2 << 20)
        let arrived = try await arriving {
            HTTPRequest(method: "POST", url: $0, headers: ["Content-Type: text/plain"], body: body)
        }
        let head = arrived.prefix(1000).split(separator: "\r\n\r\n")[0].lowercased()
        #expect(head.contains("content-length: 2097152"))
        #expect(head.contains("content-type: text/plain"))
        #expect(!head.contains("expect:"))
        #expect(arrived.utf8.count == head.utf8.count + 4 + body.count)
    }

    @Test func withoutATypeNoneIsClaimed() async throws {
        let arrived = try await arriving { HTTPRequest(method: "POST", url: $0, body: Array("{}".utf8)) }
        #expect(!arrived.lowercased().contains("content-type"))
    }

    @Test(arguments: ["POST", "PUT", "PATCH"])
    func anEmptyBodyOfThoseThatHaveOneSaysSo(method: String) async throws {
        let arrived = try await arriving { HTTPRequest(method: method, url: $0) }
        #expect(arrived.hasPrefix("\(method) / HTTP/1.1\r\n"))
        #expect(arrived.lowercased().contains("content-length: 0\r\n"))
    }

    @Test(arguments: ["GET", "DELETE", "OPTIONS"])
    func othersSayNothingOfABodyTheyDoNotHave(method: String) async throws {
        let arrived = try await arriving { HTTPRequest(method: method, url: $0) }
        #expect(arrived.hasPrefix("\(method) / HTTP/1.1\r\n"))
        #expect(!arrived.lowercased().contains("content-length"))
    }

    @Test func anyMethodMayHaveABody() async throws {
        let arrived = try await arriving { HTTPRequest(method: "DELETE", url: $0, body: Array("why".utf8)) }
        #expect(arrived.hasPrefix("DELETE / HTTP/1.1\r\n"))
        #expect(arrived.hasSuffix("\r\n\r\nwhy"))
    }

    @Test func methodsDoNotStickToAConnection() async throws {
        let server = RawServer.answering(emptyOK)
        let caller = HTTPCaller()
        defer { caller.close() }
        let methods = ["HEAD", "GET", "POST", "HEAD", "PUT", "GET", "DELETE", "HEAD", "POST"]
        for method in methods {
            let body = method == "PUT" ? Array("body".utf8) : []
            #expect(
                try await caller.send(HTTPRequest(method: method, url: server.url, body: body)).response.status == 200)
        }
        #expect(server.requests.map { String($0.prefix { $0 != " " }) } == methods)
        #expect(server.requests.filter { $0.hasSuffix("body") }.count == 1)
        #expect(server.connections == 1)
    }

    @Test func headersArriveAsGivenAlsoEmptyOnes() async throws {
        let arrived = try await arriving {
            HTTPRequest(
                url: $0,
                headers: ["X-Plain: a b", "X-Empty:", "X-Blank: \t ", "X-Umlaut: ä", "X-Semi: a;b", "Host: shop"])
        }
        let lines = arrived.split(separator: "\r\n").map(String.init)
        #expect(lines.contains("X-Plain: a b"))
        #expect(lines.contains("X-Empty:"))
        #expect(lines.contains("X-Blank:"))
        #expect(lines.contains("X-Umlaut: ä"))
        #expect(lines.contains("X-Semi: a;b"))
        #expect(lines.filter { $0.hasPrefix("Host:") } == ["Host: shop"])
    }

    @Test func fiftyLongHeadersArrive() async throws {
        let headers = (1...50).map { "X-Header-\($0): " + String(repeating: "v", count: 1000 + $0) }
        let arrived = try await arriving { HTTPRequest(url: $0, headers: headers) }
        for header in headers { #expect(arrived.contains(header + "\r\n")) }
    }

    @Test(arguments: [
        ("X-Secret: hush\r\nX-Forged: 1", "the header X-Secret contains a line break or a zero byte"),
        ("X-Secret: hush\n", "the header X-Secret contains a line break or a zero byte"),
        ("X-Secret: hu\u{0}sh", "the header X-Secret contains a line break or a zero byte"),
        ("Content-Length: 3", "the header Content-Length cannot be set: it follows from the body"),
        ("transfer-encoding: chunked", "the header transfer-encoding cannot be set: it follows from the body"),
        ("hush", "a header line does not begin with a name and a colon"),
        (": hush", "a header line does not begin with a name and a colon"),
        ("X Secret: hush", "a header line does not begin with a name and a colon"),
        ("X-Secret\r\n: hush", "a header line does not begin with a name and a colon"),
    ])
    func headersThatCannotBeSentAreRefused(line: String, reason: String) async throws {
        let server = RawServer.answering(emptyOK)
        let failure = try await send(HTTPRequest(url: server.url, headers: ["X-Good: 1", line])).failure
        #expect(failure.kind == .notStarted)
        #expect(failure.message == "127.0.0.1:\(server.port): \(reason)")
        #expect(server.connections == 0)
    }

    @Test(arguments: ["", "GET /other", "GET\r\n", "GÉT"])
    func methodsThatAreNoWordsAreRefused(method: String) async throws {
        let server = RawServer.answering(emptyOK)
        #expect(try await send(HTTPRequest(method: method, url: server.url)).failure.kind == .notStarted)
        #expect(server.connections == 0)
    }

    @Test(arguments: ["path with space", "line\r\nHost: forged", "tab\t"])
    func urlsThatForgeARequestAreRefused(path: String) async throws {
        let server = RawServer.answering(emptyOK)
        #expect(try await send(HTTPRequest(url: server.url + path)).failure.kind == .notStarted)
        #expect(server.connections == 0)
    }

    @Test(arguments: ["file:///etc/hostname", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "nonsense://x/", ""])
    func onlyHTTPIsSpoken(url: String) async throws {
        #expect(try await send(HTTPRequest(url: url)).failure.kind == .notStarted)
    }

    // MARK: - Answers

    @Test func theAnswersStatusBodyAndHeadersThatDecideAreKept() async throws {
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in
            responder.respond(
                ServerResponse(
                    status: 429,
                    headers: [
                        ("Content-Type", "text/plain"), ("retry-after", "7"), ("OUTRIDER-Result", "retry"),
                        ("Set-Cookie", "hush"), ("Outrider-Result", "second"),
                    ], body: Array("busy".utf8)))
        }
        defer { server.stop() }
        let response = try await send(HTTPRequest(url: server.url)).response
        #expect(response.status == 429)
        #expect(response.text == "busy")
        #expect(response.headers["Content-Type"] == "text/plain")
        #expect(response.headers["Retry-After"] == "7")
        #expect(response.headers["outrider-result"] == "retry")
        #expect(response.headers["Set-Cookie"] == nil)
    }

    @Test func redirectsAreNotFollowed() async throws {
        let server = RawServer.answering(
            "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
        let response = try await send(HTTPRequest(url: server.url)).response
        #expect(response.status == 302)
        #expect(response.headers["Location"] == "/elsewhere")
        #expect(server.requests.count == 1)
    }

    @Test(arguments: ["HEAD", "GET"])
    func anAnswerWithoutABodyEndsWithItsHead(method: String) async throws {
        // HEAD tells the length of what it leaves out; 204 has no body by definition (RFC 9110, section 6.4.1).
        let server = RawServer.answering(
            method == "HEAD"
                ? "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
                : "HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\n\r\n")
        let caller = HTTPCaller()
        defer { caller.close() }
        for _ in 0..<2 {
            let response = try await caller.send(HTTPRequest(method: method, url: server.url)).response
            #expect(response.body.isEmpty)
            #expect(response.status == (method == "HEAD" ? 200 : 204))
        }
        #expect(server.connections == 1)
    }

    @Test func aHeadWithABodyIsRefused() async throws {
        let server = RawServer.answering("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        let request = HTTPRequest(method: "HEAD", url: server.url, body: [1], timeout: .seconds(3))
        #expect(try await send(request).failure.kind == .notStarted)
    }

    @Test func interimAnswersAreOverheard() async throws {
        let server = RawServer.answering(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nOutrider-Result: failed\r\n\r\n"
                + "HTTP/1.1 201 Created\r\nOutrider-Result: succeeded\r\nContent-Length: 4\r\n\r\ndone")
        let response = try await send(HTTPRequest(method: "POST", url: server.url)).response
        #expect(response.status == 201)
        #expect(response.text == "done")
        #expect(response.headers.fields.map(\.value) == ["succeeded"])
    }

    @Test func aBodyEndsWithItsChunksOrItsConnection() async throws {
        let chunked = RawServer.answering(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        #expect(try await send(HTTPRequest(url: chunked.url)).response.text == "abcde")
        let closing = RawServer { peer in
            _ = peer.request()
            peer.send("HTTP/1.0 200 OK\r\n\r\nabcde")
        }
        #expect(try await send(HTTPRequest(url: closing.url)).response.text == "abcde")
    }

    @Test func tooLongAnAnswerIsCutOff() async throws {
        let size = 10 << 20
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in
            responder.respond(ServerResponse(status: 200, body: [UInt8](repeating: 1, count: size)))
        }
        defer { server.stop() }
        let caller = HTTPCaller()
        defer { caller.close() }
        let failure = try await caller.send(HTTPRequest(url: server.url)).failure
        guard case .tooLarge(let received) = failure.kind else { throw failure }
        #expect(received > 1 << 20 && received < size)
        #expect(failure.message == "127.0.0.1:\(server.port): the answer is longer than 1048576 bytes")
        // Exactly the limit is not too long, and the cut-off connection is not used again.
        #expect(try await caller.send(HTTPRequest(url: server.url, maxResponseBytes: size)).response.body.count == size)
        #expect(
            try await caller.send(HTTPRequest(url: server.url, maxResponseBytes: size - 1)).failure.kind
                == .tooLarge(received: size))
    }
}
