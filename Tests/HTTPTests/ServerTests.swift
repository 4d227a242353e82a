import HTTPClient
import HTTPServer
import Primitives
import Synchronization
import TestSupport
import Testing

/// What the server reads, answers and survives.
struct ServerTests {
    /// A server that answers "ok", and keeps what it was asked.
    private final class Recorder: Sendable {
        private final class Journal: Sendable {
            let requests = Mutex<[ServerRequest]>([])
        }

        let server: HTTPServer
        private let journal = Journal()

        init(maxBodyBytes: Int = 1000, idleTimeout: Duration = .seconds(75)) throws {
            let journal = journal
            server = try HTTPServer(address: "127.0.0.1:0", maxBodyBytes: maxBodyBytes, idleTimeout: idleTimeout) {
                request, responder in
                journal.requests.withLock { $0.append(request) }
                responder.respond(.text("ok"))
            }
        }

        deinit { server.stop() }

        var requests: [ServerRequest] { journal.requests.withLock { $0 } }

        /// What comes back for these bytes, until the server closes or the first answer is complete.
        func answer(to bytes: String, untilClosed: Bool = false) async -> String {
            let port = server.port
            return await onThread {
                let socket = RawSocket(port: port)
                socket.send(bytes)
                return (untilClosed ? socket.rest() : socket.message()) ?? ""
            }
        }
    }

    // MARK: - Requests

    @Test func aRequestIsReadInFull() async throws {
        let recorder = try Recorder()
        let exchange = await send(
            HTTPRequest(
                method: "PUT",
                url: "\(recorder.server.url)/v1/a%2Fb/%C3%A4%20c?key=a%26b&flag&plus=1+2&key=second&empty=",
                headers: ["X-Name: Value", "x-name: second", "Cookie:"], body: Array("body".utf8)))
        #expect(try exchange.response.status == 200)
        let request = try #require(recorder.requests.first)
        #expect(request.method == "PUT")
        #expect(request.path == "/v1/a/b/ä c")
        #expect(request.segments == ["v1", "a/b", "ä c"])
        #expect(request.query.map(\.name) == ["key", "flag", "plus", "key", "empty"])
        #expect(request.query("key") == "a&b")
        #expect(request.query("flag") == "")
        #expect(request.query("plus") == "1 2")
        #expect(request.query("empty") == "")
        #expect(request.query("none") == nil)
        #expect(request.headers["X-NAME"] == "Value")
        #expect(request.headers["cookie"] == "")
        #expect(request.headers["none"] == nil)
        #expect(request.headers.fields.filter { $0.name.lowercased() == "x-name" }.map(\.value) == ["Value", "second"])
        #expect(request.body == Array("body".utf8))
        #expect(request.remoteIsLoopback)
    }

    @Test(arguments: [("/a/", ["a", ""]), ("//a", ["", "a"]), ("/", [""]), ("/a//b", ["a", "", "b"])])
    func segmentsMayBeEmpty(path: String, segments: [String]) async throws {
        let recorder = try Recorder()
        let exchange = await send(HTTPRequest(url: recorder.server.url + path))
        #expect(try exchange.response.status == 200)
        #expect(recorder.requests.first?.segments == segments)
    }

    @Test func aClientMayBeSlow() async throws {
        let recorder = try Recorder()
        let port = recorder.server.port
        let answer = await onThread {
            let socket = RawSocket(port: port)
            for byte in "POST /slow HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc" {
                socket.send(String(byte))
            }
            return socket.message()
        }
        #expect(answer?.hasPrefix("HTTP/1.1 200") == true)
        #expect(recorder.requests.first?.body == Array("abc".utf8))
    }

    @Test func requestsThatComeTogetherAreAnsweredInTheirOrder() async throws {
        let recorder = try Recorder()
        let all = (1...3).map { "GET /\($0) HTTP/1.1\r\nHost: here\r\n\r\n" }.joined()
        let port = recorder.server.port
        let answers = await onThread {
            let socket = RawSocket(port: port)
            socket.send(all)
            return (1...3).map { _ in socket.message() }
        }
        #expect(answers.allSatisfy { $0?.hasSuffix("ok") == true })
        #expect(recorder.requests.map(\.path) == ["/1", "/2", "/3"])
    }

    @Test func aClientThatSaysNothingMoreIsDisconnected() async throws {
        let recorder = try Recorder(idleTimeout: .seconds(1))
        // Comes back when the server closes; the socket itself gives up after 20 seconds.
        let began = ContinuousClock.now
        _ = await recorder.answer(to: "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\na", untilClosed: true)
        #expect(ContinuousClock.now - began < .seconds(19))
        #expect(recorder.requests.isEmpty)
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/7\r\nHost: here\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: minus\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ])
    func whatIsNotHTTPIsAnsweredWithoutTheHandler(bytes: String) async throws {
        let recorder = try Recorder()
        let answer = await recorder.answer(to: bytes)
        #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
        #expect(recorder.requests.isEmpty)
    }

    @Test func whoDoesNotSpeakHTTPAtAllIsHungUpOn() async throws {
        let recorder = try Recorder()
        let answer = await recorder.answer(to: "GARBAGE\r\n\r\n", untilClosed: true)
        #expect(!answer.contains(" 200 "))
        #expect(recorder.requests.isEmpty)
    }

    @Test func aRequestWithTwoLengthsIsRefusedAndWhatFollowsIsNotRead() async throws {
        let recorder = try Recorder()
        let answer = await recorder.answer(
            to: "POST /first HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "0\r\n\r\nGET /second HTTP/1.1\r\nHost: here\r\n\r\n", untilClosed: true)
        #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
        #expect(recorder.requests.isEmpty)
    }

    @Test func headersBeyondAllReasonAreRefused() async throws {
        let recorder = try Recorder()
        let answer = await recorder.answer(
            to: "GET / HTTP/1.1\r\nHost: here\r\nX-Long: \(String(repeating: "x", count: 100_000))\r\n\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 431 "), "\(answer.prefix(100))")
        #expect(recorder.requests.isEmpty)
    }

    @Test(arguments: ["/%zz", "/a%2", "/a%00b", "/%ff", "/?a=%zz", "/?%=1", "/?a=%ff"])
    func pathsAndQueriesThatAreMalformedAreAProblem(target: String) async throws {
        let recorder = try Recorder()
        let answer = await recorder.answer(to: "GET \(target) HTTP/1.1\r\nHost: here\r\n\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
        #expect(answer.lowercased().contains("content-type: application/problem+json"))
        #expect(recorder.requests.isEmpty)
    }

    // MARK: - Limits of bodies

    @Test(arguments: [(1000, 200), (1001, 413), (4000, 413)])
    func aBodyAboveTheLimitIsAProblem(size: Int, status: Int) async throws {
        let recorder = try Recorder()
        let body = [UInt8](repeating: 1, count: size)
        let response = try await send(HTTPRequest(method: "POST", url: recorder.server.url, body: body)).response
        #expect(response.status == status)
        #expect(recorder.requests.map(\.body.count) == (status == 200 ? [size] : []))
        guard status == 413 else { return }
        #expect(response.headers["content-type"] == "application/problem+json")
        #expect(try JSON(parsing: response.body)["detail"] == "The body is longer than 1000 bytes.")
    }

    @Test func aBodyWhoseLengthNobodyToldIsMeasured() async throws {
        let recorder = try Recorder()
        func chunked(_ size: Int) -> String {
            "POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n\(String(size, radix: 16))\r\n"
                + String(repeating: "x", count: size) + "\r\n0\r\n\r\n"
        }
        #expect(await recorder.answer(to: chunked(1000)).hasPrefix("HTTP/1.1 200 "))
        #expect(await recorder.answer(to: chunked(1001)).hasPrefix("HTTP/1.1 413 "))
        // Nobody reads on for ever.
        #expect(await recorder.answer(to: chunked(100_000)) == "")
        #expect(recorder.requests.count == 1)
    }

    @Test func whoAsksBeforeSendingTooMuchIsToldBefore() async throws {
        let recorder = try Recorder()
        let head = "POST / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: "
        #expect(await recorder.answer(to: head + "1001\r\n\r\n").hasPrefix("HTTP/1.1 413 "))
        #expect(await recorder.answer(to: head + "1000\r\n\r\n").hasPrefix("HTTP/1.1 100 "))
        #expect(
            await recorder.answer(to: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999\r\n\r\n")
                .hasPrefix("HTTP/1.1 413 "))
        #expect(recorder.requests.isEmpty)
    }

    // MARK: - Answers

    @Test func answersMayComeLaterFromAnyThreadInAnyOrder() async throws {
        let keeper = Keeper()
        let server = try HTTPServer(address: "127.0.0.1:0", threads: 2) { _, responder in keeper.keep(responder) }
        defer { server.stop() }
        let exchanges = Exchanges()
        exchanges.client.submit((0..<300).map { HTTPRequest(id: $0, method: "POST", url: server.url, body: [1]) })
        try await eventually("all requests wait") { keeper.count == 300 }
        #expect(exchanges.ended.isEmpty)
        let responders = keeper.take()
        await withTaskGroup(of: Void.self) { group in
            for part in 0..<3 {
                group.addTask {
                    for index in stride(from: 299 - part, through: 0, by: -3) {
                        responders[index].respond(.text("late"))
                    }
                }
            }
        }
        try await exchanges.wait(for: 300)
        for exchange in exchanges.ended { #expect(try exchange.response.text == "late") }
    }

    @Test func onlyTheFirstAnswerCounts() async throws {
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in
            responder.respond(.text("first", status: 201))
            responder.respond(.text("second"))
        }
        defer { server.stop() }
        let response = try await send(HTTPRequest(url: server.url)).response
        #expect(response.status == 201)
        #expect(response.text == "first")
    }

    @Test(arguments: [false, true])
    func aRequestWhoseResponderIsDroppedIsAProblem(later: Bool) async throws {
        let keeper = Keeper()
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in
            if later { keeper.keep(responder) }
        }
        defer { server.stop() }
        let exchanges = Exchanges()
        exchanges.client.submit([HTTPRequest(url: server.url)])
        if later {
            try await eventually("the request waits") { keeper.count == 1 }
            _ = keeper.take()
        }
        try await exchanges.wait(for: 1)
        let response = try exchanges.ended[0].response
        #expect(response.status == 500)
        #expect(response.headers["content-type"] == "application/problem+json")
    }

    @Test func headersAndBodiesOfAnyKindAreSent() async throws {
        let body = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
        let server = try HTTPServer(address: "127.0.0.1:0") { _, responder in
            responder.respond(
                ServerResponse(
                    status: 418, headers: [("Content-Type", "x/y"), ("Outrider-Result", "ongoing")], body: body))
        }
        defer { server.stop() }
        let response = try await send(HTTPRequest(url: server.url)).response
        #expect(response.status == 418)
        #expect(response.headers["outrider-result"] == "ongoing")
        #expect(response.body == body)
    }

    @Test func headHasTheLengthButNotTheBody() async throws {
        let recorder = try Recorder()
        let answer = await recorder.answer(
            to: "HEAD / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", untilClosed: true)
        #expect(answer.lowercased().contains("content-length: 2\r\n"))
        #expect(answer.hasSuffix("\r\n\r\n"))
    }

    @Test func aClientThatLeavesBeforeItsAnswerHarmsNobody() async throws {
        let keeper = Keeper()
        let server = try HTTPServer(address: "127.0.0.1:0") { request, responder in
            if request.path == "/leave" { keeper.keep(responder) } else { responder.respond(.text("ok")) }
        }
        defer { server.stop() }
        let port = server.port
        await onThread {
            for _ in 0..<20 { RawSocket(port: port).send("GET /leave HTTP/1.1\r\nHost: here\r\n\r\n") }
        }
        try await eventually("all requests wait") { keeper.count == 20 }
        keeper.respond(ServerResponse(status: 200, body: [UInt8](repeating: 1, count: 5 << 20)))
        #expect(try await send(HTTPRequest(url: server.url)).response.status == 200)
    }

    // MARK: - Beginning and end

    @Test func stopAnswersWhatWaitsAndStopsListening() async throws {
        let keeper = Keeper()
        let server = try HTTPServer(address: "127.0.0.1:0", threads: 2) { _, responder in keeper.keep(responder) }
        let exchanges = Exchanges()
        exchanges.client.submit((0..<50).map { HTTPRequest(id: $0, url: server.url) })
        try await eventually("all requests wait") { keeper.count == 50 }
        let idle = await onThread { [port = server.port] in RawSocket(port: port) }
        await onThread { server.stop() }
        try await exchanges.wait(for: 50)
        for exchange in exchanges.ended {
            let response = try exchange.response
            #expect(response.status == 503)
            #expect(try JSON(parsing: response.body)["detail"] == "The server is stopping.")
        }
        #expect(await onThread { idle.rest() } == "")
        #expect(try await send(HTTPRequest(url: server.url)).failure.kind == .notStarted)
        // Late answers and a second stop are harmless.
        keeper.respond(.text("late"))
        server.stop()
    }

    @Test func anAddressInUseIsAClearError() throws {
        let server = try HTTPServer(address: "127.0.0.1:0") { _, _ in }
        defer { server.stop() }
        let error = #expect(throws: ListenError.self) {
            try HTTPServer(address: "127.0.0.1:\(server.port)") { _, _ in }
        }
        #expect(
            error?.description
                == "cannot listen on 127.0.0.1:\(server.port): another program listens there; stop it, or choose another port"
        )
    }

    @Test(arguments: [
        ("127.0.0.1", "expected an address and a port, as in 127.0.0.1:7070 or [::1]:7070"),
        ("127.0.0.1:http", "expected an address and a port, as in 127.0.0.1:7070 or [::1]:7070"),
        ("127.0.0.1:70000", "expected an address and a port, as in 127.0.0.1:7070 or [::1]:7070"),
        ("192.0.2.1:0", "this machine has no such address"),
        ("outrider.invalid:0", "outrider.invalid is not an address of this machine"),
    ])
    func anAddressThatCannotBeIsAClearError(address: String, reason: String) throws {
        let error = #expect(throws: ListenError.self) { try HTTPServer(address: address) { _, _ in } }
        #expect(error?.description.hasPrefix("cannot listen on \(address): \(reason)") == true, "\(error as Any)")
    }

    @Test(arguments: ["localhost:0", ":0", "0.0.0.0:0"])
    func thePortIsThatWhichItListensOn(address: String) async throws {
        let server = try HTTPServer(address: address) { _, responder in responder.respond(.text("ok")) }
        defer { server.stop() }
        #expect(server.port > 0)
        #expect(try await send(HTTPRequest(url: "http://localhost:\(server.port)/")).response.text == "ok")
    }

    @Test func aPortIsFreeAgainAfterStop() throws {
        let first = try HTTPServer(address: "127.0.0.1:0") { _, _ in }
        first.stop()
        let second = try HTTPServer(address: "127.0.0.1:\(first.port)") { _, _ in }
        second.stop()
    }
}
